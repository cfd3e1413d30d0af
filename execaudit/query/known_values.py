"""The values that a history has of a field, for shells that complete words: quick, so not always all.

Of a dictionary or a table that has more rows, its first and last are looked at: what was common early, and
what is new.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.database.field_columns import column_of, dictionary_of
from execaudit.fields import BY_NAME, Part
from execaudit.query.container import container_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

_LOOKED_AT = 20_000
"""Rows at each end."""
_ID_DIGITS, _SHOWN_DIGITS = 64, 12


def known_values(connection: sqlite3.Connection, name: str, beginning: bytes) -> set[bytes]:
    """Returns values of a field that begin so: one in a launch or an origin, `host` or `container_id`.

    Of files also names without their folders, if `beginning` has no slash.
    """
    if name == "host":
        return _beginning_so(
            (row[0].encode() for row in connection.execute("SELECT DISTINCT host FROM run")), beginning
        )
    if name == "container_id":
        found = map(container_id, _values(connection, "cgroup", "", b""))
        return _beginning_so((_short(each).encode() for each in found if each is not None), beginning)
    if name in ("exe", "filename", "interpreter") and b"/" not in beginning:
        paths = _values(connection, name, "instr(v, CAST('/' || :text AS BLOB))", beginning)
        return _beginning_so((path.rpartition(b"/")[2] for path in paths), beginning)
    # SQLite has no first zero bytes of an empty text.
    condition = "substr(v, 1, length(:text)) = :text" if beginning else ""
    return _values(connection, name, condition, beginning)


def _values(connection: sqlite3.Connection, name: str, condition: str, text: bytes) -> set[bytes]:
    """Returns the values of a field for which a condition is true, which may speak of the value `v`."""
    field = BY_NAME[name]
    dictionary, column = dictionary_of(field), column_of(field)
    table = "origin" if field.part is Part.ORIGIN else "launch"
    if dictionary in ("comm", "user"):
        # All of their rows are values of such fields.
        sql = f"SELECT v FROM {dictionary} WHERE {_ends_of(dictionary)}"  # noqa: S608  # ours
    elif dictionary is None:
        sql = f"SELECT v FROM (SELECT {column} AS v FROM {table} WHERE {_ends_of(table)}) WHERE v IS NOT NULL"  # noqa: S608  # ours
    else:
        ids = f"SELECT {column} FROM {table} WHERE {_ends_of(table)}"  # noqa: S608  # ours
        sql = f"SELECT v FROM {dictionary} WHERE id IN ({ids})"  # noqa: S608  # ours
    if condition:
        sql += f" AND {condition}"
    given: dict[str, object] = {"some": _LOOKED_AT}
    if ":text" in condition:
        given["text"] = text
    return {row[0] for row in connection.execute(sql, given)}


def _ends_of(table: str) -> str:
    """Returns the condition for the first and the last rows of a table, whose ids have few holes."""
    first, last = (f"(SELECT {which}(id) FROM {table})" for which in ("min", "max"))  # noqa: S608  # ours
    return f"(id < {first} + :some OR id > {last} - :some)"


def _beginning_so(values: Iterable[bytes], beginning: bytes) -> set[bytes]:
    return {value for value in values if value.startswith(beginning)}


def _short(container: str) -> str:
    """Returns the id that engines show; a machine's name is whole."""
    return container[:_SHOWN_DIGITS] if len(container) == _ID_DIGITS else container
