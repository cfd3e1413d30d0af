"""The lines of a log: of a file, compressed with gzip or not, or of a pipe. Memory is bounded."""

from __future__ import annotations

import contextlib
import gzip
import io
import re
import sys
import zlib
from typing import IO, TYPE_CHECKING

from execaudit.errors import ExecauditError

if TYPE_CHECKING:
    from collections.abc import Iterator

_GZIP = b"\x1f\x8b"
_HEAD_BYTES = 1 << 16
# The JSON of the longest command line that a kernel takes has about so much.
LONGEST_LINE = 80 * 1024 * 1024
KEPT_OF_LONG = 4096
"""So much of a longer line is kept."""
_AUDIT_TIME = re.compile(rb"audit\(([0-9]{1,10}\.[0-9]{3}):").search
_JSON_TIME = re.compile(rb'"(?:@timestamp|time|start_time)" ?: ?"([0-9TZ:.+-]{19,40})"').search
STANDARD_INPUT = "-"


class Log:
    """A log that is open."""

    def __init__(self, name: str, file: IO[bytes]) -> None:
        self.name = name
        self._file = file
        self.damage: str | None = None
        """Why the rest cannot be read, if that is so."""
        self.head = self._peek(file)
        if self.head.startswith(_GZIP):
            self._file = io.BufferedReader(gzip.GzipFile(fileobj=file), _HEAD_BYTES)
            self.head = self._peek(self._file)

    @property
    def is_json(self) -> bool:
        """Says whether it looks like lines of JSON."""
        return self.head.lstrip()[:1] == b"{"

    def order(self) -> tuple[int, bytes]:
        """Returns what sorts logs of one kind by their first times."""
        found = _AUDIT_TIME(self.head) or _JSON_TIME(self.head)
        return (1, b"") if found is None else (0, found[1].rjust(40))

    def lines(self) -> Iterator[tuple[int, bytes, bool]]:
        """Yields number, line without its end, and whether it is whole: a longer one is cut."""
        with self._noting_damage():
            yield from self._lines()

    def _lines(self) -> Iterator[tuple[int, bytes, bool]]:
        read, number = self._file.readline, 0
        while self.damage is None and (line := read(LONGEST_LINE)):
            number += 1
            if line.endswith(b"\n"):
                yield number, line[:-1], True
            elif len(line) < LONGEST_LINE:
                # The last one.
                yield number, line, True
            else:
                kept = line[:KEPT_OF_LONG]
                del line
                while (rest := read(_HEAD_BYTES)) and not rest.endswith(b"\n"):
                    pass
                yield number, kept, False

    def close(self) -> None:
        """Closes it."""
        if self.name != STANDARD_INPUT:
            self._file.close()

    def _peek(self, file: IO[bytes]) -> bytes:
        with self._noting_damage():
            peeked: bytes = file.peek(_HEAD_BYTES)  # type: ignore[attr-defined]  # a BufferedReader's
            return peeked
        return b""

    @contextlib.contextmanager
    def _noting_damage(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, gzip.BadGzipFile, zlib.error) as exc:
            self.damage = f"the compressed file is damaged ({exc})"
        except OSError as exc:
            self.damage = exc.strerror or str(exc)


def open_log(name: str) -> Log:
    """Opens a file, or standard input for `-`. Raises ExecauditError."""
    if name == STANDARD_INPUT:
        return Log(name, sys.stdin.buffer)
    try:
        return Log(name, open(name, "rb", buffering=_HEAD_BYTES))  # noqa: PTH123  # as it was given; closed by its user
    except OSError as exc:
        raise ExecauditError(
            f"cannot read {name}: {exc.strerror}",
            fix="name a file that you may read, or - for standard input",
        ) from exc
