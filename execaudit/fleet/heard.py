"""Read what forwarders said last of their hosts."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from execaudit.central.numbering import Numbers, Shift, Shifts
from execaudit.database.imports import VERSION_BEGINNING
from execaudit.enums import GapReason
from execaudit.fleet.chain_breaks import Breaks, chain_breaks
from execaudit.fleet.conditions import Conditions
from execaudit.fleet.retired import retired
from execaudit.fleet.status import Heard

if TYPE_CHECKING:
    from execaudit.fleet.engine import Engine

_COLUMNS = (
    "stream", "host", "version", "first_ns", "contact_ns", "last_seq", "exec_seq", "live_run", "shifts",
)  # fmt: skip

_UNBROKEN = Breaks(0, (), is_copied=False)


def heard(engine: Engine, since_ns: int) -> list[Heard]:
    """Returns what is known of each stream; of gaps and seals, those since a time.

    Raises StoreError.
    """
    gaps, breaks = _gaps(engine, since_ns), chain_breaks(engine, since_ns)
    found = []
    for each in last_heard(engine):
        its_gaps, missed = gaps.get(each.stream, (0, 0))
        broken, chains, is_copied = breaks.get(each.stream, _UNBROKEN)
        broken += is_copied and each.first_ns >= since_ns
        found.append(each._replace(gaps=its_gaps, missed=missed, broken=broken, chains=chains))
    return found


def last_heard(engine: Engine) -> list[Heard]:
    """Returns the same, but for gaps: as if there were none.

    Raises StoreError.
    """
    columns = ", ".join(f'"{name}"' for name in _COLUMNS)
    rows = engine.rows(f"SELECT {columns} FROM {engine.dialect.table('stream')}", {})  # noqa: S608  # ours
    gone = retired(engine, ((row[0], row[1], row[4]) for row in rows))
    found = []
    for stream, host, version, first_ns, contact_ns, last_seq, exec_seq, live_run, shifts in rows:
        try:
            moved = Shifts.from_json(shifts).exec
        except ValueError:
            # A forwarder that means harm may have sent that: it is as if the history had been put back.
            moved = Numbers((Shift(0, 0),))
        found.append(
            Heard(
                stream=stream,
                host=host.decode("utf-8", "backslashreplace"),
                version=version.decode("utf-8", "backslashreplace"),
                first_ns=first_ns,
                contact_ns=contact_ns,
                last_seq=moved.at_centre(last_seq),
                exec_seq=exec_seq,
                live_run=live_run,
                put_back=len(moved.shifts),
                is_import=version.startswith(VERSION_BEGINNING.encode()),
                retired_ns=gone.get(host),
            )
        )
    return found


def _gaps(engine: Engine, since_ns: int) -> dict[int, tuple[int, int]]:
    """Returns for each stream how many gaps miss execs, and how many execs they count."""
    conditions = Conditions(engine.dialect)
    since = conditions.bind(since_ns)
    # Each restart of a recorder has one, and who does not record is told otherwise.
    stopped = conditions.bind(GapReason.RECORDER_STOPPED.value.encode())
    said = f'{engine.dialect.table("gap", "g")} WHERE g."ts_to" >= {since} AND g."reason" <> {stopped}'
    sql = f'SELECT g."stream", g."count" FROM {said}'  # noqa: S608  # bound
    found: dict[int, list[int]] = defaultdict(list)
    for stream, count in engine.rows(sql, conditions.parameters):
        # A gap of 0 is one of ends alone, or of the clock.
        if count != 0:
            found[stream].append(count or 0)
    return {stream: (len(counts), sum(counts)) for stream, counts in found.items()}
