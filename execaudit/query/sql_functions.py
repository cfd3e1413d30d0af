"""What SQLite cannot do by itself: match globs and regular expressions, name containers, split arguments."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING

from execaudit.arguments import command_line, joined, split_argv
from execaudit.database.enum_codes import KINDS
from execaudit.database.id_list import json_ids
from execaudit.enums import Kind
from execaudit.event import Hole
from execaudit.exec_id import ExecKey, boot_prefix, encode_id
from execaudit.query import globs, recorders
from execaudit.query.connection import Connection
from execaudit.query.container import container_id, is_named
from execaudit.query.expression import Agrees, LineMatches, Matches, Part, Passes, every

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from execaudit.query.expression import Expression

_HOW: dict[str, Callable[[bytes, bytes], bool]] = {
    "is": bytes.__eq__,
    "any": bytes.__contains__,
    "start": bytes.startswith,
    "end": bytes.endswith,
}
"""Says whether an argument has a text in this way."""


def add_functions(connection: sqlite3.Connection, expression: Expression) -> None:
    """Gives the connection the functions that the conditions of an expression call.

    Raises FilterError for a regular expression that is none.
    """
    nodes = list(every(expression))
    if any(isinstance(node, (Matches, LineMatches)) for node in nodes):
        _add_searches(connection, nodes)
    if any(isinstance(node, (Passes, Agrees)) for node in nodes):
        _add_tests(connection, nodes)
    for name, arguments, function in (
        ("matches_glob", 2, _matches_glob),
        ("args_contain", 3, _args_contain),
        ("line_contains", 2, _line_contains),
        ("in_container", 2, _in_container),
        ("container_of", 1, _container_of),
        ("exec_id", 3, _exec_id),
        ("count_arguments", 1, _count_arguments),
        ("command_text", 2, _command_text),
        ("base64_text", 2, _base64_text),
        ("has_argument", 4, _has_argument),
    ):
        connection.create_function(name, arguments, function, deterministic=True)
    # Deterministic for one statement, which thus asks once.
    connection.create_function("live_run", 0, lambda: recorders.recording(connection)[0], deterministic=True)
    connection.create_function(
        "ends_lost_until", 0, lambda: recorders.recording(connection)[1], deterministic=True
    )
    connection.create_function(
        "continued_execs", 0, lambda: json_ids(recorders.recording(connection).continued), deterministic=True
    )


def _matches_glob(glob: bytes, value: bytes | None) -> bool:
    return value is not None and globs.compiled(glob).match(_text(value)) is not None


def _args_contain(text: bytes, argv: bytes | None, holes: str | None) -> bool:
    return text in _line(argv, holes)


def _line_contains(text: bytes, argv: bytes) -> bool:
    # With the last argument's end, which counts where something is missing after it.
    return text in argv.replace(b"\0", b" ")


def _in_container(text: str, cgroup: bytes | None) -> bool:
    return is_named(container_id(cgroup), text)


def _container_of(cgroup: bytes | None) -> bytes | None:
    found = container_id(cgroup)
    return None if found is None else found.encode("utf-8", "surrogateescape")


def _exec_id(boot_id: str | None, boot_ns: int | None, task: int | None) -> bytes | None:
    if boot_id is None or boot_ns is None or task is None:
        return None
    return encode_id((boot_prefix(boot_id), boot_ns, task)).encode()


def _count_arguments(argv: bytes | None) -> int | None:
    return None if argv is None else argv.count(b"\0")


def _parts(argv: bytes | None, holes: str | None) -> tuple[bytes, ...]:
    return split_argv(argv or b"", _holes(holes)).parts


def _command_text(argv: bytes | None, holes: str | None) -> bytes:
    # As in the record: a byte that is not UTF-8 is escaped in `command`.
    return command_line(split_argv(argv or b"", _holes(holes))).encode()


def _base64_text(argv: bytes | None, holes: str | None) -> bytes | None:
    try:
        b"\0".join(_parts(argv, holes)).decode()
    except UnicodeDecodeError:
        return b64encode(argv or b"")
    return None


def _has_argument(how: str, text: bytes, argv: bytes | None, holes: str | None) -> bool:
    has = _HOW[how]
    return any(has(part, text) for part in _parts(argv, holes))


def _holes(holes: str | None) -> tuple[Hole, ...]:
    return () if holes is None else tuple(Hole(*hole) for hole in json.loads(holes))


def _line(argv: bytes | None, holes: str | None) -> bytes:
    return joined(argv or b"", () if holes is None else json.loads(holes))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _add_searches(connection: sqlite3.Connection, nodes: list[Expression]) -> None:
    from execaudit.query import timelimit  # noqa: PLC0415  # loads the library regex, for these filters alone

    searchers = {
        node.regex: timelimit.searcher(_text(node.regex)) for node in nodes if isinstance(node, LineMatches)
    }
    of_fields = {
        node.regex: timelimit.searcher(_text(node.regex), option="--where")
        for node in nodes
        if isinstance(node, Matches)
    }

    def args_search(text: bytes, argv: bytes | None, holes: str | None, number: int) -> bool:
        try:
            return searchers[text](_text(_line(argv, holes)))
        except TimeoutError:
            fail(timelimit.too_slow(_text(text), _id_of(connection, number)))
            raise

    def text_matches(text: bytes, value: bytes | None, number: int | None) -> bool:
        try:
            return value is not None and of_fields[text](_text(value))
        except TimeoutError:
            whose = None if number is None else _id_of(connection, number)
            fail(timelimit.too_slow(_text(text), whose, option="--where: matches", what="a text"))
            raise

    def argument_matches(text: bytes, argv: bytes | None, holes: str | None, number: int) -> bool:
        return any(text_matches(text, part, number) for part in _parts(argv, holes))

    def fail(error: timelimit.SlowExpressionError) -> None:
        if isinstance(connection, Connection):
            connection.failure = error

    connection.create_function("args_search", 4, args_search, deterministic=True)
    connection.create_function("text_matches", 3, text_matches, deterministic=True)
    connection.create_function("argument_matches", 4, argument_matches, deterministic=True)


def _add_tests(connection: sqlite3.Connection, nodes: list[Expression]) -> None:
    """Adds what `Passes` and `Agrees` call. A test is named by its repr()."""
    from execaudit.query import shown_values, text_tests  # noqa: PLC0415  # for these alone

    tests = {repr(node.test): text_tests.passing(node.test) for node in nodes if isinstance(node, Passes)}

    def text_passes(test: str, text: bytes | None, number: int | None) -> bool:
        try:
            return text is not None and tests[test](text)
        except TimeoutError:
            from execaudit.query import timelimit  # noqa: PLC0415  # it is loaded already

            whose = None if number is None else _id_of(connection, number)
            if isinstance(connection, Connection):
                connection.failure = timelimit.too_slow(test, whose, option="re", what="a text")
            raise

    def argument_passes(test: str, argv: bytes | None, holes: str | None, number: int) -> bool:
        return any(text_passes(test, part, number) for part in _parts(argv, holes))

    def agrees(part: str, text: bytes | None, other: bytes | None) -> bool:
        how = None if part == "whole" else Part[part.upper()]
        return text is not None and other is not None and text_tests.agreeing(how)(text, other)

    def line_text(number: int | None, argv: bytes | None, holes: str | None) -> bytes | None:
        return None if number is None else _line(argv, holes)

    connection.create_function("text_passes", 3, text_passes, deterministic=True)
    connection.create_function("argument_passes", 4, argument_passes, deterministic=True)
    connection.create_function("agrees", 3, agrees, deterministic=True)
    connection.create_function("line_text", 3, line_text, deterministic=True)
    connection.create_function("shown_text", 2, shown_values.stored_text, deterministic=True)


def _id_of(connection: sqlite3.Connection, number: int) -> str | None:
    """Returns the id of the exec with a number, which may just have been deleted."""
    row = connection.execute(
        "SELECT r.boot_id, e.ts - k.offset_ns, CASE e.kind WHEN ? THEN coalesce(e.tid, e.pid) ELSE e.pid END FROM exec AS e JOIN clock AS k ON k.id = e.clock_id"
        " JOIN run AS r ON r.id = k.run_id WHERE e.id = ?",
        (KINDS.index(Kind.FAILED), number),
    ).fetchone()
    return None if row is None else encode_id(ExecKey(boot_prefix(row[0]), *row[1:]))
