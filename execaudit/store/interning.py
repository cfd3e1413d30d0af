"""The writer's memory of rows that it wrote: their ids, by their values.

It is bounded: values that were not asked for lately are dropped. There are two generations instead
of a true LRU, so that the usual case is one look into one dict, which the store does inline.
"""

from __future__ import annotations

import hashlib
import marshal
import os
from array import array
from typing import TYPE_CHECKING, Generic, TypeVar

from execaudit import native
from execaudit.store.bulk_insert import BulkInsert
from execaudit.store.engine import driver_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Hashable, Sequence

    import sqlalchemy as sa

_Value = TypeVar("_Value", bound="Hashable")

# What Python takes for an entry beside its text: the key's object or objects, and a place in the dict.
_ENTRY_BYTES = 250
_MEGABYTE = 1024 * 1024
# Longer texts are nearly always unique; remembering them would only hold memory.
LONGEST_REMEMBERED = 1024
# Nobody can make two lines of one digest of this size.
_DIGEST_BYTES = 32
_BY_DIGEST = "SELECT argv_id FROM long_argv WHERE digest = ?"
_INSERT_DIGEST = "INSERT INTO long_argv (argv_id, digest) VALUES (?, ?)"
# Whatever stands before a text gives it a second hash, independent of the first. It is secret, so that nobody
# can choose that hash even where PYTHONHASHSEED says what Python's key is.
_SECOND = os.urandom(16)
_64_BITS = 2**64 - 1
# Of a format without references: equal rows are equal bytes.
_MARSHAL_VERSION = 2


class Recent(Generic[_Value]):
    """Ids of rows, by value. A value that was forgotten is stored again when it comes again."""

    def __init__(self, *, megabytes: float, entry_bytes: int = _ENTRY_BYTES) -> None:
        """`megabytes` of memory at most, but for a batch's own; an entry takes `entry_bytes`."""
        self._most_bytes = megabytes * _MEGABYTE
        self._entry_bytes = entry_bytes
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

    def evict(self) -> None:
        """Forgets old values if there are too many. Not within a batch, which must find its own values."""
        if len(self.known) * self._entry_bytes + self._text_bytes >= self._most_bytes / 2:
            self._older, self.known, self._text_bytes = self.known, {}, 0

    def forget(self) -> None:
        """Forgets everything."""
        self.known, self._older, self._text_bytes = {}, {}, 0


class Numbers:
    """The ids of rows that are forgotten but for this: some bytes for each, found by two hashes of the row.

    Python's hash of bytes is keyed (SipHash), and of the second one a secret of this process comes first. So
    nobody can make two rows that are mistaken for one. That two are by chance has a probability of 2**-63 for
    each new row.
    """

    def __init__(self, count: int) -> None:
        """There is room for so many, an even number."""
        self._count = count
        self._ids, self._checks = array("Q", bytes(8 * count)), array("Q", bytes(8 * count))
        self._is_sure = bytearray(count)

    def doubt(self) -> None:
        """From now on, a row that is known so far may be gone. Its id is never that of another."""
        self._is_sure = bytearray(self._count)

    def find(self, raw: bytes, row: tuple[object, ...], read: Callable[[int], object]) -> int | None:
        """Returns the id of a row; None if it is not here. `read` is called with the id of one in doubt."""
        first, check = (hash(raw) & _64_BITS) % self._count & ~1, hash(_SECOND + raw) & _64_BITS
        checks = self._checks
        if checks[first] != check and checks[first + 1] != check:
            return None
        ids = self._ids
        for at in (first, first + 1):
            if checks[at] == check and ids[at] and (self._is_sure[at] or read(ids[at]) == row):
                self._is_sure[at] = 1
                if at != first:
                    self._swap(first)
                return ids[first]
        return None

    def add(self, raw: bytes, number: int) -> None:
        """Takes the id of a row that is not here. There is room for two with one hash: the older one goes."""
        first = (hash(raw) & _64_BITS) % self._count & ~1
        self._swap(first)
        self._ids[first], self._checks[first] = number, hash(_SECOND + raw) & _64_BITS
        self._is_sure[first] = 1

    def _swap(self, first: int) -> None:
        for each in (self._ids, self._checks, self._is_sure):
            each[first], each[first + 1] = each[first + 1], each[first]


class Interned(Recent[_Value]):
    """A table of values: append-only, and each value once as far as the writer remembers.

    Of an evicted value the id stays for a long time. So most rare values are found too.
    """

    def __init__(
        self,
        table: str,
        columns: Sequence[str],
        *,
        megabytes: float,
        numbers: int,
        entry_bytes: int = _ENTRY_BYTES,
    ) -> None:
        """`numbers` of rows, an even number, that are known by number alone, 17 bytes each."""
        super().__init__(megabytes=megabytes, entry_bytes=entry_bytes)
        self._last = f"SELECT max(id) FROM {table}"  # noqa: S608  # ours
        self._rows = BulkInsert(table, ("id", *columns))
        self._row_of = f"SELECT {', '.join(columns)} FROM {table} WHERE id = ?"  # noqa: S608  # ours
        self._next = 1
        self._new: list[object] = []
        """The values of the rows to write, one row after the other."""
        self._has_long = False
        """One of them has a long text."""
        self._numbers = Numbers(numbers) if native.fast is None else native.fast.Numbers(numbers)
        self._execute: Callable[..., sqlite3.Cursor] | None = None

    def load(self, connection: sa.Connection, *, first: int = 1) -> None:
        """Forgets everything, and goes on after the last id; at `first`, if that is later."""
        self.forget()
        self._numbers.doubt()
        self._new, self._has_long = [], False
        self._execute = driver_of(connection).execute
        # Never an id again that was given once: see `first`, and indexing.Indexing.
        last = connection.exec_driver_sql(self._last).scalar() or 0
        self._next = max(self._next, last + 1, first)

    def new(self, value: _Value, row: tuple[object, ...], *, text: bytes | None = None) -> int:
        """Returns the id of a value that is not remembered, whose columns are `row`.

        `text` is the part of it that may be long.
        """
        if text is not None and len(text) > LONGEST_REMEMBERED:
            number = self._added(row)
            self._has_long = True
            return number
        raw = marshal.dumps(row, _MARSHAL_VERSION)  # type: ignore[arg-type]  # a row has nothing but numbers and bytes
        known = self._numbers.find(raw, row, self._read)
        if known is None:
            known = self._added(row)
            self._numbers.add(raw, known)
        self._remember(value, known)
        return known

    def _added(self, row: tuple[object, ...]) -> int:
        number = self._next
        self._next += 1
        self._new += (number, *row)
        return number

    def _read(self, number: int) -> object:
        return None if self._execute is None else self._execute(self._row_of, (number,)).fetchone()

    def flush(self, connection: sa.Connection) -> None:
        """Writes the values that are new."""
        if self._new:
            insert = self._rows.insert_each if self._has_long else self._rows.insert
            insert(connection, self._new)
            self._new, self._has_long = [], False
        self.evict()


class Texts(Interned[bytes]):
    """A dictionary of bytes."""

    def __init__(self, table: str, *, megabytes: float, numbers: int) -> None:
        super().__init__(table, ("v",), megabytes=megabytes, numbers=numbers)

    def _remember(self, value: bytes, number: int) -> None:
        self.known[value] = number
        self._text_bytes += len(value)

    def id_of(self, value: bytes) -> int:
        """Returns the id of a value."""
        return self.known.get(value) or self.learn(value)

    def learn(self, value: bytes) -> int:
        """Returns the id of a value that is not in `known`."""
        number = self._older.get(value)
        if number is None:
            if len(value) > LONGEST_REMEMBERED:
                return self._learn_long(value)
            row = (value,)
            number = self._numbers.find(value, row, self._read)
            if number is None:
                number = self._added(row)
                self._numbers.add(value, number)
        self._remember(value, number)
        return number

    def _learn_long(self, value: bytes) -> int:
        self._has_long = True
        return self._added((value,))


class Lines(Texts):
    """The command lines. Those that are too long to be remembered are found again by their digest."""

    def __init__(self, *, megabytes: float, numbers: int) -> None:
        super().__init__("argv", megabytes=megabytes, numbers=numbers)
        self._digests: dict[bytes, int] = {}
        """Of this batch."""

    def load(self, connection: sa.Connection, *, first: int = 1) -> None:
        """Forgets everything, and goes on after the last id; at `first`, if that is later."""
        super().load(connection, first=first)
        self._digests.clear()

    def _learn_long(self, value: bytes) -> int:
        digest = hashlib.blake2b(value, digest_size=_DIGEST_BYTES).digest()
        number = self._digests.get(digest)
        if number is None and self._execute is not None:
            found = self._execute(_BY_DIGEST, (digest,)).fetchone()
            number = None if found is None else int(found[0])
        if number is None:
            number = self._digests[digest] = super()._learn_long(value)
        return number

    def flush(self, connection: sa.Connection) -> None:
        """Writes the lines that are new."""
        super().flush(connection)
        if self._digests:
            connection.exec_driver_sql(
                _INSERT_DIGEST, [(number, digest) for digest, number in self._digests.items()]
            )
            self._digests = {}
