"""What the writer remembers of rows that it has written: their ids, by what is in them.

Bounded, and forgetful: what was not asked for lately is dropped. Two generations instead of
a true LRU, because the fast path is then one look into one dict, which the store can inline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    import sqlalchemy as sa

_Value = TypeVar("_Value", bound="Hashable")

# What Python takes for an entry beside its text: the key's object or objects, and a place in the dict.
_ENTRY_BYTES = 250
_MEGABYTE = 1024 * 1024
# Longer texts are nearly always unique; remembering them would only hold memory.
_LONGEST_REMEMBERED = 1024


class Recent(Generic[_Value]):
    """Ids of rows, by value. What is forgotten is stored once more when it comes again."""

    def __init__(self, *, megabytes: float) -> None:
        """`megabytes` of memory at most, but for a batch's own."""
        self._most_bytes = megabytes * _MEGABYTE
        self.known: dict[_Value, int] = {}
        """Look here first, then ask `again`."""
        self._older: dict[_Value, int] = {}
        self._text_bytes = 0

    def again(self, value: _Value) -> int | None:
        """Returns the id of a value that is not in `known`; None if it is forgotten or new."""
        number = self._older.get(value)
        if number is not None:
            self._remember(value, number)
        return number

    def _remember(self, value: _Value, number: int) -> None:
        self.known[value] = number
        self._text_bytes += _text_bytes(value)

    def settle(self) -> None:
        """Forgets, if there is too much. Not before, so that a batch's own values stay known in it."""
        if len(self.known) * _ENTRY_BYTES + self._text_bytes >= self._most_bytes / 2:
            self._older, self.known, self._text_bytes = self.known, {}, 0

    def forget(self) -> None:
        """Forgets everything."""
        self.known, self._older, self._text_bytes = {}, {}, 0


def _text_bytes(value: Hashable) -> int:
    """Returns how many bytes of text are in a value."""
    if isinstance(value, tuple):
        return sum(map(_text_bytes, value))
    return len(value) if isinstance(value, (bytes, str)) else 0


class Interned(Recent[_Value]):
    """A table of values, append-only, deduplicated by what is remembered alone."""

    def __init__(self, table: str, columns: Sequence[str], *, megabytes: float) -> None:
        super().__init__(megabytes=megabytes)
        self._last = f"SELECT max(id) FROM {table}"  # noqa: S608  # ours
        marks = ", ?" * len(columns)
        self._insert = f"INSERT INTO {table} (id, {', '.join(columns)}) VALUES (?{marks})"  # noqa: S608  # ours
        self._next = 1
        self._new: list[tuple[object, ...]] = []

    def load(self, connection: sa.Connection, *, first: int = 1) -> None:
        """Forgets everything, and goes on after the last id; at `first`, if that is later."""
        self.forget()
        self._new.clear()
        # Never an id again that was given once: see `first`, and indexing.Indexing.
        last = connection.exec_driver_sql(self._last).scalar() or 0
        self._next = max(self._next, last + 1, first)

    def new(self, value: _Value, row: tuple[object, ...], *, text: bytes | None = None) -> int:
        """Returns the id of a value that is not known, whose columns are `row`.

        `text` is the part of it that may be long.
        """
        number = self._next
        self._next += 1
        self._new.append((number, *row))
        if text is None or len(text) <= _LONGEST_REMEMBERED:
            self._remember(value, number)
        return number

    def flush(self, connection: sa.Connection) -> None:
        """Writes the values that are new."""
        if self._new:
            connection.exec_driver_sql(self._insert, self._new)
            self._new = []
        self.settle()


class Texts(Interned[bytes]):
    """A dictionary of bytes."""

    def __init__(self, table: str, *, megabytes: float) -> None:
        super().__init__(table, ("v",), megabytes=megabytes)

    def id_of(self, value: bytes) -> int:
        """Returns the id of a value."""
        return self.known.get(value) or self.again(value) or self.new(value, (value,), text=value)
