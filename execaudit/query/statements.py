"""The statements that find what a filter wants. Pure: nothing is run here.

A statement is text with named parameters: sqlite3 takes it as it is, and SQLAlchemy's
text() would, for a database that is not SQLite. It calls functions of `sql_functions`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from execaudit.database.enum_codes import KINDS, WHOLE
from execaudit.database.id_list import json_ids
from execaudit.enums import Kind
from execaudit.query import globs
from execaudit.query.filter import Filter
from execaudit.query.rows import COLUMNS, joins

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from execaudit.query.filter import UserMatch

PAGE_ROWS = 2000
"""A page is one short read transaction: a long one would keep the writer's WAL from being reused (124 MB
against 5 MB for one slow export)."""
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


class _Where:
    """Collects conditions and their parameters."""

    def __init__(self, parameters: dict[str, object] | None = None) -> None:
        """`parameters` are those of the statement that this is a part of."""
        self.conditions: list[str] = []
        self.parameters: dict[str, object] = {} if parameters is None else parameters

    def bind(self, value: object) -> str:
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f":{name}"

    def any_of(self, conditions: Sequence[str]) -> None:
        if conditions:
            self.conditions.append("(" + " OR ".join(conditions) + ")")

    def one_of(self, column: str, values: Sequence[object]) -> None:
        if values:
            self.conditions.append(f"{column} IN ({', '.join(self.bind(value) for value in values)})")

    def named(self, dictionary: str, globs: Sequence[bytes]) -> str:
        """Interned texts: the dictionary is searched, not the execs; for all globs at once."""
        matches = " OR ".join(self.glob("v", glob) for glob in globs)
        return f"SELECT id FROM {dictionary} WHERE {matches}"  # noqa: S608  # ours

    def glob(self, column: str, glob: bytes) -> str:
        if not re.search(rb"[*?\[]", glob):
            return f"{column} = {self.bind(glob)}"
        if glob.isascii() and not re.search(rb"[?\[]", glob):
            # The common ones, in a fifth of the time. SQLite knows no single bytes that are no
            # UTF-8, but a star passes over any. On Debian it never finds a BLOB.
            return f"CAST({column} AS TEXT) GLOB CAST({self.bind(glob)} AS TEXT)"
        return f"matches_glob({self.bind(glob)}, {column})"

    def text(self) -> str:
        return f" WHERE {' AND '.join(self.conditions)}" if self.conditions else ""


def _where(wanted: Filter, span: Span) -> _Where:
    where, number = _Where(), _number(wanted)
    where.conditions.append(f"{number} BETWEEN {where.bind(span.low)} AND {where.bind(span.high)}")
    if span.lines is not None:
        lines = where.bind(json_ids(span.lines))
        where.conditions.append(f"e.argv_id IN (SELECT value FROM json_each({lines}))")  # noqa: S608  # a parameter
    if wanted.since_ns is not None:
        where.conditions.append(f"e.ts >= {where.bind(wanted.since_ns)}")
    if wanted.until_ns is not None:
        where.conditions.append(f"e.ts < {where.bind(wanted.until_ns)}")
    where.one_of("e.pid", wanted.pids)
    where.one_of("e.ppid", wanted.ppids)
    if wanted.comms:
        where.conditions.append(f"e.comm_id IN ({where.named('comm', wanted.comms)})")
    if wanted.exes:
        where.conditions.append(_image_condition(where, wanted.exes))
    for column, names in (("filename_id", wanted.filenames), ("cwd_id", wanted.cwds)):
        if names:
            where.conditions.append(f"e.launch_id IN ({_launches(where, column, names)})")
    where.any_of([_args_condition(where, text) for text in wanted.args])
    where.any_of([f"args_search({where.bind(text)}, a.v, t.holes, e.id)" for text in wanted.args_regex])
    where.any_of([_user_condition(where, match, "u.v", "e.uid", "l.user_id") for match in wanted.users])
    where.conditions += _origin_conditions(where, wanted)
    where.any_of([f"r.host = {where.bind(host)}" for host in wanted.hosts])
    if wanted.failed:
        where.conditions.append(f"e.kind = {KINDS.index(Kind.FAILED)}")
    if wanted.truncated:
        where.conditions.append(f"e.truncated <> {WHOLE}")
    return where


def _launches(where: _Where, column: str, names: Sequence[bytes]) -> str:
    return f"SELECT id FROM launch WHERE {column} IN ({where.named('path', names)})"  # noqa: S608  # ours


def _image_condition(where: _Where, names: Sequence[bytes]) -> str:
    """Returns the condition for images: in a chroot also by the path that is seen there."""
    inner = " OR ".join(where.glob("substr(ix.v, length(ir.v) + 1)", glob) for glob in names)
    images = (
        f"{_launches(where, 'exe_id', names)} UNION ALL SELECT il.id FROM launch AS il"  # noqa: S608  # ours
        " JOIN path AS ir ON ir.id = il.root_id JOIN path AS ix ON ix.id = il.exe_id"
        f" WHERE substr(ix.v, 1, length(ir.v)) = ir.v AND substr(ix.v, length(ir.v) + 1, 1) = {where.bind(b'/')}"
        f" AND ({inner})"
    )
    failed = f"e.kind = {KINDS.index(Kind.FAILED)}"
    asked = _launches(where, "filename_id", globs.as_asked(tuple(names)))
    return f"(e.launch_id IN ({images}) OR ({failed} AND e.launch_id IN ({asked})))"


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


def _args_condition(where: _Where, text: bytes) -> str:
    found = _words_condition(where, text)
    joined = f"args_contain({where.bind(text)}, a.v, t.holes)"
    found.append(joined if b" " in text else f"(e.truncated IS NULL OR {joined})")
    return "(" + " AND ".join(found) + ")"


def _line_condition(where: _Where, text: bytes) -> str:
    """Returns a condition for each line of which an exec passes _args_condition, wherever its holes are."""
    found = _words_condition(where, text)
    if b" " in text or not found:
        found.append(f"line_contains({where.bind(text)}, a.v)")
    return "(" + " AND ".join(found) + ")"


def _words_condition(where: _Where, text: bytes) -> list[str]:
    # instr is C and exact on bytes; what spans arguments or holes is looked at again, joined.
    return [f"instr(a.v, {where.bind(word)}) > 0" for word in text.split(b" ") if word]


def _user_condition(where: _Where, match: UserMatch, name: str, uid: str, name_id: str) -> str:
    """Returns the condition for a user, given the columns that say who it was."""
    if match.name is None:
        return f"{uid} = {where.bind(match.uid)}"
    by_name = f"{name} = {where.bind(match.name.encode('utf-8', 'surrogateescape'))}"
    if match.uid is None:
        return by_name
    return f"({by_name} OR ({name_id} IS NULL AND {uid} = {where.bind(match.uid)}))"


def _origin_conditions(outer: _Where, wanted: Filter) -> list[str]:
    """Where execs come from: the few origins are searched, not the execs."""
    where = _Where(outer.parameters)
    where.any_of(
        [_user_condition(where, match, "su.v", "so.auid", "so.login_user_id") for match in wanted.login_users]
    )
    where.one_of("so.tty", wanted.ttys)
    where.any_of([where.glob("sg.v", glob) for glob in wanted.cgroups])
    where.any_of([f"in_container({where.bind(text)}, sg.v)" for text in wanted.containers])
    if not where.conditions:
        return []
    joined = (
        "origin AS so LEFT JOIN user AS su ON su.id = so.login_user_id"
        " LEFT JOIN path AS sg ON sg.id = so.cgroup_id"
    )
    return [f"e.origin_id IN (SELECT so.id FROM {joined}{where.text()})"]  # noqa: S608  # values are bound


def bounds_statement(wanted: Filter) -> Statement:
    """Returns the statement for the first and the last number that the time asked for leaves."""
    if wanted.since_ns is None and wanted.until_ns is None:
        return Statement("SELECT (SELECT min(id) FROM exec), (SELECT max(id) FROM exec)", {})
    return _of_segments("min(id_lo), max(id_hi)", wanted)


def times_statement(wanted: Filter) -> Statement:
    """Returns the statement for the times of the segments that the time asked for leaves."""
    return _of_segments("min(ts_min), max(ts_max)", wanted)


def _of_segments(columns: str, wanted: Filter) -> Statement:
    where = _Where()
    if wanted.since_ns is not None:
        where.conditions.append(f"ts_max >= {where.bind(wanted.since_ns)}")
    if wanted.until_ns is not None:
        where.conditions.append(f"ts_min < {where.bind(wanted.until_ns)}")
    return Statement(f"SELECT {columns} FROM seg{where.text()}", where.parameters)  # noqa: S608  # values are bound


def statement(wanted: Filter, span: Span, *, most: int = PAGE_ROWS) -> Statement:
    """Returns the statement for one page of what is wanted of a span, of at most `most` execs."""
    where, number = _where(wanted, span), _number(wanted)
    order = "DESC" if wanted.reverse else "ASC"
    page = f"ORDER BY {number} {order} LIMIT {where.bind(most)}"
    return Statement(f"{_select(COLUMNS, wanted, where)} {page}", where.parameters)


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


def tally_statement(wanted: Filter, span: Span, *, start_ns: int, width_ns: int, pieces: int) -> Statement:
    """Returns the statement for two texts, of numbers with commas between, one for each exec; or NULL.

    The first has launches (0: none). The second has kind * `pieces` + in which piece of time: they begin at
    `start_ns`, each of `width_ns`. Rows would take longer to read, and GROUP BY sorts.
    """
    where = _where(wanted, span)
    piece = f"(e.ts - {where.bind(start_ns)}) / {where.bind(width_ns)}"
    columns = f"group_concat(coalesce(e.launch_id, 0)), group_concat(e.kind * {where.bind(pieces)} + {piece})"
    return Statement(_select(columns, wanted, where), where.parameters)


def launches_statement(launches: Iterable[int]) -> Statement:
    """Returns the statement for launches: ids, of exe, command, parent's command and user too; the uid."""
    columns = "l.id, l.exe_id, l.comm_id, l.parent_comm_id, l.user_id, l.uid"
    return _of_ids(columns, "launch AS l", "l.id", launches)


def values_statement(dictionary: str, ids: Iterable[int]) -> Statement:
    """Returns the statement for ids of a dictionary and their values, of which several may be the same."""
    return _of_ids("id, v", dictionary, "id", ids)


def _of_ids(columns: str, table: str, column: str, ids: Iterable[int]) -> Statement:
    where = _Where()
    # In order, because SQLite puts them into a tree.
    given = where.bind(json_ids(sorted(ids)))
    where.conditions.append(f"{column} IN (SELECT value FROM json_each({given}))")  # noqa: S608  # a parameter
    return Statement(f"SELECT {columns} FROM {table}{where.text()}", where.parameters)  # noqa: S608  # ours


def lines_statement(texts: Sequence[bytes]) -> Statement:
    """Returns the statement for the ids, `:low` to `:high`, of the command lines that have one of the texts.

    Those are all lines of the execs that `Filter.args` wants, and more: what spans a hole is in a line.
    """
    where = _Where()
    where.conditions.append("a.id BETWEEN :low AND :high")
    where.any_of([_line_condition(where, text) for text in texts])
    return Statement(f"SELECT a.id FROM argv AS a{where.text()}", where.parameters)  # noqa: S608  # values are bound


def numbers_statement(numbers: Sequence[int]) -> Statement:
    """Returns the statement for the execs of these numbers, in any order."""
    where = _Where()
    where.one_of("e.id", numbers)
    return Statement(_select(COLUMNS, Filter(), where), where.parameters)


def gaps_statement(wanted: Filter) -> Statement:
    """Returns the statement for the gaps in the range asked for, on the hosts asked for."""
    where = _Where()
    if wanted.since_ns is not None:
        where.conditions.append(f"g.ts_to >= {where.bind(wanted.since_ns)}")
    if wanted.until_ns is not None:
        where.conditions.append(f"g.ts_from < {where.bind(wanted.until_ns)}")
    where.any_of([f"r.host = {where.bind(host)}" for host in wanted.hosts])
    columns = "SELECT r.host, g.ts_from, g.ts_to, g.reason, g.count, g.exits, g.uid FROM gap AS g"
    joined = f"{columns} LEFT JOIN run AS r ON r.id = g.run_id"
    return Statement(f"{joined}{where.text()} ORDER BY g.id", where.parameters)


def descendants_table(roots: Sequence[int]) -> str:
    """Returns the name of the temporary table for the numbers of all descendants of `roots`."""
    return f"temp.under_{'_'.join(str(int(root)) for root in roots)}"


def descendants_statement(roots: Sequence[int], *, known: int | None, last: int) -> Statement:
    """Returns the statement that puts descendants of `roots` into their table, up to the number `last`.

    `known` is the `last` of the time before, if there was one: those are in the table already.
    """
    table = descendants_table(roots)
    where = _Where()
    where.one_of("e.parent_id", roots)
    upto = where.bind(last)
    of_roots, new = where.conditions[0], ""
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
