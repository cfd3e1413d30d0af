"""Find a password in a file of the format of PostgreSQL. libpq reads it itself; for ClickHouse we do.

https://www.postgresql.org/docs/current/libpq-pgpass.html: lines `host:port:database:user:password`. The first
that fits counts, `*` fits anything, and a backslash stands before a colon or a backslash.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from execaudit.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FIELDS = 5


def password_in(text: str, wanted: tuple[str, str, str, str]) -> str | None:
    """Returns the password for host, port, database and user. None: no line fits."""
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        fields = list(_fields(line))
        if len(fields) == _FIELDS and all(
            field in {"*", want} for field, want in zip(fields, wanted, strict=False)
        ):
            return fields[-1]
    return None


def _fields(line: str) -> Iterator[str]:
    """Yields the parts between colons. The last one, the password, may have colons."""
    field, count = "", 1
    characters = iter(line)
    for character in characters:
        if character == "\\":
            field += next(characters, "\\")
        elif character == ":" and count < _FIELDS:
            yield field
            field, count = "", count + 1
        else:
            field += character
    yield field


def password_for(wanted: tuple[str, str, str, str], environment: Mapping[str, str]) -> str | None:
    """Returns the password that the user's file has for host, port, database and user.

    The file is PGPASSFILE, or .pgpass in the home. None: there is none. Raises StoreError for a file that
    others may read.
    """
    named = environment.get("PGPASSFILE")
    path = Path(named) if named else Path(environment.get("HOME", "/nonexistent")) / ".pgpass"
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return None
            if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise StoreError(f"others may read the passwords in {path}", fix=f"run `chmod 0600 {path}`")
            content = file.read()
    except OSError:
        return None
    return password_in(content.decode("utf-8", "surrogateescape"), wanted)
