"""Make an ExecEvent of a row of the history. Pure; no other module of queries knows these columns."""

from __future__ import annotations

import json
import re
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit.database.enum_codes import KINDS, TRUNCATIONS
from execaudit.database.field_columns import column_of, dictionary_of
from execaudit.database.signed64 import unsigned
from execaudit.enums import Ended, Gained, Kind
from execaudit.escaping import exact
from execaudit.event import End, ExecEvent, Hole, Redaction
from execaudit.exec_id import ExecKey, boot_prefix
from execaudit.fields import (
    LAUNCH_FIELDS,
    ORIGIN_FIELDS,
    UNKNOWN_LAUNCH,
    UNKNOWN_ORIGIN,
    Form,
    Launch,
    Origin,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from execaudit.fields import Field

COLUMNS = (
    "e.id, e.ts, e.clock_id, e.kind, e.pid, e.tid, e.ppid, e.launch_id, e.origin_id, e.argv_id, e.errno,"
    " e.truncated, e.parent_id, e.duration_ns, e.status, e.replaced_by"
)
"""The columns of a row; Known has what their numbers refer to."""
# The end is in the exec's own row if it was known when that was stored, else in the table exit.
DURATION, STATUS, _REPLACED_BY = (
    f"CASE WHEN e.duration_ns IS NULL THEN x.{column} ELSE e.{column} END"
    for column in ("duration_ns", "status", "replaced_by")
)
# The tables that filters use. Always LEFT JOIN: with an inner join the planner starts from the dictionary.
_JOINS = {
    alias: f" LEFT JOIN {table} AS {alias} ON {condition}"
    for table, alias, condition in (
        ("clock", "k", "k.id = e.clock_id"),
        ("run", "r", "r.id = k.run_id"),
        ("launch", "l", "l.id = e.launch_id"),
        ("user", "u", "u.id = l.user_id"),
        ("origin", "o", "o.id = e.origin_id"),
        ("argv", "a", "a.id = e.argv_id"),
        ("argv_cut", "t", "t.exec_id = e.id"),
        ("exit", "x", "x.exec_id = e.id"),
        # The parent, and the exec that came next.
        ("exec", "p", "p.id = e.parent_id"),
        ("clock", "pk", "pk.id = p.clock_id"),
        ("launch", "pl", "pl.id = p.launch_id"),
        ("argv", "pa", "pa.id = p.argv_id"),
        ("argv_cut", "pt", "pt.exec_id = p.id"),
        ("exec", "n", f"n.id = {_REPLACED_BY}"),
        ("clock", "nk", "nk.id = n.clock_id"),
    )
}
_ALIAS = re.compile(r"\b([a-z]+)\.")
_NEEDS = {alias: set(_ALIAS.findall(join)) for alias, join in _JOINS.items()}


def joins(text: str) -> str:
    """Returns the joins that SQL needs which speaks of the tables by their aliases; `e` is exec."""
    needed = set(_ALIAS.findall(text))
    # From the last to the first, because each speaks of earlier ones.
    for alias in reversed(_JOINS):
        if alias in needed:
            needed |= _NEEDS[alias]
    return "".join(join for alias, join in _JOINS.items() if alias in needed)


class Clock(NamedTuple):
    """Whose clock it was, and how it went."""

    offset_ns: int
    """Wall clock minus boot clock."""
    run_id: int
    host: str
    boot_id: str


class Relative(NamedTuple):
    """What another exec's row is needed for."""

    boot_ns: int
    pid: int
    replaced_by: int | None


class Known:
    """What rows refer to, by the numbers that they have for it."""

    def __init__(self) -> None:
        self.clocks: dict[int, Clock] = {}
        self.launches: dict[int | None, Launch] = {None: UNKNOWN_LAUNCH}
        self.origins: dict[int | None, Origin] = {None: UNKNOWN_ORIGIN}
        self.lines: dict[int, bytes] = {}
        self.cuts: dict[int, tuple[int | None, int | None, str, str | None]] = {}
        """By exec: argc, argv_bytes, holes and marks of those that are not whole, or were redacted."""
        self.ends: dict[int, tuple[int, int | None, int | None]] = {}
        """By exec: duration, status and replaced_by of those that ended after they were stored."""
        self.relatives: dict[int, Relative] = {}
        """By exec: parents, and what came next."""
        self.keys: dict[int | None, tuple[int, int]] = {}
        """By exec, of those and of others: boot clock and pid."""


class Recording(NamedTuple):
    """What is being recorded while the history is read."""

    run_id: int | None
    """The run that goes on; None: nobody records."""
    lost_ns: int
    """Wall clock until which ends of that run's programs were missed."""
    continued: frozenset[int] = frozenset()
    """Execs of earlier runs that ran when this one began. Empty if ends were missed since."""


class Found(NamedTuple):
    """An exec and its place in the history."""

    number: int
    """Grows in the order of recording."""
    event: ExecEvent
    parent: int | None
    """The place of the exec that led to this one."""


def to_found(row: Sequence[Any], known: Known, recording: Recording) -> Found:
    """Returns the exec in a row of COLUMNS.

    Raises AttributeError, LookupError, TypeError or ValueError for one that makes no sense.
    """
    (
        number, ts, clock_id, kind_code, pid, tid, ppid, launch_id, origin_id, argv_id, errno, truncated, parent_id,
        duration_ns, status, replaced_by,
    ) = row  # fmt: skip
    offset_ns, run_id, host, boot_id = known.clocks[clock_id]
    argv, kind = known.lines[argv_id], KINDS[kind_code]
    argc: int | None
    argv_bytes: int | None
    if truncated is None:
        argc, argv_bytes, holes, redacted = argv.count(b"\0"), len(argv), _NO_HOLES, _NOT_REDACTED
    else:
        argc, argv_bytes, text, marks = known.cuts[number]
        holes, truncated = tuple(Hole(*hole) for hole in json.loads(text)), TRUNCATIONS[truncated]
        redacted = _NOT_REDACTED if marks is None else tuple(Redaction(*mark) for mark in json.loads(marks))
    if duration_ns is None and number in known.ends:
        duration_ns, status, replaced_by = known.ends[number]
    boot = boot_prefix(boot_id)
    if duration_ns is not None:
        relative = known.relatives.get(replaced_by)
        end = to_end(status, duration_ns, relative and _new(ExecKey, (boot, relative.boot_ns, relative.pid)))
    elif kind is Kind.FAILED:
        end = None
    else:
        is_watched = run_id == recording.run_id and ts >= recording.lost_ns
        end = _RUNNING if is_watched or number in recording.continued else _UNKNOWN
    parent, replaces = None, False
    relative = known.relatives.get(parent_id)
    if relative is not None:
        parent = _new(ExecKey, (boot, relative.boot_ns, relative.pid))
        replaces = relative.replaced_by == number
    # Past the constructor, in the order of the fields: this is done for each exec of an answer.
    event = _new(
        ExecEvent,
        (
            kind, host, boot_id, ts, ts - offset_ns, pid, pid if tid is None else tid, ppid, argv, argc, argv_bytes, holes,
            truncated, errno, known.launches[launch_id], known.origins[origin_id], parent, replaces, end, None,
            redacted,
        ),
    )  # fmt: skip
    return _new(Found, (number, event, None if parent is None else parent_id))


def to_event(row: Sequence[Any], known: Known, recording: Recording) -> ExecEvent:
    """Returns the same exec's event where of relatives no more is known than their keys.

    So it does not know whether it replaced its parent, which is no part of the record.
    """
    later = known.ends.get(row[0])
    keys = {number: known.keys.get(number) for number in (row[12], row[15], later and later[2])}
    known.relatives = {
        number: Relative(*key, None) for number, key in keys.items() if number is not None and key is not None
    }
    return to_found(row, known, recording).event


class Shared:
    """The launches, or the origins: their rows, in which some columns have numbers of values."""

    def __init__(self, table: str, kind: type[Launch | Origin], fields: Sequence[Field]) -> None:
        columns = ", ".join(column_of(field) for field in fields)
        self.sql = f"SELECT id, {columns} FROM {table} WHERE id {_GIVEN}"  # noqa: S608  # ours
        self.dictionaries = [dictionary_of(field) for field in fields]
        """The dictionary of each column, without that of the id."""
        self._kind = kind
        self._decoders = [_DECODED.get(field.form) for field in fields]
        self._decoders_of_values = [_DECODED_VALUES.get(field.form) for field in fields]

    def made(
        self, columns: Iterable[Sequence[Any]], values: Mapping[str, Mapping[int, object]]
    ) -> Iterator[Any]:
        """Yields what is in rows, of which these are the columns. `values` has those of the dictionaries."""
        shown: list[Iterable[Any]] = []
        for column, dictionary, decode in zip(columns, self.dictionaries, self._decoders, strict=True):
            if dictionary is not None:
                shown.append(map(values[dictionary].get, column))
            elif decode is not None:
                shown.append([value if value is None else decode(value) for value in column])
            else:
                shown.append(column)
        return map(_new, repeat(self._kind), zip(*shown, strict=True))

    def of_values(self, row: Sequence[Any]) -> Any:  # noqa: ANN401  # a Launch or an Origin
        """Returns what is in a row that has the values of dictionaries themselves."""
        return _new(
            self._kind,
            [
                value if value is None or decode is None else decode(value)
                for value, decode in zip(row, self._decoders_of_values, strict=True)
            ],
        )


def to_name(raw: bytes) -> str:
    """Returns a value of the dictionary `user`."""
    return exact(raw)


# Each for some numbers, as JSON.
_GIVEN = "IN (SELECT value FROM json_each(:numbers))"
VALUES = {name: f"SELECT id, v FROM {name} WHERE id {_GIVEN}" for name in ("user", "comm", "path")}  # noqa: S608  # ours
CLOCKS = (
    "SELECT k.id, k.offset_ns, k.run_id, r.host, r.boot_id FROM clock AS k JOIN run AS r ON r.id = k.run_id"  # noqa: S608  # ours
    f" WHERE k.id {_GIVEN}"
)
LINES = f"SELECT id, v FROM argv WHERE id {_GIVEN}"  # noqa: S608  # ours
CUTS = f"SELECT exec_id, argc, argv_bytes, holes, redacted FROM argv_cut WHERE exec_id {_GIVEN}"  # noqa: S608  # ours
ENDS = f"SELECT exec_id, duration_ns, status, replaced_by FROM exit WHERE exec_id {_GIVEN}"  # noqa: S608  # ours
RELATIVES = (
    "SELECT p.id, p.ts - k.offset_ns, p.pid, coalesce(p.replaced_by, x.replaced_by) FROM exec AS p"  # noqa: S608  # ours
    " LEFT JOIN clock AS k ON k.id = p.clock_id LEFT JOIN exit AS x ON x.exec_id = p.id"
    f" WHERE p.id {_GIVEN}"
)

_new = tuple.__new__
_NO_HOLES: tuple[Hole, ...] = ()
_NOT_REDACTED: tuple[Redaction, ...] = ()
_RUNNING, _UNKNOWN = End(Ended.RUNNING), End(Ended.UNKNOWN)
# Looked up, because an IntFlag is dear to make.
_GAINED = [Gained(bits) for bits in range(8)]
_DECODED: dict[Form, Callable[[Any], object]] = {
    Form.UNSIGNED_64: unsigned,
    Form.GAINED: _GAINED.__getitem__,
}
"""Turns the value in the database into the value in the event, where the two differ."""
_DECODED_VALUES = {**_DECODED, Form.NAME: to_name}
LAUNCHES, ORIGINS = Shared("launch", Launch, LAUNCH_FIELDS), Shared("origin", Origin, ORIGIN_FIELDS)
# wait(2): the signal, with 0x80 for a core dump, below the exit status.
_SIGNAL, _STATUS_SHIFT = 0x7F, 8


def to_end(status: int | None, duration_ns: int, next_key: ExecKey | None) -> End:
    """Returns how a program ended: as wait(2) says, or with None that it was replaced by another."""
    if status is None:
        return _new(End, (Ended.REPLACED, None, None, duration_ns, next_key))
    if signal := status & _SIGNAL:
        return _new(End, (Ended.SIGNALED, None, signal, duration_ns, None))
    return _new(End, (Ended.EXITED, status >> _STATUS_SHIFT, None, duration_ns, None))
