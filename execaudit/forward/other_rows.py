"""Turn local rows of all tables but `exec` into those of a central database. Pure; see flat.py for execs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from execaudit.central.numbering import Shifts
    from execaudit.enums import GapReason
    from execaudit.forward.source import End, Hit, LocalGap, Pruned, Rule, Run
    from execaudit.seal.chain import Head

    _Row = tuple[Any, ...]

_PRUNING_REASONS = ("age", "size")


def _text(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def ends(stream: int, shifts: Shifts, rows: Iterable[End]) -> list[_Row]:
    """Returns rows of EXIT."""
    exec_, exit_ = shifts.exec.at_centre, shifts.exit.at_centre
    return [
        (
            stream, exec_(end.exec), end.ts, exit_(end.number), end.duration_ns, end.status,
            None if end.replaced_by is None else exec_(end.replaced_by),
        )
        for end in rows
    ]  # fmt: skip


def hits(stream: int, shifts: Shifts, rows: Iterable[Hit]) -> list[_Row]:
    """Returns rows of HIT."""
    exec_, rule = shifts.exec.at_centre, shifts.rule.at_centre
    return [(stream, exec_(hit.exec), hit.ts, rule(hit.rule), hit.left_out) for hit in rows]


def rules(stream: int, shifts: Shifts, rows: Iterable[Rule]) -> list[_Row]:
    """Returns rows of RULE."""
    return [
        (
            stream, shifts.rule.at_centre(rule.number), None if rule.uuid is None else _text(rule.uuid),
            _text(rule.title), None if rule.level is None else _text(rule.level), _text(rule.tags), _text(rule.file),
        )
        for rule in rows
    ]  # fmt: skip


def runs(stream: int, shifts: Shifts, rows: Iterable[Run]) -> list[_Row]:
    """Returns rows of RUN."""
    return [
        (
            stream, shifts.run.at_centre(run.number), _text(run.boot_id), _text(run.host), _text(run.version),
            run.started_ns, run.stopped_ns, run.seen_ns,
        )
        for run in rows
    ]  # fmt: skip


def gaps(stream: int, shifts: Shifts, rows: Iterable[LocalGap]) -> list[_Row]:
    """Returns rows of GAP."""
    return [
        (
            stream, shifts.gap.at_centre(gap.number), _text(gap.host), gap.ts_from, gap.ts_to, _text(gap.reason),
            gap.missing, gap.exits, gap.uid,
        )
        for gap in rows
    ]  # fmt: skip


def gap_of(
    stream: int, seq: int, host: bytes, times: tuple[int, int], missing: tuple[GapReason, int]
) -> _Row:
    """Returns the row of GAP for execs that the host cannot ship: why, and how many.

    `seq` is the last of them. It makes the row's number, so a second try makes no second row.
    """
    reason, count = missing
    return (stream, -seq, host, *times, reason.value.encode(), count, 0, None)


def prunings(stream: int, shifts: Shifts, rows: Iterable[Pruned]) -> Iterator[_Row]:
    """Yields rows of PRUNED: one for each kind, also for those of which there is none.

    A pruning that ends changes its kind, and none is to stay where it was.
    """
    found = {_kind(row): row for row in rows}
    for kind in range(4 * len(_PRUNING_REASONS)):
        row = found.get(kind)
        reason = _PRUNING_REASONS[kind // 4]
        if row is None:
            yield (stream, kind, 0, 0, 0, 0, 0, reason.encode(), 1)
        else:
            top = shifts.exec.at_centre(row.top)
            yield (
                stream, kind, row.at_ns, top, row.ts_from, row.ts_to, row.execs, reason.encode(), row.finished
            )  # fmt: skip


def _kind(row: Pruned) -> int:
    reason = _PRUNING_REASONS.index(row.reason) if row.reason in _PRUNING_REASONS else 0
    return 4 * reason + 2 * bool(row.has_deleted) + bool(row.finished)


def head(stream: int, found: tuple[Head, int]) -> _Row:
    """Returns the row of HEAD."""
    (chain, epoch, digest), at_ns = found
    return (stream, chain.encode(), epoch, at_ns, digest.encode())


def continued(shifts: Shifts, execs: Iterable[int]) -> bytes:
    """Returns the column `continued` of STREAM."""
    return json.dumps(sorted(map(shifts.exec.at_centre, execs)), separators=(",", ":")).encode()
