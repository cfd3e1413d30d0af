"""The read side of the history: one frozen filter, one place that builds its statement.

The statement is text with named parameters: sqlite3 takes it as it is, and SQLAlchemy's
text() would, for a database that is not SQLite.
"""

from __future__ import annotations

import fnmatch
import json
import pwd
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit.codes import KINDS, TRUNCATIONS
from execaudit.errors import DamagedStoreError, FilterError
from execaudit.event import ExecEvent, Gap, GapReason, Hole, Kind, Nanoseconds

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

# Rows and bytes of one page. A page is one short read transaction: a long one would keep
# the writer's WAL from being reused (124 MB against 5 MB for one slow export).
_PAGE_ROWS = 2000
_PAGE_BYTES = 16 * 1024 * 1024
# Of SQLite's integers; as a time, in the year 2262.
_LARGEST = 2**63 - 1
_LAST_UID = 2**32 - 1
_UID_DIGITS = 10

# LEFT JOIN, always: with an inner one the planner starts from the dictionary's table.
_SELECT = (
    "SELECT e.id, e.ts, e.kind, e.pid, e.tid, e.ppid, e.uid, e.euid, e.gid, e.errno, e.truncated,"
    " k.offset_ns, r.host, r.boot_id, u.v, c.v, f.v, x.v, w.v, a.v, t.argc, t.argv_bytes, t.holes"
)
_FROM = (
    " FROM exec AS e"
    " LEFT JOIN clock AS k ON k.id = e.clock_id LEFT JOIN run AS r ON r.id = k.run_id"
    " LEFT JOIN user AS u ON u.id = e.user_id LEFT JOIN comm AS c ON c.id = e.comm_id"
    " LEFT JOIN path AS f ON f.id = e.filename_id LEFT JOIN path AS x ON x.id = e.exe_id"
    " LEFT JOIN path AS w ON w.id = e.cwd_id LEFT JOIN argv AS a ON a.id = e.argv_id"
    " LEFT JOIN argv_cut AS t ON t.exec_id = e.id"
)


class UserMatch(NamedTuple):
    """A user as a filter names one."""

    name: str | None
    """Matches the name that was recorded; None when a uid was asked for."""
    uid: int | None
    """Matches the uid: of all execs if it was asked for, else of those without a name."""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which execs. Fields combine with AND, the values of one with OR; empty or None: all."""

    since_ns: Nanoseconds | None = None
    """Wall clock, inclusive."""
    until_ns: Nanoseconds | None = None
    """Wall clock, exclusive."""
    pids: tuple[int, ...] = ()
    ppids: tuple[int, ...] = ()
    comms: tuple[bytes, ...] = ()
    """Globs."""
    exes: tuple[bytes, ...] = ()
    """Globs; of a failed exec, the caller's image."""
    cwds: tuple[bytes, ...] = ()
    """Globs."""
    args: tuple[bytes, ...] = ()
    """Substrings of the command line, its arguments joined by single spaces; none spans a hole."""
    args_regex: tuple[bytes, ...] = ()
    r"""Python regular expressions, searched in the same text; a hole is a `\0` there."""
    users: tuple[UserMatch, ...] = ()
    hosts: tuple[str, ...] = ()
    failed: bool = False
    """Only failed execs."""
    truncated: bool = False
    """Only execs whose argv is not whole."""
    limit: int | None = None
    """The newest so many."""
    reverse: bool = False
    """Newest first; otherwise in the order of recording."""


class Statement(NamedTuple):
    """SQL text and the values of its named parameters."""

    sql: str
    parameters: dict[str, object]


class _Where:
    """Collects conditions and their parameters."""

    def __init__(self) -> None:
        self.conditions: list[str] = []
        self.parameters: dict[str, object] = {}

    def bind(self, value: object) -> str:
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f":{name}"

    def any_of(self, conditions: Sequence[str]) -> None:
        if conditions:
            self.conditions.append("(" + " OR ".join(conditions) + ")")

    def one_of(self, column: str, numbers: Sequence[int]) -> None:
        if numbers:
            self.conditions.append(f"{column} IN ({', '.join(self.bind(n) for n in numbers)})")

    def matching(self, column: str, dictionary: str, globs: Sequence[bytes]) -> None:
        """Interned texts: the dictionary is searched, not the execs."""
        self.any_of(
            [
                f"{column} IN (SELECT id FROM {dictionary} WHERE {self._glob(glob)})"  # noqa: S608  # ours
                for glob in globs
            ]
        )

    def _glob(self, glob: bytes) -> str:
        if not re.search(rb"[*?\[]", glob):
            return f"v = {self.bind(glob)}"
        if glob.isascii() and not re.search(rb"[?\[]", glob):
            # The common ones, in a fifth of the time. SQLite knows no single bytes that are no
            # UTF-8, but a star passes over any. On Debian it never finds a BLOB.
            return f"CAST(v AS TEXT) GLOB CAST({self.bind(glob)} AS TEXT)"
        return f"matches_glob({self.bind(glob)}, v)"


def _where(wanted: Filter) -> _Where:
    where = _Where()
    if wanted.since_ns is not None or wanted.until_ns is not None:
        since = where.bind(0 if wanted.since_ns is None else wanted.since_ns)
        until = where.bind(_LARGEST if wanted.until_ns is None else wanted.until_ns)
        overlap = f"FROM seg WHERE ts_max >= {since} AND ts_min < {until}"
        where.conditions += [
            f"e.id >= (SELECT min(id_lo) {overlap})",
            f"e.id <= (SELECT max(id_hi) {overlap})",
            f"e.ts >= {since} AND e.ts < {until}",
        ]
    where.one_of("e.pid", wanted.pids)
    where.one_of("e.ppid", wanted.ppids)
    where.matching("e.comm_id", "comm", wanted.comms)
    where.matching("e.exe_id", "path", wanted.exes)
    where.matching("e.cwd_id", "path", wanted.cwds)
    where.any_of([_args_condition(where, text) for text in wanted.args])
    where.any_of([f"args_search({where.bind(text)}, a.v, t.holes)" for text in wanted.args_regex])
    where.any_of([_user_condition(where, match) for match in wanted.users])
    where.any_of([f"r.host = {where.bind(host)}" for host in wanted.hosts])
    if wanted.failed:
        where.conditions.append(f"e.kind = {KINDS.index(Kind.FAILED)}")
    if wanted.truncated:
        where.conditions.append("e.truncated IS NOT NULL")
    return where


def _args_condition(where: _Where, text: bytes) -> str:
    words = [word for word in text.split(b" ") if word]
    # instr is C and exact on bytes; what spans arguments or holes is looked at again, joined.
    found = [f"instr(a.v, {where.bind(word)}) > 0" for word in words]
    joined = f"args_contain({where.bind(text)}, a.v, t.holes)"
    found.append(joined if b" " in text else f"(e.truncated IS NULL OR {joined})")
    return "(" + " AND ".join(found) + ")"


def _user_condition(where: _Where, match: UserMatch) -> str:
    if match.name is None:
        return f"e.uid = {where.bind(match.uid)}"
    by_name = f"u.v = {where.bind(match.name.encode('utf-8', 'surrogateescape'))}"
    if match.uid is None:
        return by_name
    return f"({by_name} OR (e.user_id IS NULL AND e.uid = {where.bind(match.uid)}))"


def statement(wanted: Filter, *, after: int | None = None, most: int | None = None) -> Statement:
    """Returns the statement for one page of what is wanted, of at most `most` execs.

    `after` is the id of the last exec of the page before, in the direction of reading.
    """
    where = _where(wanted)
    if after is not None:
        where.conditions.append(f"e.id {'<' if wanted.reverse else '>'} {where.bind(after)}")
    order = "DESC" if wanted.reverse else "ASC"
    limit = where.bind(_PAGE_ROWS if most is None else most)
    return Statement(
        f"{_SELECT}{_FROM}{_condition(where)} ORDER BY e.id {order} LIMIT {limit}", where.parameters
    )


def _condition(where: _Where) -> str:
    return f" WHERE {' AND '.join(where.conditions)}" if where.conditions else ""


def newest_statement(wanted: Filter, limit: int) -> Statement:
    """Returns the statement for the id of the oldest among the newest `limit` execs."""
    where = _where(wanted)
    most = where.bind(min(limit, _LARGEST))
    inner = f"SELECT e.id AS id{_FROM}{_condition(where)} ORDER BY e.id DESC LIMIT {most}"
    return Statement(f"SELECT min(id) FROM ({inner})", where.parameters)  # noqa: S608  # values are bound


def _command_line(argv: bytes | None, holes: str | None) -> bytes:
    r"""Returns the text that is searched: a space between arguments, `\0` where bytes are missing."""
    rest = argv or b""
    parts = []
    if holes is not None:  # seldom
        start = 0
        for at, _ in json.loads(holes):
            parts.append(rest[: at - start].replace(b"\0", b" "))
            rest, start = rest[at - start :], at
    parts.append(rest.removesuffix(b"\0").replace(b"\0", b" "))
    return b"\0".join(parts)


def _compiled_glob(glob: bytes) -> re.Pattern[str]:
    # fnmatch negates a set with ! alone, shells with ^ too. An open bracket is only itself.
    shell = re.sub(r"\[([!^]?)(\]?[^]]*\])", lambda part: f"[{part[1] and '!'}{part[2]}", _text(glob))
    return re.compile(fnmatch.translate(shell))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _compiled_regex(text: bytes) -> re.Pattern[bytes]:
    try:
        return re.compile(text, re.DOTALL)
    except (re.error, OverflowError, RecursionError) as exc:
        raise FilterError(f"--args-regex: {exc}: Python's syntax, such as 'curl .*(http|ftp)://'") from exc


def prepare(connection: sqlite3.Connection, wanted: Filter) -> None:
    """Gives the connection the functions that the statement calls.

    Raises FilterError for a regular expression that is none.
    """
    globs = {glob: _compiled_glob(glob) for glob in (*wanted.comms, *wanted.exes, *wanted.cwds)}
    regexes = {text: _compiled_regex(text) for text in wanted.args_regex}

    def matches_glob(glob: bytes, value: bytes) -> bool:
        return globs[glob].match(_text(value)) is not None

    def args_search(text: bytes, argv: bytes | None, holes: str | None) -> bool:
        return regexes[text].search(_command_line(argv, holes)) is not None

    def args_contain(text: bytes, argv: bytes | None, holes: str | None) -> bool:
        return text in _command_line(argv, holes)

    connection.create_function("matches_glob", 2, matches_glob, deterministic=True)
    connection.create_function("args_search", 3, args_search, deterministic=True)
    connection.create_function("args_contain", 3, args_contain, deterministic=True)


class Found(NamedTuple):
    """An exec and its place in the history."""

    number: int
    """Grows in the order of recording."""
    event: ExecEvent


def find(connection: sqlite3.Connection, wanted: Filter, *, after: int | None = None) -> Iterator[Found]:
    """Yields what is wanted, in constant memory; only what follows `after`, in the direction of reading.

    Raises FilterError; DamagedStoreError for an exec that makes no sense.
    """
    prepare(connection, wanted)
    left = wanted.limit
    if left is not None and not wanted.reverse:
        oldest = connection.execute(*newest_statement(wanted, left)).fetchone()[0]
        if oldest is None:
            return
        after = max(oldest - 1, -1 if after is None else after)
    while left is None or left > 0:
        most = _PAGE_ROWS if left is None else min(left, _PAGE_ROWS)
        page, whole = _page(connection, statement(wanted, after=after, most=most))
        for row in page:
            try:
                event = _event(row)
            except (AttributeError, IndexError, TypeError, ValueError) as exc:
                raise _damaged(f"exec number {row[0]}", exc) from exc
            yield Found(row[0], event)
        if whole and len(page) < most:
            return
        after = page[-1][0]
        if left is not None:
            left -= len(page)


def _damaged(what: str, reason: Exception) -> DamagedStoreError:
    return DamagedStoreError(
        f"the history is damaged: {what} makes no sense ({reason}): "
        "keep a copy, then restore a backup or start a new database"
    )


def _page(connection: sqlite3.Connection, page: Statement) -> tuple[list[tuple[Any, ...]], bool]:
    """Returns the rows, and whether they are all, or stop early because they are large."""
    rows = []
    size = 0
    cursor = connection.execute(*page)
    for row in cursor:
        rows.append(row)
        size += len(row[19] or b"")
        if size > _PAGE_BYTES:
            cursor.close()  # ends the read transaction
            return rows, False
    return rows, True


def _event(row: tuple[Any, ...]) -> ExecEvent:
    (
        _number, ts, kind, pid, tid, ppid, uid, euid, gid, errno, truncated,
        offset_ns, host, boot_id, user, comm, filename, exe, cwd, argv, argc, argv_bytes, holes,
    ) = row  # fmt: skip
    if argv is None or offset_ns is None:
        raise ValueError("a part of it is missing")
    whole = truncated is None
    return ExecEvent(
        kind=KINDS[kind],
        host=host,
        boot_id=boot_id,
        time_ns=Nanoseconds(ts),
        boot_ns=Nanoseconds(ts - offset_ns),
        pid=pid,
        tid=tid,
        ppid=ppid,
        uid=uid,
        euid=euid,
        gid=gid,
        user=None if user is None else _text(user),
        comm=comm,
        filename=filename,
        exe=exe,
        cwd=cwd,
        argv=argv,
        argc=argv.count(b"\0") if whole else argc,
        argv_bytes=len(argv) if whole else argv_bytes,
        holes=() if whole else tuple(Hole(*hole) for hole in json.loads(holes)),
        truncated=None if whole else TRUNCATIONS[truncated],
        errno=errno,
    )


def gaps(connection: sqlite3.Connection, wanted: Filter) -> list[Gap]:
    """Returns the times in which execs were missed, inside or overlapping the range asked for.

    Raises DamagedStoreError for a gap that makes no sense.
    """
    where = _Where()
    if wanted.since_ns is not None:
        where.conditions.append(f"g.ts_to >= {where.bind(wanted.since_ns)}")
    if wanted.until_ns is not None:
        where.conditions.append(f"g.ts_from < {where.bind(wanted.until_ns)}")
    where.any_of([f"r.host = {where.bind(host)}" for host in wanted.hosts])
    columns = "SELECT r.host, g.ts_from, g.ts_to, g.reason, g.count FROM gap AS g"
    joined = f"{columns} LEFT JOIN run AS r ON r.id = g.run_id"
    rows = connection.execute(f"{joined}{_condition(where)} ORDER BY g.id", where.parameters)
    try:
        return [Gap(host, start, end, GapReason(reason), count) for host, start, end, reason, count in rows]
    except ValueError as exc:
        raise _damaged("a gap", exc) from exc


def user_match(connection: sqlite3.Connection, text: str) -> UserMatch:
    """Returns the user that a name or uid names, in this history or on this host.

    Raises FilterError for a name that is known in neither.
    """
    if text.isascii() and text.isdigit():
        # int() itself refuses very long ones.
        if len(text) > _UID_DIGITS or int(text) > _LAST_UID:
            raise FilterError(f"--user: {text} is no uid: they end at {_LAST_UID}")
        return UserMatch(None, int(text))
    try:
        uid = pwd.getpwnam(text).pw_uid
    except (KeyError, ValueError):
        uid = None
    if uid is None:
        name = text.encode("utf-8", "surrogateescape")
        if connection.execute("SELECT 1 FROM user WHERE v = ?", (name,)).fetchone() is None:
            raise FilterError(
                f"--user: nobody is called {text!r}, in this history or on this host: give a name or a uid"
            )
    return UserMatch(text, uid)


def last_number(connection: sqlite3.Connection) -> int:
    """Returns the place of the newest exec in the history, 0 if there is none."""
    return int(connection.execute("SELECT max(id) FROM exec").fetchone()[0] or 0)


def count(connection: sqlite3.Connection, wanted: Filter) -> int:
    """Returns how many execs there are of what is wanted."""
    prepare(connection, wanted)
    where = _where(wanted)
    sql = f"SELECT count(*){_FROM}{_condition(where)}"
    found = int(connection.execute(sql, where.parameters).fetchone()[0])
    return found if wanted.limit is None else min(found, wanted.limit)


class Summary(NamedTuple):
    """What a history holds."""

    execs: int
    first_ns: Nanoseconds | None
    last_ns: Nanoseconds | None
    gaps: int
    missed: int
    """Execs that are only counted, in gaps."""
    runs: int


def summary(connection: sqlite3.Connection) -> Summary:
    """Returns what the history holds, from its small tables and one count."""
    execs = connection.execute("SELECT count(*) FROM exec").fetchone()[0]
    first, last = connection.execute("SELECT min(ts_min), max(ts_max) FROM seg").fetchone()
    gap_count, missed = connection.execute("SELECT count(*), coalesce(sum(count), 0) FROM gap").fetchone()
    runs = connection.execute("SELECT count(*) FROM run").fetchone()[0]
    return Summary(execs, first, last, gap_count, missed, runs)
