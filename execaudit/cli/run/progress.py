"""How far something is, on standard error: a line that is written over, or a bar."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar

import click

from execaudit.query.connection import Connection, Reading

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from types import TracebackType

_Found = TypeVar("_Found")

_STDERR = 2
# Work that takes no longer shows no progress.
_QUIET_SECONDS = 1.0
_TERMINAL_SECONDS, _LINE_SECONDS = 0.2, 10.0
_CLEAR = "\r\x1b[K"


class Progress:
    """A line that is written over on a terminal; elsewhere, with `lines`, a new line now and then.

    Writes to what is standard error now: a child that gets this object may have another one.
    """

    def __init__(self, *, lines: bool) -> None:
        self._file = os.dup(_STDERR)
        self._is_terminal = os.isatty(self._file)
        self._lines = lines
        self._next: float | None = None
        self._has_said = False

    def say(self, text: str) -> None:
        """Shows how far it is, unless that was shown a moment ago."""
        now = time.monotonic()
        if self._next is None:
            self._next = now + _QUIET_SECONDS
        if now < self._next or self._file < 0 or not (self._is_terminal or self._lines):
            return
        self._has_said = True
        self._next = now + (_TERMINAL_SECONDS if self._is_terminal else _LINE_SECONDS)
        os.write(self._file, f"{_CLEAR}{text}".encode() if self._is_terminal else f"{text}\n".encode())

    def say_upgrade(self, stage: str, done: int, whole: int) -> None:
        """Shows how far a migration is: what it does, and how much of how much is done."""
        share = 100 * done // max(whole, 1)
        self.say(f"upgrading the history: {stage}, {done} of {whole} ({share} %)")

    def clear(self) -> None:
        """Takes the line away, so that something else can be written there."""
        if self._is_terminal and self._has_said:
            os.write(self._file, _CLEAR.encode())
            self._has_said = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()
        os.close(self._file)
        self._file = -1


@contextlib.contextmanager
def reading(connection: sqlite3.Connection) -> Iterator[Callable[[], int]]:
    """Shows on a terminal how many execs are read, after a second, until the answer begins or the body ends.

    Yields what SQLite is to call now and then.
    """
    with Progress(lines=False) as progress:
        far = Reading(on_answer=progress.clear)
        if isinstance(connection, Connection):
            connection.reading = far

        def say() -> int:
            if not far.is_answered and far.execs() > 0:
                progress.say(f"reading {far.execs():,} execs: {100 * far.done() // far.execs()} %")
            return 0

        yield say


def answering(connection: sqlite3.Connection) -> None:
    """Takes what is shown of a search from the terminal: the answer begins."""
    if isinstance(connection, Connection) and connection.reading is not None:
        connection.reading.answer()


def answered(connection: sqlite3.Connection, found: Iterator[_Found]) -> Iterator[_Found]:
    """Waits for the first of what is found, and takes what is shown of the search from the terminal."""
    first = [*islice(found, 1)]
    answering(connection)
    return chain(first, found)


@contextlib.contextmanager
def bar(label: str | None, length: Callable[[], int]) -> Iterator[Callable[[int], None]]:
    """Shows a bar on a terminal; nothing elsewhere, or without a label. Yields what to call with each step.

    `length` returns how many there are in all. To count takes time, so it is called only for a bar.
    """
    if label is None or not sys.stderr.isatty():
        yield lambda _items: None
        return
    with click.progressbar(length=length(), label=label, file=sys.stderr) as shown:
        yield shown.update
