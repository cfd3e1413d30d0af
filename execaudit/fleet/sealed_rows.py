"""Hash rows of a central database as the host hashed its own when it sealed them. Pure.

It is the inverse of forward.flat and forward.other_rows. What stands in a central row a second time, because
it is flat, is not in the hash: it is compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit.central.tables import EXEC
from execaudit.database.enum_codes import TRUNCATIONS
from execaudit.database.sealed_streams import Stream
from execaudit.enums import Truncated
from execaudit.fields import LAUNCH_FIELDS, ORIGIN_FIELDS
from execaudit.seal import codec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from execaudit.central.numbering import Numbers, Shifts

    Row = Sequence[Any]

_LAUNCH = EXEC.names.index(LAUNCH_FIELDS[0].name)
_ORIGIN = EXEC.names.index(ORIGIN_FIELDS[0].name)
_LINE = _ORIGIN + len(ORIGIN_FIELDS)
_LIMIT = TRUNCATIONS.index(Truncated.LIMIT)
_MOST_REMEMBERED = 20_000
UNREADABLE = bytes(codec.BYTES)
"""The hash of a row that makes no sense. No row has it."""


class Hashed(NamedTuple):
    """What was sealed of a row."""

    number: int
    """The host's own."""
    hash: bytes
    is_odd: bool = False
    """What stands there a second time is not the same."""


class Change(NamedTuple):
    """What a pruning on the host changed in an exec; the host's numbers."""

    parent_was: int | None
    parent_now: int | None
    line_was: bytes | None
    line_now: bytes | None


class ExecHashes:
    """Hashes execs of one stream, and remembers what many share."""

    def __init__(self) -> None:
        self._groups: dict[tuple[Any, ...], bytes] = {}

    def of(
        self,
        row: Row,
        shifts: Shifts,
        runs: Mapping[int, tuple[bytes, bytes]],
        changes: Sequence[Change] = (),
    ) -> Hashed:
        """Returns what was sealed of a row of EXEC.

        `runs` has boot and host by the number of the run at the centre. `changes` are those of the exec, in
        their order: the row is as it was before them, or after one of them.
        """
        _, seq, ts, boot_ns, run, host, boot_id, kind, pid, tid, ppid, parent = row[:_LAUNCH]
        argv, argc, argv_bytes, truncated, holes, redacted, errno, *end = row[_LINE:]
        number = shifts.exec.local(seq)
        parent, replaced_by = (each and shifts.exec.local(each) for each in (parent, end[2]))
        try:
            cut = None if truncated is None else (truncated, argc, argv_bytes, *map(_text, (holes, redacted)))
            line = codec.line(argv, cut)
            parent, line = _before(changes, parent, line, truncated)
            numbers = [
                number, ts, boot_ns, shifts.run.local(run), kind, pid, tid, ppid, errno, parent, *end[:2], replaced_by,
            ]  # fmt: skip
            packed = codec.pack_exec(*(codec.NULL if each is None else each for each in numbers))
        except (TypeError, ValueError, codec.PackError):
            return Hashed(number, UNREADABLE)
        launch, origin = self._group(row[_LAUNCH:_ORIGIN]), self._group(row[_ORIGIN:_LINE])
        is_odd = runs.get(run) != (boot_id, host)
        if truncated is None:
            is_odd |= (argc, argv_bytes, holes, redacted) != (argv.count(b"\0"), len(argv), None, None)
        return Hashed(number, codec.exec_hash(packed, launch, origin, line), is_odd)

    def _group(self, values: Row) -> bytes:
        group = tuple(values)
        found = self._groups.get(group)
        if found is None:
            if len(self._groups) >= _MOST_REMEMBERED:
                self._groups.clear()
            found = self._groups[group] = codec.group_hash(group)
        return found


def _before(
    changes: Sequence[Change], parent: int | None, line: bytes, truncated: int | None
) -> tuple[int | None, bytes]:
    """Returns parent and line as they were sealed. They are what they are now if no change leads to that."""
    parents = [each for each in changes if each.line_was is None]
    lines = [each for each in changes if each.line_was is not None]
    # A pruning replaces a parent by an older one or none, and shortens only long lines.
    if parents and parent in {each.parent_now for each in parents} and _are_older(parents):
        parent = parents[0].parent_was
    first = lines[0].line_was if lines else None
    is_cut = first is not None and codec.is_by_hash(first) and truncated == _LIMIT
    if first is not None and is_cut and line in {each.line_now for each in lines}:
        line = first
    return parent, line


def _are_older(changes: Iterable[Change]) -> bool:
    return all(
        each.parent_was is not None and (each.parent_now is None or each.parent_now < each.parent_was)
        for each in changes
    )


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode("utf-8", "surrogateescape")


def _ends(shifts: Shifts, row: Row) -> Row:
    _, seq, _, number, duration, status, replaced_by = row
    local = shifts.exec.local
    return shifts.exit.local(number), local(seq), duration, status, replaced_by and local(replaced_by)


def _runs(shifts: Shifts, row: Row) -> Row:
    return shifts.run.local(row[1]), *map(_text, row[2:5])


def _rules(shifts: Shifts, row: Row) -> Row:
    return shifts.rule.local(row[1]), *map(_text, row[2:7])


def _hits(shifts: Shifts, row: Row) -> Row:
    _, seq, _, rule, left_out = row
    return shifts.exec.local(seq), shifts.rule.local(rule), left_out


def _acts(_: Shifts, row: Row) -> Row:
    return row[2], row[3], _text(row[4]), *row[5:]


def _changes(_: Shifts, row: Row) -> Row:
    return row[2:]


_SEALED: dict[Stream, Callable[[Shifts, Row], Row]] = {
    Stream.EXIT: _ends, Stream.RUN: _runs, Stream.RULE: _rules, Stream.HIT: _hits, Stream.ACT: _acts,
    Stream.CHANGE: _changes,
}  # fmt: skip


def hashed(stream: Stream, row: Row, shifts: Shifts) -> Hashed:
    """Returns what was sealed of a row of a stream's central table, but for execs and gaps."""
    values = _SEALED[stream](shifts, row)
    return Hashed(values[0], codec.row_hash(values))


def hashed_gap(row: Row, shifts: Shifts, run: int) -> Hashed:
    """Returns what was sealed of a row of GAP, given its run on the host."""
    _, number, _, ts_from, ts_to, reason, *rest = row
    local = shifts.gap.local(number)
    return Hashed(local, codec.row_hash((local, run, ts_from, ts_to, _text(reason), *rest)))


def numbers_of(stream: Stream, shifts: Shifts) -> Numbers | None:
    """Returns what numbers a stream's rows have at the centre; None: the host's own."""
    return {
        Stream.EXEC: shifts.exec, Stream.EXIT: shifts.exit, Stream.RUN: shifts.run, Stream.RULE: shifts.rule,
        Stream.HIT: shifts.exec, Stream.GAP: shifts.gap,
    }.get(stream)  # fmt: skip
