"""What SQLite cannot match by itself: globs and regular expressions on bytes, and containers."""

from __future__ import annotations

import fnmatch
import json
import re
from typing import TYPE_CHECKING

from execaudit.container import container_id, is_named
from execaudit.errors import FilterError

if TYPE_CHECKING:
    import sqlite3

    from execaudit.filters import Filter


def add_functions(connection: sqlite3.Connection, wanted: Filter) -> None:
    """Gives the connection the functions that the statements of filters.py call.

    Raises FilterError for a regular expression that is none.
    """
    all_globs = (*wanted.comms, *wanted.exes, *wanted.cwds, *wanted.cgroups)
    globs = {glob: _compiled_glob(glob) for glob in all_globs}
    regexes = {text: _compiled_regex(text) for text in wanted.args_regex}

    def matches_glob(glob: bytes, value: bytes | None) -> bool:
        return value is not None and globs[glob].match(_text(value)) is not None

    def args_search(text: bytes, argv: bytes | None, holes: str | None) -> bool:
        return regexes[text].search(_command_line(argv, holes)) is not None

    def args_contain(text: bytes, argv: bytes | None, holes: str | None) -> bool:
        return text in _command_line(argv, holes)

    def line_contains(text: bytes, argv: bytes) -> bool:
        # With the last argument's end, which counts where something is missing after it.
        return text in argv.replace(b"\0", b" ")

    def in_container(text: str, cgroup: bytes | None) -> bool:
        return is_named(container_id(cgroup), text)

    connection.create_function("matches_glob", 2, matches_glob, deterministic=True)
    connection.create_function("args_search", 3, args_search, deterministic=True)
    connection.create_function("args_contain", 3, args_contain, deterministic=True)
    connection.create_function("line_contains", 2, line_contains, deterministic=True)
    connection.create_function("in_container", 2, in_container, deterministic=True)


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
