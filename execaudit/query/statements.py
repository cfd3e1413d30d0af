"""The statements that find what a filter wants. Pure: nothing is run here.

A statement is text with named parameters: sqlite3 takes it as it is, and SQLAlchemy's
text() would, for a database that is not SQLite. It calls functions of `sql_functions`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.database.enum_codes import KINDS
from execaudit.database.id_list import json_ids
from execaudit.enums import Kind
from execaudit.event import Nanoseconds
from execaudit.query.conditions import Conditions, descendants_table
from execaudit.query.expression import Under
from execaudit.query.filter import Filter
from execaudit.query.rows import COLUMNS, joins

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PAGE_ROWS = 2000
"""A page is one short read transaction: a long one would keep the writer's WAL from being reused (124 MB
against 5 MB for one slow export)."""
OUTLINE = "e.id, e.launch_id, e.origin_id, e.argv_id, e.truncated, e.parent_id"
_FAILED = KINDS.index(Kind.FAILED)
# Of SQLite's integers; as a time, in the year 2262.
_LARGEST = 2**63 - 1


class Statement(NamedTuple):
    """SQL text and the values of its named parameters."""

    sql: str
    parameters: dict[str, object]


class Span(NamedTuple):
    """A part of the history."""

    low: int
    """The number of its first exec, and of its last."""
    high: int
    lines: Sequence[int] | None = None
    """Ids of the only command lines that are wanted in it; None: not known."""


class Times(NamedTuple):
    """The pieces of time that a range is cut into."""

    start_ns: Nanoseconds
    width_ns: Nanoseconds
    pieces: int

    @property
    def end_ns(self) -> Nanoseconds:
        """Returns when the last one ends."""
        return Nanoseconds(self.start_ns + self.pieces * self.width_ns)


class _Where(Conditions):
    """A WHERE clause."""

    def __init__(self) -> None:
        super().__init__()
        self._conditions: list[str] = []

    def add(self, *conditions: str) -> None:
        """Adds conditions that must be true as well."""
        self._conditions += conditions

    def text(self) -> str:
        """Returns the clause, empty without conditions."""
        return f" WHERE {' AND '.join(self._conditions)}" if self._conditions else ""


def _where(wanted: Filter, span: Span) -> _Where:
    where, number = _Where(), _number(wanted)
    where.add(f"{number} BETWEEN {where.bind(span.low)} AND {where.bind(span.high)}")
    if span.lines is not None:
        # Most lines are not even near these: to look for one in a list takes as long as all else for a row.
        where.add(f"e.argv_id BETWEEN {where.bind(min(span.lines))} AND {where.bind(max(span.lines))}")
        lines = where.bind(json_ids(span.lines))
        where.add(f"e.argv_id IN (SELECT value FROM json_each({lines}))")  # noqa: S608  # a parameter
    where.add(*where.all_of(wanted.expression(), begun_with=Under(wanted.under)))
    return where


def _number(wanted: Filter) -> str:
    """Returns the column by which an answer is read on and put in order."""
    return "h.id" if wanted.under else "e.id"


def _select(columns: str, wanted: Filter, where: _Where) -> str:
    """Returns a SELECT of what is wanted, joined with what it speaks of and nothing else."""
    conditions = where.text()
    start = "exec AS e"
    if wanted.under:
        # The ids in a table alone, which is read first.
        start = f"{descendants_table(wanted.under)} AS h CROSS JOIN exec AS e ON e.id = h.id"
    return f"SELECT {columns} FROM {start}{joins(columns + conditions)}{conditions}"  # noqa: S608  # values are bound


def bounds_statement(wanted: Filter) -> Statement:
    """Returns the statement for the first and the last number that the time asked for leaves."""
    if wanted.since_ns is None and wanted.until_ns is None:
        return Statement("SELECT (SELECT min(id) FROM exec), (SELECT max(id) FROM exec)", {})
    return _of_segments("min(id_lo), max(id_hi)", wanted)


def times_statement(wanted: Filter) -> Statement:
    """Returns the statement for the times of the first and the last exec in the time asked for."""
    where = _Where()
    columns = []
    since = None if wanted.since_ns is None else where.bind(wanted.since_ns)
    until = None if wanted.until_ns is None else where.bind(wanted.until_ns)
    within = "e.id BETWEEN id_lo AND id_hi"
    within += "" if since is None else f" AND e.ts >= {since}"
    within += "" if until is None else f" AND e.ts < {until}"
    for function, column, is_inside in (
        ("min", "ts_min", since and f"ts_min >= {since}"),
        ("max", "ts_max", until and f"ts_max < {until}"),
    ):
        # Of segments that begin before the range, or end after it, the execs are looked at: those are few.
        looked = f"(SELECT {function}(e.ts) FROM exec AS e WHERE {within})"  # noqa: S608  # values are bound
        columns.append(
            f"{function}({f'CASE WHEN {is_inside} THEN {column} ELSE {looked} END' if is_inside else column})"
        )
    return _of_segments(", ".join(columns), wanted, where)


def _of_segments(columns: str, wanted: Filter, where: _Where | None = None) -> Statement:
    where = _Where() if where is None else where
    if wanted.since_ns is not None:
        where.add(f"ts_max >= {where.bind(wanted.since_ns)}")
    if wanted.until_ns is not None:
        where.add(f"ts_min < {where.bind(wanted.until_ns)}")
    return Statement(f"SELECT {columns} FROM seg{where.text()}", where.parameters)  # noqa: S608  # values are bound


def statement(wanted: Filter, span: Span, *, most: int = PAGE_ROWS) -> Statement:
    """Returns the statement for one page of what is wanted of a span, of at most `most` execs."""
    where, number = _where(wanted, span), _number(wanted)
    order = "DESC" if wanted.reverse else "ASC"
    page = f"ORDER BY {number} {order} LIMIT {where.bind(most)}"
    return Statement(f"{_select(COLUMNS, wanted, where)} {page}", where.parameters)


def outline_statement(wanted: Filter, span: Span) -> Statement:
    """Returns the statement for all that is wanted of a span: numbers of execs, and what these refer to."""
    where, number = _where(wanted, span), _number(wanted)
    return Statement(f"{_select(OUTLINE, wanted, where)} ORDER BY {number}", where.parameters)


def outlines_statement(numbers: Iterable[int]) -> Statement:
    """Returns the statement for the same of the execs of these numbers."""
    return _of_ids(OUTLINE, "exec AS e", "e.id", numbers)


def newest_statement(wanted: Filter, span: Span, limit: int) -> Statement:
    """Returns the statement for the newest `limit` execs of a span: how many, and the oldest one's number."""
    where, number = _where(wanted, span), _number(wanted)
    most = where.bind(min(limit, _LARGEST))
    inner = f"{_select(f'{number} AS id', wanted, where)} ORDER BY {number} DESC LIMIT {most}"
    return Statement(f"SELECT count(*), min(id) FROM ({inner})", where.parameters)  # noqa: S608  # values are bound


def count_statement(wanted: Filter, span: Span) -> Statement:
    """Returns the statement for how many execs are wanted of a span, but for the limit."""
    where = _where(wanted, span)
    return Statement(_select("count(*)", wanted, where), where.parameters)


def tally_statement(wanted: Filter, span: Span, times: Times) -> Statement:
    """Returns the statement for two texts, of numbers with commas between, one for each exec; or NULL.

    The first has launches (0: none). The second has kind * pieces + in which piece of time. Rows would
    take longer to read, and GROUP BY sorts.
    """
    where = _where(wanted, span)
    columns = _tally(where, times)
    return Statement(_select(columns, wanted, where), where.parameters)


def whole_tally_statement(wanted: Filter, span: Span, times: Times, *, least_ns: int) -> Statement:
    """Returns the statement for the two texts of tally_statement(), and three more; or NULL.

    The third has a number for each exec that failed (-errno) or ended badly before it was stored (as wait(2)
    says). The fourth has origins (0: none). The fifth has `duration:number` of each exec that took `least_ns`
    or longer, if it ended before it was stored. One scan gives all: a second would take as long again.
    """
    where = _where(wanted, span)
    columns = (
        _tally(where, times),
        "group_concat(CASE WHEN e.errno IS NOT NULL THEN -e.errno ELSE nullif(e.status, 0) END)",
        "group_concat(coalesce(e.origin_id, 0))",
        f"group_concat(CASE WHEN e.duration_ns >= {where.bind(least_ns)} THEN e.duration_ns || ':' || e.id END)",
    )
    return Statement(_select(", ".join(columns), wanted, where), where.parameters)


def _tally(where: _Where, times: Times) -> str:
    piece = f"(e.ts - {where.bind(times.start_ns)}) / {where.bind(times.width_ns)}"
    return (
        f"group_concat(coalesce(e.launch_id, 0)), group_concat(e.kind * {where.bind(times.pieces)} + {piece})"
    )


def launches_statement(launches: Iterable[int]) -> Statement:
    """Returns the statement for launches: ids, of exe, command, parent and user too; privileges; the uid."""
    columns = "l.id, l.exe_id, l.comm_id, l.parent_comm_id, l.user_id, l.uid, l.privileged"
    return _of_ids(columns, "launch AS l", "l.id", launches)


def longest_statement(wanted: Filter, span: Span, most: int) -> Statement:
    """Returns the statement for durations (ns) and numbers of execs that ended before they were stored.

    Those that took longest, these first.
    """
    where = _where(wanted, span)
    columns = "e.duration_ns AS took, e.id"
    order = f"ORDER BY took DESC, e.id DESC LIMIT {where.bind(most)}"
    return Statement(f"{_select(columns, wanted, where)} {order}", where.parameters)


def later_ends_statements(wanted: Filter, span: Span, most: int) -> tuple[Statement, Statement]:
    """Returns the statements for the same of ends that came later: a text of statuses, and the longest."""
    start, where = _led_by("exit AS y", "y.exec_id", wanted, span)
    parameters = dict(where.parameters)
    order = f"ORDER BY took DESC, e.id DESC LIMIT {where.bind(most)}"
    return (
        Statement(f"SELECT group_concat(nullif(y.status, 0)) {start}", parameters),
        Statement(f"SELECT y.duration_ns AS took, e.id {start} {order}", where.parameters),
    )


def hosts_statement(wanted: Filter, span: Span) -> Statement:
    """Returns the statement for clocks: how many execs of a span have each, how many failed, and when."""
    where = _where(wanted, span)
    columns = f"e.clock_id, count(*), sum(e.kind = {_FAILED}), min(e.ts), max(e.ts)"
    # By clock, because to compare a host's name for each row takes longer.
    return Statement(f"{_select(columns, wanted, where)} GROUP BY e.clock_id", where.parameters)


def hits_statement(wanted: Filter, span: Span) -> Statement:
    """Returns the statement for rules, how many execs of a span that are wanted each hit, and left out."""
    start, where = _led_by("hit AS z", "z.exec_id", wanted, span)
    columns = "z.rule_id, count(*), sum(z.left_out)"
    return Statement(f"SELECT {columns} {start} GROUP BY z.rule_id", where.parameters)


def _led_by(table: str, column: str, wanted: Filter, span: Span) -> tuple[str, _Where]:
    """Returns FROM and WHERE for wanted execs of a span that have rows in a table, which is read first."""
    where = _where(wanted, span)
    where.add(f"{column} BETWEEN {where.bind(span.low)} AND {where.bind(span.high)}")
    conditions = where.text()
    joined = f"{table} CROSS JOIN exec AS e ON e.id = {column}"
    if wanted.under:
        joined += f" CROSS JOIN {descendants_table(wanted.under)} AS h ON h.id = e.id"
    return f"FROM {joined}{joins(conditions)}{conditions}", where


def hits_of_statement(numbers: Iterable[int]) -> Statement:
    """Returns the statement for the hits of the execs of these numbers, and how many were left out."""
    return _of_ids("z.exec_id, z.rule_id, z.left_out", "hit AS z", "z.exec_id", numbers)


def cgroups_statement(origins: Iterable[int]) -> Statement:
    """Returns the statement for ids of origins and the paths of their cgroups."""
    return _of_ids("o.id, p.v", "origin AS o CROSS JOIN path AS p ON p.id = o.cgroup_id", "o.id", origins)


def sightings_statement(launches: Iterable[int]) -> Statement:
    """Returns the statement for how many execs succeeded with these launches, and the first one's time.

    By the index of command names: there is none of launches.
    """
    where = _Where()
    given = where.bind(json_ids(sorted(launches)))
    of_launches = f"SELECT value FROM json_each({given})"  # noqa: S608  # a parameter
    comms = f"SELECT comm_id FROM launch WHERE id IN ({of_launches})"  # noqa: S608  # a parameter
    # Of a few the name is not known.
    where.add(f"(e.comm_id IN ({comms}) OR e.comm_id IS NULL)")
    where.add(f"e.launch_id IN ({of_launches})")
    where.add("e.errno IS NULL")
    return Statement(f"SELECT count(*), min(e.ts) FROM exec AS e{where.text()}", where.parameters)  # noqa: S608  # ours


def values_statement(dictionary: str, ids: Iterable[int]) -> Statement:
    """Returns the statement for ids of a dictionary and their values, of which several may be the same."""
    return _of_ids("id, v", dictionary, "id", ids)


def _of_ids(columns: str, table: str, column: str, ids: Iterable[int]) -> Statement:
    where = _Where()
    # In order, because SQLite puts them into a tree.
    given = where.bind(json_ids(sorted(ids)))
    where.add(f"{column} IN (SELECT value FROM json_each({given}))")  # noqa: S608  # a parameter
    return Statement(f"SELECT {columns} FROM {table}{where.text()}", where.parameters)  # noqa: S608  # ours


def lines_statement(texts: Sequence[bytes]) -> Statement:
    """Returns the statement for the ids of the command lines, in some ranges, that have one of the texts.

    `:ranges` is a JSON object: the last id of each range by its first. Those are all lines of the execs that
    `Filter.args` wants, and more: what spans a hole is in a line.
    """
    where = _Where()
    where.add("a.id BETWEEN CAST(r.key AS INTEGER) AND r.value")
    where.add("(" + " OR ".join(where.line(text) for text in texts) + ")")
    start = "SELECT a.id FROM json_each(:ranges) AS r CROSS JOIN argv AS a"
    return Statement(f"{start}{where.text()}", where.parameters)


def numbers_statement(numbers: Sequence[int]) -> Statement:
    """Returns the statement for the execs of these numbers, in any order."""
    where = _Where()
    where.add(where.one_of("e.id", numbers))
    return Statement(_select(COLUMNS, Filter(), where), where.parameters)


def gaps_statement(wanted: Filter) -> Statement:
    """Returns the statement for the gaps in the range asked for, on all hosts: numbers, and the rest."""
    where = _Where()
    if wanted.since_ns is not None:
        where.add(f"g.ts_to >= {where.bind(wanted.since_ns)}")
    if wanted.until_ns is not None:
        where.add(f"g.ts_from < {where.bind(wanted.until_ns)}")
    columns = "SELECT g.id, r.host, g.ts_from, g.ts_to, g.reason, g.count, g.exits, g.uid FROM gap AS g"
    joined = f"{columns} LEFT JOIN run AS r ON r.id = g.run_id"
    return Statement(f"{joined}{where.text()} ORDER BY g.id", where.parameters)


def descendants_statement(roots: Sequence[int], *, known: int | None, last: int) -> Statement:
    """Returns the statement that puts descendants of `roots` into their table, up to the number `last`.

    `known` is the `last` of the time before, if there was one: those are in the table already.
    """
    table = descendants_table(roots)
    where = _Where()
    of_roots, new = where.one_of("e.parent_id", roots), ""
    upto = where.bind(last)
    if known is not None:
        # Few are new: each is looked at. The index would find the old ones as well.
        of_roots = f"({of_roots} OR e.parent_id IN (SELECT id FROM {table}))"  # noqa: S608  # ours
        new = f"NOT INDEXED WHERE e.id > {where.bind(known)} AND"
    # A parent's number is smaller. That it is asked for ends the search of a damaged history.
    return Statement(
        f"INSERT OR IGNORE INTO {table} WITH RECURSIVE down(id) AS ("  # noqa: S608  # values are bound
        f"SELECT e.id FROM exec AS e {new or 'WHERE'} {of_roots} AND e.id > e.parent_id AND e.id <= {upto}"
        " UNION ALL SELECT e.id FROM down AS h CROSS JOIN exec AS e ON e.parent_id = h.id"
        f" WHERE e.id > h.id AND e.id <= {upto}) SELECT id FROM down",
        where.parameters,
    )
