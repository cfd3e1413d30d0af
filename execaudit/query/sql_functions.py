"""What SQLite cannot match by itself: globs and regular expressions, and containers."""

from __future__ import annotations

import fnmatch
import json
import re
from typing import TYPE_CHECKING

from execaudit.database.enum_codes import KINDS
from execaudit.enums import Kind
from execaudit.exec_id import ExecKey, boot_prefix, encode_id
from execaudit.query.connection import Connection
from execaudit.query.container import container_id, is_named
from execaudit.query.globs import as_asked

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from execaudit.query.filter import Filter


def add_functions(connection: sqlite3.Connection, wanted: Filter) -> None:
    """Gives the connection the functions that the statements call.

    Raises FilterError for a regular expression that is none.
    """
    if wanted.args_regex:
        _add_args_search(connection, wanted.args_regex)
    all_globs = (*wanted.comms, *as_asked(wanted.exes), *wanted.filenames, *wanted.cwds, *wanted.cgroups)
    globs = {glob: _compiled_glob(glob) for glob in all_globs}

    def matches_glob(glob: bytes, value: bytes | None) -> bool:
        return value is not None and globs[glob].match(_text(value)) is not None

    def args_contain(text: bytes, argv: bytes | None, holes: str | None) -> bool:
        return text in _command_line(argv, holes)

    def line_contains(text: bytes, argv: bytes) -> bool:
        # With the last argument's end, which counts where something is missing after it.
        return text in argv.replace(b"\0", b" ")

    def in_container(text: str, cgroup: bytes | None) -> bool:
        return is_named(container_id(cgroup), text)

    connection.create_function("matches_glob", 2, matches_glob, deterministic=True)
    connection.create_function("args_contain", 3, args_contain, deterministic=True)
    connection.create_function("line_contains", 2, line_contains, deterministic=True)
    connection.create_function("in_container", 2, in_container, deterministic=True)


def _command_line(argv: bytes | None, holes: str | None) -> bytes:
    r"""Returns the text that is searched: a space between arguments, `\0` where bytes are missing."""
    text = argv or b""
    parts, start = [], 0
    if holes is not None:  # seldom, but a failed exec can have thousands
        for at, _ in json.loads(holes):
            parts.append(text[start:at].replace(b"\0", b" "))
            start = at
    parts.append(text[start:].removesuffix(b"\0").replace(b"\0", b" "))
    return b"\0".join(parts)


def _compiled_glob(glob: bytes) -> re.Pattern[str]:
    # fnmatch negates a set with ! alone, shells with ^ too. An open bracket is only itself.
    shell = re.sub(r"\[([!^]?)(\]?[^]]*\])", lambda part: f"[{part[1] and '!'}{part[2]}", _text(glob))
    return re.compile(fnmatch.translate(shell))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _add_args_search(connection: sqlite3.Connection, expressions: Sequence[bytes]) -> None:
    from execaudit.query import timelimit  # noqa: PLC0415  # loads the library regex, for this filter alone

    searchers = {text: timelimit.searcher(_text(text)) for text in expressions}

    def args_search(text: bytes, argv: bytes | None, holes: str | None, number: int) -> bool:
        try:
            return searchers[text](_text(_command_line(argv, holes)))
        except TimeoutError:
            if isinstance(connection, Connection):
                connection.failure = timelimit.too_slow(_text(text), _id_of(connection, number))
            raise

    connection.create_function("args_search", 4, args_search, deterministic=True)


def _id_of(connection: sqlite3.Connection, number: int) -> str | None:
    """Returns the id of the exec with a number, which may just have been deleted."""
    row = connection.execute(
        "SELECT r.boot_id, e.ts - k.offset_ns, CASE e.kind WHEN ? THEN coalesce(e.tid, e.pid) ELSE e.pid END FROM exec AS e JOIN clock AS k ON k.id = e.clock_id"
        " JOIN run AS r ON r.id = k.run_id WHERE e.id = ?",
        (KINDS.index(Kind.FAILED), number),
    ).fetchone()
    return None if row is None else encode_id(ExecKey(boot_prefix(row[0]), *row[1:]))
