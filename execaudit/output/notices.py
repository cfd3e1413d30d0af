"""Lines for people about execs that are missing in an answer: gaps, silence and pruning. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.enums import GapReason
from execaudit.escaping import printable
from execaudit.event import Gap
from execaudit.times import zone_text

if TYPE_CHECKING:
    from datetime import tzinfo

    from execaudit.event import Nanoseconds
    from execaudit.query.recorders import Silence

# Times are shown in milliseconds; the end of a range is rounded up.
_ROUND_UP_NS = 999_999
_NEVER_RECORDED = "nobody has ever recorded into this history: start a recorder with `execaudit record`"
_NOTHING_SHIPPED = "no host has shipped anything here yet: see `execaudit forward`"


def missing_line(missed: Gap | Silence, zone: tzinfo | None) -> str:
    """Returns one line about a gap, or about a time without a recorder, without a line end."""
    return gap_line(missed, zone) if isinstance(missed, Gap) else f"gap: {_silence_text(missed, zone)}"


def gap_line(gap: Gap, zone: tzinfo | None) -> str:
    """Returns one line about a gap, without a line end. The start is rounded down, the end is rounded up."""
    start = zone_text(gap.from_ns, zone)
    end = zone_text(gap.to_ns + _ROUND_UP_NS, zone)
    if gap.reason is GapReason.CLOCK:
        return f"gap: the clock was stepped between {start} and {end}: times around it mislead (clock)"
    if gap.reason is GapReason.RECORDER_STOPPED:
        return f"gap: nobody recorded {printable(gap.host)} between {start} and {end}"
    missed = []
    if gap.count is None:
        missed.append("an unknown number of execs")
    elif gap.count or not gap.exits:
        missed.append(f"{gap.count} {'exec' if gap.count == 1 else 'execs'}")
    if gap.exits:
        missed.append(f"{gap.exits} {'end of a program' if gap.exits == 1 else 'ends of programs'}")
    whose = "" if gap.uid is None else f" of uid {gap.uid}"
    return f"gap: {' and '.join(missed)}{whose} missed between {start} and {end} ({gap.reason.value})"


def pruned_line(execs: int, until_ns: Nanoseconds, at_ns: Nanoseconds, zone: tzinfo | None) -> str:
    """Returns one line about execs that were deleted on purpose, without a line end."""
    until, at = zone_text(until_ns + _ROUND_UP_NS, zone), zone_text(at_ns, zone)
    return f"pruned: {execs} {'exec' if execs == 1 else 'execs'} from before {until} deleted, last at {at}"


def _silence_text(silence: Silence, zone: tzinfo | None) -> str:
    host, start, end, is_stalled, is_central = silence
    if host is None:
        return _NOTHING_SHIPPED if is_central else _NEVER_RECORDED
    name = printable(host)
    if start is None:
        return (
            f"nobody has ever recorded {name} here"
            if end is None
            else f"nobody recorded {name} before {zone_text(end, zone)}"
        )
    since = zone_text(start, zone)
    if is_stalled:
        return (
            f"nothing of {name} has come since {since}: look at `execaudit fleet status`"
            if is_central
            else f"the recorder has not written since {since}: look with `execaudit doctor` whether it hangs"
        )
    if end is None:
        return f"nobody has recorded since {since} ({name})"
    return f"nobody recorded {name} between {since} and {zone_text(end + _ROUND_UP_NS, zone)}"
