"""How far a migration is: a line that is written over on a terminal, else one now and then."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

_STDERR = 2
# What takes no longer needs no word.
_QUIET_SECONDS = 1.0
_TERMINAL_SECONDS, _LINE_SECONDS = 0.2, 10.0


class Progress:
    """Says it on standard error, as it was when this was made: in a child that may be another one."""

    def __init__(self) -> None:
        self._file = os.dup(_STDERR)
        self._is_terminal = os.isatty(self._file)
        self._next: float | None = None
        self._has_said = False

    def say(self, stage: str, done: int, whole: int) -> None:
        """Takes what is done, how much of it, and of how much."""
        now = time.monotonic()
        if self._next is None:
            self._next = now + _QUIET_SECONDS
        if now < self._next or self._file < 0:
            return
        self._has_said = True
        self._next = now + (_TERMINAL_SECONDS if self._is_terminal else _LINE_SECONDS)
        text = f"upgrading the history: {stage}, {done} of {whole} ({100 * done // max(whole, 1)} %)"
        os.write(self._file, f"\r\x1b[K{text}".encode() if self._is_terminal else f"{text}\n".encode())

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_terminal and self._has_said:
            os.write(self._file, b"\r\x1b[K")
        os.close(self._file)
        self._file = -1
