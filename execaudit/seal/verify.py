"""Verify a history: each segment against its rows, in parts that processes can share, and then the whole."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from execaudit.database import execs_view
from execaudit.database.imports import IS_IMPORT
from execaudit.database.sealed_streams import Stream
from execaudit.seal import acts, chain, indexes
from execaudit.seal.chain import NOTHING, ChainRow, Cursors, Link, RunState
from execaudit.seal.newest import newest, unsealed
from execaudit.seal.problems import Problems
from execaudit.seal.rows import Rows
from execaudit.seal.segment_check import Asked, Before, Checked, Problem, SegmentCheck, table_of
from execaudit.seal.segments import COLUMNS, last_entry, read_segment, segment_of, stripped
from execaudit.seal.stamps import TABLE as STAMPS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping

    from execaudit.seal.chain import Head
    from execaudit.seal.keys import VerificationKey
    from execaudit.seal.newest import Newest

# Segments that are read in one transaction: a long one would keep the recorder's WAL from being checkpointed.
_IN_TRANSACTION = 4
_SEGMENTS = f"SELECT {COLUMNS} FROM seal WHERE id BETWEEN ? AND ? ORDER BY id"  # noqa: S608  # ours
_BEFORE = f"SELECT {COLUMNS} FROM seal WHERE id = ?"  # noqa: S608  # ours
_CHAINS = "SELECT id, chain, is_keyed, reason, begun_ns FROM seal_chain ORDER BY id"
_PRUNED = "SELECT id, at_ns, top, ts_from, ts_to, execs, reason, finished FROM pruned ORDER BY id"
_RUN_STATES = "SELECT id, started_ns, stopped_ns, seen_ns FROM run ORDER BY id"


class Stripped(NamedTuple):
    """Epochs of which a pruning left nothing."""

    epochs: int
    from_ns: int
    """Wall clock of the seals before and after."""
    to_ns: int


class Pruning(NamedTuple):
    """Execs that were deleted to keep the history within its limits, and that this is sealed."""

    at_ns: int
    reason: str
    execs: int
    from_ns: int
    to_ns: int


@dataclass
class Result:
    """What a verification found."""

    problems: list[Problem] = field(default_factory=list)
    is_authentic: bool | None = None
    """None: no key was given, or not the chain's."""
    execs: int = 0
    sealed_until_ns: int | None = None
    head: str | None = None
    pruned: list[Pruning] = field(default_factory=list)
    stripped: list[Stripped] = field(default_factory=list)
    lost: list[tuple[int, int, int]] = field(default_factory=list)
    """Epochs that a power cut took: how many, and the wall clock of the seals before and after."""
    chains: list[ChainRow] = field(default_factory=list)
    unkeyed: int = 0
    proved_heads: set[str] = field(default_factory=set)
    """The heads that were looked for and are in the chain."""
    is_sealed: bool = False

    @property
    def is_verified(self) -> bool:
        """Says whether all is as it was sealed."""
        return self.is_sealed and not self.problems and self.is_authentic is not False


class Parts(NamedTuple):
    """What is to be verified, and with what."""

    asked: Asked
    ranges: list[tuple[int, int]]
    """Of segments that grow no more."""
    first: int
    last: int
    """The segment that may still grow. It and later ones are checked at the end."""


def asked_of(
    connection: sqlite3.Connection,
    keys: Iterable[VerificationKey],
    heads: Iterable[Head],
    stamped: Mapping[Head, int] = MappingProxyType({}),
) -> Asked:
    """Returns what a verification goes by, with what the last pruning says of segments that are gone.

    `stamped` are heads with the numbers of their time stamps.
    """
    return Asked(
        {key.chain: key for key in keys}, frozenset((*heads, *stamped)), stripped(connection), stamped
    )


def parts_of(connection: sqlite3.Connection, asked: Asked, since_ns: int | None, *, after: int = 0) -> Parts:
    """Returns the segments to check, and those of heads.

    From a time (wall clock) on, and from the one after `after` on.
    """
    first, last = 1, connection.execute("SELECT max(id) FROM seal").fetchone()[0]
    if last is None:
        return Parts(asked, [], 1, 0)
    if since_ns is not None:
        # Clocks are stepped: from the segment before the first one that begins later.
        row = connection.execute("SELECT min(id) FROM seal WHERE at_us > ?", (since_ns // 1000,)).fetchone()
        first = max(first, (row[0] or last + 1) - 1)
    first = max(first, min(after + 1, last))
    of_heads = {_segment_of(connection, head) for head in asked.heads} if first > 1 else set()
    ranges = [(number, number) for number in sorted(of_heads) if 0 < number < first]
    return Parts(asked, [*ranges, (first, last - 1)], first, last)


def _segment_of(connection: sqlite3.Connection, head: Head) -> int:
    """Returns the segment that must have a head; 0: there is none."""
    number: int | None = connection.execute(
        "SELECT max(s.id) FROM seal AS s JOIN seal_chain AS c ON c.id = s.chain_id"
        " WHERE lower(hex(c.chain)) LIKE ? || '%' AND s.epoch < ?",
        (head.chain, head.epoch),
    ).fetchone()[0]
    return number or 0


def check_range(
    connection: sqlite3.Connection, rows: Rows, asked: Asked, low: int, high: int
) -> Iterator[tuple[int, Checked]]:
    """Checks the segments of a range; yields what was found in some of them, and how many these are."""
    at = low
    while at <= high:
        end = min(at + _IN_TRANSACTION - 1, high)
        yield end - at + 1, _checked(connection, rows, asked, at, end)
        at = end + 1


def _checked(connection: sqlite3.Connection, rows: Rows, asked: Asked, low: int, high: int) -> Checked:
    """Checks a few segments in one transaction."""
    connection.execute("BEGIN")
    try:
        return _walked(connection, rows, asked, low, high)[0]
    finally:
        connection.execute("ROLLBACK")


def _walked(
    connection: sqlite3.Connection, rows: Rows, asked: Asked, low: int, high: int
) -> tuple[Checked, Cursors]:
    """Checks segments. Returns what was found, and what the last of them seals."""
    rows.begin()
    check = SegmentCheck(connection, rows, _chains(connection), asked)
    start, before = _before(connection, low)
    expected = low
    for row in connection.execute(_SEGMENTS, (low, high)).fetchall():
        if row[0] != expected:
            check.found.problems.append(Problem("missing", "seal", expected, row[0] - 1, None, row[3] * 1000))
        segment = segment_of(row, start)
        check.check(segment, before)
        start, before = segment.ends, Before(segment.link, segment.chain, last_entry(segment))
        expected = row[0] + 1
    if expected <= high:
        check.found.problems.append(Problem("missing", "seal", expected, high, None, None))
    return check.found, start


def _chains(connection: sqlite3.Connection) -> dict[int, ChainRow]:
    return {row[0]: ChainRow(*row) for row in connection.execute(_CHAINS)}


def _before(connection: sqlite3.Connection, number: int) -> tuple[Cursors, Before]:
    row = connection.execute(_BEFORE, (number - 1,)).fetchone()
    if row is None:
        return Cursors(), Before(Link(NOTHING, None), None, chain.BEFORE_ALL)
    segment = read_segment(connection, row)
    return segment.ends, Before(segment.link, segment.chain, last_entry(segment))


def check_last(connection: sqlite3.Connection) -> tuple[list[Problem], Newest | None]:
    """Checks the newest segment, and looks for rows above it. Returns problems, and the newest seal."""
    connection.execute("BEGIN")
    try:
        last = connection.execute("SELECT max(id) FROM seal").fetchone()[0]
        if last is None:
            return [*_unsealed(connection, Cursors(), None)], None
        check, ends = _walked(connection, Rows(connection), asked_of(connection, (), ()), last, last)
        seal = newest(connection)
        return [*check.problems, *_unsealed(connection, ends, None if seal is None else seal.at_ns)], seal
    finally:
        connection.execute("ROLLBACK")


def finish(connection: sqlite3.Connection, parts: Parts, found: Iterable[Checked]) -> Result:
    """Checks what came since, and what is about all of the history. Returns the whole result."""
    result, problems = Result(), Problems()
    runs: list[RunState] = []
    heads: dict[str, bool] = {}
    unchecked = gone = 0

    def take(each: Checked) -> None:
        nonlocal unchecked, gone
        problems.add(each.problems)
        result.execs += each.execs
        result.lost += each.lost
        result.unkeyed += each.unkeyed
        unchecked += each.unchecked
        gone += each.gone
        runs.extend(each.runs)
        heads.update(each.heads)
        if each.is_authentic is not None:
            result.is_authentic = each.is_authentic and result.is_authentic is not False

    for each in found:
        take(each)
    connection.execute("BEGIN")
    try:
        last = connection.execute("SELECT max(id) FROM seal").fetchone()[0]
        if last is None:
            problems.add(_unsealed(connection, Cursors(), None))
            return replace(result, problems=[*problems])
        result.is_sealed = True
        check, start = _walked(connection, Rows(connection), parts.asked, parts.last, last)
        take(check)
        result.chains = list(_chains(connection).values())
        if (last_seal := newest(connection)) is not None:
            result.sealed_until_ns, result.head = last_seal.at_ns, str(last_seal.head)
        result.stripped = list(_stripped(connection))
        if parts.first > 1:
            problems.add(indexes.unled(connection, _before(connection, parts.last)[0], start))
        problems.add(_unsealed(connection, start, result.sealed_until_ns))
        problems.add(_runs(connection, runs, is_whole=parts.first == 1))
        problems.add(_pruned(connection, result))
        if gone > sum(pruning.execs for pruning in result.pruned):
            problems.add([Problem("missing", "exec", None, None, None, result.sealed_until_ns)])
        problems.add(_others(connection))
        problems.add(_heads(connection, parts.asked, heads, result))
        result.proved_heads = {head for head, agrees in heads.items() if agrees}
    finally:
        connection.execute("ROLLBACK")
    if not parts.asked.keys:
        result.is_authentic = None
    elif unchecked or not result.chains or not result.chains[-1].is_keyed:
        # Nobody whose key was given vouches for all of it.
        result.is_authentic = False
    result.problems = [*dict.fromkeys(problems)]
    return result


def _stripped(connection: sqlite3.Connection) -> Iterator[Stripped]:
    """Yields what has no entries any more. Whoever has the key can do that to all that was sealed before."""
    first: tuple[int, int] | None = None
    for epoch, at_us, is_stripped in connection.execute(
        "SELECT epoch, at_us, length(entries) = 0 FROM seal ORDER BY id"
    ):
        if is_stripped:
            first = first or (epoch, at_us)
        elif first is not None:
            yield Stripped(epoch - first[0], first[1] * 1000, at_us * 1000)
            first = None


def _unsealed(connection: sqlite3.Connection, ends: Cursors, at_ns: int | None) -> Iterator[Problem]:
    """Yields rows above the last that is sealed, for whoever writes seals it, and those below the first."""
    for table, (_, low, high) in unsealed(connection, ends).items():
        yield Problem("added", table, low, high, at_ns, None)
    for stream in Stream:
        table, column = table_of(stream), "exec_id" if stream is Stream.HIT else "id"
        low, high = connection.execute(
            f"SELECT min({column}), max({column}) FROM {table} WHERE {column} <= ?",  # noqa: S608  # ours
            (Cursors()[stream],),
        ).fetchone()
        if low is not None:
            yield Problem("added", table, low, high, None, None)


def _runs(connection: sqlite3.Connection, sealed: Iterable[RunState], *, is_whole: bool) -> Iterator[Problem]:
    """Yields the runs whose times are not those sealed last, or were changed when they were over."""
    imports = {row[0] for row in connection.execute(f"SELECT id FROM run WHERE {IS_IMPORT}")}  # noqa: S608  # ours
    last: dict[int, RunState] = {}
    newest = 0
    for state in sealed:
        number = state.run_id
        if number not in imports:
            known = last.get(number, state)
            is_over = known.stopped_ns is not None and known != state
            if number < newest or is_over or known.started_ns != state.started_ns:
                yield Problem("changed", "run", number, number, None, None)
            newest = max(number, newest)
        last[number] = state
    for row in connection.execute(_RUN_STATES):
        state = RunState(*row)
        if last.get(state.run_id, None if is_whole else state) != state:
            number = state.run_id
            yield Problem("changed", "run", number, number, None, None)


def _pruned(connection: sqlite3.Connection, result: Result) -> Iterator[Problem]:
    """Takes what was pruned into the result. Yields a problem if that is not what the last pruning sealed."""
    rows = connection.execute(_PRUNED).fetchall()
    last = connection.execute("SELECT pruned FROM seal_act ORDER BY id DESC LIMIT 1").fetchone()
    expected = acts.hash_of_pruned(rows)
    if (last is None and rows) or (last is not None and last[0] != expected):
        yield Problem(
            "changed", "pruned", rows[0][0] if rows else None, rows[-1][0] if rows else None, None, None
        )
    result.pruned = [Pruning(row[1], row[6], row[5], row[3], row[4]) for row in rows if row[5]]


def _others(connection: sqlite3.Connection) -> Iterator[Problem]:
    """Yields what else would mislead a reader: triggers, another view, a number that would be given again."""
    for kind, name, sql in connection.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE type IN ('trigger', 'view')"
    ):
        if kind == "trigger" or name != "execs" or sql != execs_view.statement():
            yield Problem("added" if kind == "trigger" else "changed", name, None, None, None, None)
    for (number,) in connection.execute(
        "SELECT id FROM seal_chain WHERE id NOT IN (SELECT chain_id FROM seal)"
    ):
        yield Problem("added", "seal_chain", number, number, None, None)
    for low, high in connection.execute(
        "SELECT min(seal_id), max(seal_id) FROM seal_gone WHERE seal_id NOT IN (SELECT id FROM seal) HAVING count(*)"
    ):
        yield Problem("added", "seal_gone", low, high, None, None)
    next_id, last, cut = connection.execute(
        "SELECT (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'next_id'), (SELECT max(id) FROM exec),"
        " (SELECT count(*) FROM argv_cut WHERE exec_id NOT IN (SELECT id FROM exec))"
    ).fetchone()
    if next_id is None or next_id <= (last or 0):
        yield Problem("changed", "meta", None, None, None, None)
    if cut:
        yield Problem("added", "argv_cut", None, None, None, None)


def _heads(
    connection: sqlite3.Connection, asked: Asked, found: Mapping[str, bool], result: Result
) -> Iterator[Problem]:
    """Yields heads that were noted earlier and are not in the chain."""
    bare = stripped(connection) if asked.heads else frozenset()
    for head in asked.heads:
        agrees = found.get(str(head))
        if agrees is None and _segment_of(connection, head) in bare:
            continue  # all that it sealed was pruned
        if agrees is None:
            # The epoch is not here: it was cut off, or is of a part that was not looked at.
            yield Problem("cut", *_place(asked, head), result.sealed_until_ns, None)
        elif not agrees:
            yield Problem("forged", *_place(asked, head), None, None)


def _place(asked: Asked, head: Head) -> tuple[str, int | None, int | None]:
    """Returns the table and the number of what says that a head was here."""
    number = asked.stamped.get(head)
    return ("seal", None, None) if number is None else (STAMPS, number, number)


def to_json(found: Checked) -> bytes:
    """Returns what one process found, for another."""
    return json.dumps(asdict(found)).encode()


def from_json(text: bytes) -> Checked:
    """Returns what to_json() made a text of."""
    raw = json.loads(text)
    raw["problems"] = [Problem(*each) for each in raw["problems"]]
    raw["runs"] = [RunState(*each) for each in raw["runs"]]
    raw["lost"] = [tuple(each) for each in raw["lost"]]
    return Checked(**raw)
