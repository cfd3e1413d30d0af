"""Read what a central database has of the seals of a host, and of the rows that they seal."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.central.tables import (
    DROPPED,
    EXEC,
    EXIT,
    GAP,
    HIT,
    NEWEST_DAYS,
    RULE,
    RUN,
    SEAL,
    SEAL_ACT,
    SEAL_CHAIN,
    SEAL_CHANGE,
)
from execaudit.database.sealed_streams import Stream
from execaudit.fleet.conditions import Conditions
from execaudit.fleet.days import DAY_NS, Days, Stretch
from execaudit.fleet.engine import Select
from execaudit.fleet.sealed_rows import Change
from execaudit.fleet.walk import PAGE_BYTES, source_of
from execaudit.seal.chain import ChainRow
from execaudit.seal.pieces import Piece

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from execaudit.central.tables import Table
    from execaudit.fleet.engine import Engine, Row

_PAGE_ROWS = 2000
_TABLES: dict[Stream, tuple[Table, str]] = {
    Stream.EXIT: (EXIT, "id"),
    Stream.RUN: (RUN, "id"),
    Stream.GAP: (GAP, "id"),
    Stream.RULE: (RULE, "id"),
    Stream.HIT: (HIT, "seq"),
    Stream.CHANGE: (SEAL_CHANGE, "id"),
    Stream.ACT: (SEAL_ACT, "id"),
}
_CURSORS = {
    Stream.EXEC: "exec_seq", Stream.EXIT: "exit_id", Stream.HIT: "hit_seq", Stream.RUN: "run_id", Stream.GAP: "gap_id",
    Stream.RULE: "rule_id",
}  # fmt: skip
# What a forwarder that means harm may have sent to a server that cannot refuse it.
_MOST_BYTES = 16 * 1024 * 1024
LATEST_US = 2**53
"""What is later has no date."""


class Run(NamedTuple):
    """A recorder or an import, with its number at the centre."""

    number: int
    boot_id: bytes
    host: bytes
    version: bytes
    started_ns: int
    stopped_ns: int | None
    seen_ns: int | None


class Dropped(NamedTuple):
    """What the owner deleted at the centre."""

    before_day: int = 0
    """Days before this one, since 1970."""
    at_ns: int = 0
    """When."""
    is_by_arrival: bool = False
    """What a mad clock said counts as the day on which it arrived."""

    def has(self, time_ns: int) -> bool:
        """Says whether what happened at a time may have been deleted."""
        is_ahead = time_ns // DAY_NS > self.at_ns // DAY_NS + NEWEST_DAYS
        return time_ns // DAY_NS < self.before_day or (self.is_by_arrival and is_ahead and self.at_ns > 0)


class SealedReader:
    """Reads of one stream."""

    def __init__(self, engine: Engine, stream: int) -> None:
        self._engine, self._stream = engine, stream
        self._days = Days(engine)

    def chains(self) -> dict[tuple[int, bytes], ChainRow]:
        """Returns the chains by their numbers and ids."""
        rows = self._of(SEAL_CHAIN)
        return {
            (row[1], row[2]): ChainRow(
                row[1], row[2], row[3], row[4].decode("utf-8", "surrogateescape"), row[5]
            )
            for row in rows
        }

    def pieces(self, after: int, most: int) -> list[Piece]:
        """Returns the next pieces after a number."""
        return self._pieces('"id" > {}', after, f'ORDER BY "id" LIMIT {most}')

    def piece_with(self, digest: bytes, before: int) -> Piece | None:
        """Returns the last piece before a number that ends with a hash; None: there is none."""
        conditions = Conditions(self._engine.dialect)
        said = f'"hash" = {conditions.bind(digest)} AND "id" < {conditions.bind(before)}'
        found = self._ask_pieces(said, conditions, 'ORDER BY "id" DESC LIMIT 1')
        return found[0] if found else None

    def first_since(self, time_ns: int) -> int:
        """Returns the number of the last piece that was sealed before a time; 0: there is none."""
        conditions = Conditions(self._engine.dialect)
        said = f'"stream" = {conditions.bind(self._stream)} AND "ts" < {conditions.bind(time_ns)}'
        sql = f'SELECT max("id") FROM {self._engine.dialect.table("seal")} WHERE {said}'  # noqa: S608  # bound
        return int(self._engine.rows(sql, conditions.parameters)[0][0] or 0)

    def last(self) -> Piece | None:
        """Returns the last piece; None: there is none."""
        found = self._pieces('"id" > {}', 0, 'ORDER BY "id" DESC LIMIT 1')
        return found[0] if found else None

    def _pieces(self, said: str, value: int, rest: str) -> list[Piece]:
        conditions = Conditions(self._engine.dialect)
        return self._ask_pieces(said.format(conditions.bind(value)), conditions, rest)

    def _ask_pieces(self, said: str, conditions: Conditions, rest: str) -> list[Piece]:
        dialect = self._engine.dialect
        columns = ", ".join(f'"{name}"' for name in SEAL.names[1:])
        sizes = " + ".join(
            dialect.size(f'"{name}"') for name in ("entries", "roots", "runs", "oldest", "gone")
        )
        its = f'"stream" = {conditions.bind(self._stream)} AND {sizes} < {_MOST_BYTES}'
        sql = f"SELECT {columns} FROM {dialect.table('seal')} WHERE {its} AND {said} {rest}"  # noqa: S608  # bound
        return [_dated(Piece(*row)) for row in self._engine.rows(sql, conditions.parameters)]

    def runs(self) -> dict[int, Run]:
        """Returns recorders and imports by their numbers."""
        return {row[1]: Run(*row[1:]) for row in self._of(RUN)}

    def _of(self, table: Table) -> list[Row]:
        conditions = Conditions(self._engine.dialect)
        columns = ", ".join(f'"{name}"' for name in table.names)
        its = f'"stream" = {conditions.bind(self._stream)}'
        sql = f"SELECT {columns} FROM {self._engine.dialect.table(table.name)} WHERE {its}"  # noqa: S608  # bound
        return self._engine.rows(sql, conditions.parameters)

    def rows(self, stream: Stream, ranges: Iterable[tuple[int, int]]) -> list[Row]:
        """Returns the rows of a stream's table, but for execs, between numbers of the centre."""
        table, column = _TABLES[stream]
        dialect, found = self._engine.dialect, []
        for low, high in ranges:
            conditions = Conditions(dialect)
            columns = ", ".join(f'e."{name}"' for name in table.names)
            its = [
                f'e."stream" = {conditions.bind(self._stream)}',
                f'e."{column}" >= {conditions.bind(low)}',
                f'e."{column}" <= {conditions.bind(high)}',
            ]
            where = dialect.where(its) if table in {EXIT, HIT} else f"WHERE {' AND '.join(its)}"
            sql = f"SELECT {columns} FROM {dialect.table(table.name, 'e')} {where}"  # noqa: S608  # bound
            found += self._engine.rows(sql, conditions.parameters)
        return found

    def execs(self, ranges: Iterable[tuple[int, int]]) -> Iterator[Row]:
        """Yields execs between numbers of the centre, in their order."""
        for low, high in ranges:
            after = low - 1
            times = self._days.of([Stretch(self._stream, low, high)])
            while True:
                conditions = Conditions(self._engine.dialect)
                said = [
                    f'e."stream" = {conditions.bind(self._stream)}',
                    f'e."seq" > {conditions.bind(after)}',
                    f'e."seq" <= {conditions.bind(high)}',
                ]
                select = Select(source_of(self._engine, said, conditions, times), 'e."seq"', _PAGE_ROWS)
                rows = self._engine.page(select, EXEC.names, PAGE_BYTES, conditions.parameters)
                yield from rows
                if not rows:
                    break
                after = rows[-1][1]
                if after >= high:
                    break

    def changes(self, first: int, last: int) -> dict[int, list[Change]]:
        """Returns what prunings on the host changed, by the host's numbers of execs."""
        conditions = Conditions(self._engine.dialect)
        said = (
            f'"stream" = {conditions.bind(self._stream)} AND "exec" >= {conditions.bind(first)}'
            f' AND "exec" <= {conditions.bind(last)}'
        )
        sql = (
            'SELECT "exec", "parent_was", "parent_now", "line_was", "line_now"'  # noqa: S608  # bound
            f' FROM {self._engine.dialect.table("seal_change")} WHERE {said} ORDER BY "seal", "id"'
        )
        found: dict[int, list[Change]] = {}
        for number, *change in self._engine.rows(sql, conditions.parameters):
            found.setdefault(number, []).append(Change(*change))
        return found

    def acts(self, number: int) -> list[bytes]:
        """Returns what the prunings with a number left: the number may have been given twice."""
        return [row[-1] for row in self.rows(Stream.ACT, [(number, number)])]

    def times(self, seqs: Sequence[int]) -> dict[int, int]:
        """Returns the times of execs, by their numbers at the centre; of those that are there."""
        if not seqs:
            return {}
        conditions = Conditions(self._engine.dialect)
        times = self._days.of_keys([(self._stream, seq) for seq in seqs])
        said = [
            f'e."stream" = {conditions.bind(self._stream)}',
            conditions.one_of('e."seq"', sorted(set(seqs))),
        ]
        sql = f'SELECT e."seq", e."ts" FROM {source_of(self._engine, said, conditions, times)}'  # noqa: S608  # bound
        return dict(self._engine.rows(sql, conditions.parameters))

    def above(self, stream: Stream, number: int) -> tuple[int, int, int]:
        """Returns how many rows have a number of the centre above one, the first and the last of these."""
        return self._count(stream, ">", number)

    def below_first(self, stream: Stream) -> tuple[int, int, int]:
        """Returns the same of numbers that no host gives."""
        return self._count(stream, "<", 1)

    def _count(self, stream: Stream, sign: str, number: int) -> tuple[int, int, int]:
        table, column = (EXEC, "seq") if stream is Stream.EXEC else _TABLES[stream]
        conditions = Conditions(self._engine.dialect)
        its = f'"stream" = {conditions.bind(self._stream)} AND "{column}" {sign} {conditions.bind(number)}'
        if stream is Stream.GAP and sign == "<":
            # These are the forwarder's own.
            its += f' AND "{column}" = {conditions.bind(0)}'
        # What arrived twice has the same number.
        sql = (
            f'SELECT count(DISTINCT "{column}"), min("{column}"), max("{column}")'  # noqa: S608  # bound
            f" FROM {self._engine.dialect.as_it_is(table.name)} WHERE {its}"
        )
        count, low, high = self._engine.rows(sql, conditions.parameters)[0]
        return count, low or 0, high or 0

    def cursors(self) -> dict[Stream, int]:
        """Returns up to which numbers the forwarder says that rows have arrived."""
        conditions = Conditions(self._engine.dialect)
        columns = ", ".join(f'"{name}"' for name in _CURSORS.values())
        its = f'"stream" = {conditions.bind(self._stream)}'
        sql = f"SELECT {columns} FROM {self._engine.dialect.table('stream')} WHERE {its}"  # noqa: S608  # bound
        rows = self._engine.rows(sql, conditions.parameters)
        return dict(zip(_CURSORS, rows[0], strict=True)) if rows else {}


def _dated(piece: Piece) -> Piece:
    """Returns a piece with a time that has a date: else one that no host has, which its hash does not fit."""
    return piece if abs(piece.at_us) <= LATEST_US else piece._replace(at_us=-1)


def dropped(engine: Engine, now_ns: int) -> Dropped:
    """Returns what the owner deleted at the centre. Raises StoreError."""
    rows = engine.rows(
        f'SELECT "at_ns", "before_ns", "keep_ns" FROM {engine.dialect.table(DROPPED.name)}',  # noqa: S608  # ours
        {},
    )
    found = Dropped()
    for at_ns, before_ns, keep_ns in rows:
        day = (now_ns - keep_ns) // DAY_NS + 1 if keep_ns else before_ns // DAY_NS
        if day > found.before_day:
            found = Dropped(day, at_ns, is_by_arrival=not engine.dialect.plans_by_day)
    return found
