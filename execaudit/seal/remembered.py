"""Remember, outside of a history, up to where it was verified: the next time it goes on from there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit.errors import StoreError
from execaudit.seal.segment_check import Problem
from execaudit.system.textfile import replace_text

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

# Longer than any of ours.
_LARGEST = 10_000
_AT = (
    "SELECT s.id, lower(hex(c.chain)), (SELECT epoch FROM seal AS next WHERE next.id = s.id + 1), lower(hex(s.hash))"
    " FROM seal AS s JOIN seal_chain AS c ON c.id = s.chain_id WHERE s.id = ?"
)


class Remembered(NamedTuple):
    """The last segment that is full and was verified."""

    segment: int
    chain: str
    """The id of its chain."""
    epoch: int
    """Its last one."""
    hash: str
    authentic: bool
    """The codes of all segments up to here were checked, where the chain has a key."""
    verified_ns: int
    """Wall clock, when that was."""


def load(path: Path) -> Remembered | None:
    """Returns what a file says; None: there is none yet. Raises StoreError."""
    try:
        with path.open("rb") as file:
            raw: Any = json.loads(file.read(_LARGEST))
        found = Remembered(**raw)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise StoreError(f"cannot read {path}: {exc.strerror}", fix="name another file with --state") from exc
    except (ValueError, TypeError, RecursionError) as exc:
        raise _foreign(path) from exc
    kinds = (int, str, int, str, bool, int)
    if any(type(value) is not kind for value, kind in zip(found, kinds, strict=True)):
        raise _foreign(path)
    return found


def _foreign(path: Path) -> StoreError:
    return StoreError(
        f"{path} was not written by `execaudit verify`", fix="name another file with --state, or remove it"
    )


def save(path: Path, known: Remembered) -> None:
    """Replaces the file. Raises StoreError."""
    try:
        replace_text(path, json.dumps(known._asdict()) + "\n")
    except OSError as exc:
        raise StoreError(
            f"cannot write {path}: {exc.strerror}", fix="name another file with --state"
        ) from exc


def at(connection: sqlite3.Connection, segment: int, *, is_authentic: bool, now_ns: int) -> Remembered | None:
    """Returns what to remember of a segment that is full; None: there is none with that number."""
    row = connection.execute(_AT, (segment,)).fetchone()
    if row is None or row[2] is None:
        return None
    number, chain, epoch, digest = row
    return Remembered(number, chain, epoch, digest, is_authentic, now_ns)


def problems(connection: sqlite3.Connection, known: Remembered) -> list[Problem]:
    """Returns whether what was verified is still in the chain."""
    row = connection.execute(_AT, (known.segment,)).fetchone()
    if row is None or row[2] is None:
        # An older copy of the history, or its tail was cut off.
        return [Problem("cut", "seal", known.segment, known.segment, None, None)]
    if tuple(row) != known[:4]:
        return [Problem("forged", "seal", known.segment, known.segment, None, None)]
    return []
