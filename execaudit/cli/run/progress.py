"""How far something is, on standard error: a line that is written over, or a bar."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar

import click

from execaudit.query.connection import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from execaudit.query.history import History

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
def reading() -> Iterator[Reading]:
    """Shows on a terminal how many execs are read, after a second, until the answer begins or the body ends.

    Yields what is to be told how far a search is.
    """
    with Progress(lines=False) as progress:

        def say(far: Reading) -> None:
            what = f"{far.execs():,} execs" if far.has_numbers else "the history"
            progress.say(f"reading {what}: {100 * far.done() // far.execs()} %")

        yield Reading(on_answer=progress.clear, on_look=say)


def answering(history: History) -> None:
    """Takes what is shown of a search from the terminal: the answer begins."""
    if history.reading is not None:
        history.reading.answer()


def answered(history: History, found: Iterator[_Found]) -> Iterator[_Found]:
    """Waits for the first of what is found, and takes what is shown of the search from the terminal."""
    first = [*islice(found, 1)]
    answering(history)
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
