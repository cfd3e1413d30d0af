"""When `execaudit record` stops: on a signal, after --duration, or when its command has ended."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from typing import TYPE_CHECKING

from execaudit.daemon.stopping import leave

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from types import FrameType

    from execaudit.event import Nanoseconds

_BY_SIGNAL = 128  # as a shell says it
_INTERRUPTED = 130
_LOOK_SECONDS = 0.1


class Stop:
    """Remembers how often a signal asked to stop."""

    def __init__(self) -> None:
        self.asked = 0
        self.terminate = False
        self._hangup = False
        self._at_once: int | None = None
        """While the recorder stops: at this number of signals it ends at once."""
        self._child: subprocess.Popen[bytes] | None = None

    def begin(self, child: subprocess.Popen[bytes] | None) -> None:
        """The recorder stops. Another signal from now on ends it at once, whatever is not stored."""
        self._child = child
        self._at_once = max(self.asked, 1) + 1

    def end(self) -> None:
        """The recorder has stopped."""
        self._at_once = None

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.asked += 1
        self.terminate = self.terminate or number == signal.SIGTERM
        if self._at_once is not None and self.asked >= self._at_once:
            if self._child is not None and self._child.returncode is None:
                self._child.terminate()
            leave(
                "ended at once: what was not stored yet is lost, the next recorder says since when",
                _INTERRUPTED,
            )

    def _on_hangup(self, number: int, frame: FrameType | None) -> None:
        if sys.stderr.isatty():
            self._on_signal(number, frame)  # the terminal has gone
        else:
            self._hangup = True

    def take_hangup(self) -> bool:
        """Says whether a service was told to reload since it was last asked."""
        hangup, self._hangup = self._hangup, False
        return hangup

    @classmethod
    @contextlib.contextmanager
    def on_signals(cls) -> Iterator[Stop]:
        """Until the end, SIGINT and SIGTERM only ask, and SIGHUP reloads unless there is a terminal."""
        stop = cls()
        handlers: dict[signal.Signals, Callable[[int, FrameType | None], None]] = {
            signal.SIGINT: stop._on_signal,
            signal.SIGTERM: stop._on_signal,
        }
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup(1)
            handlers[signal.SIGHUP] = stop._on_hangup
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield stop
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def at_once() -> bool:
    """Says that it is time to stop: always."""
    return True


def until(
    stop: Stop, duration: Nanoseconds | None, child: subprocess.Popen[bytes] | None
) -> Callable[[], bool]:
    """Returns a function that says whether it is time to stop."""
    deadline = None if duration is None else time.monotonic() + duration / 1e9

    def should_stop() -> bool:
        if deadline is not None and time.monotonic() >= deadline:
            return True
        if child is None:
            return stop.asked > 0
        # The terminal sends Ctrl-C to the command too, which decides whether it ends. SIGTERM reaches the
        # recorder alone, which passes it on.
        if stop.terminate:
            child.terminate()
        return child.poll() is not None or stop.asked > 1

    return should_stop


def finish(child: subprocess.Popen[bytes], stop: Stop) -> int:
    """Returns the command's status as a shell would; ends it if the time was over before it."""
    if child.poll() is None:
        child.terminate()
        wait(child, stop)
    status = child.wait()
    return status if status >= 0 else _BY_SIGNAL - status


def wait(child: subprocess.Popen[bytes], stop: Stop) -> None:
    """Waits for the command. Kills it when the user asks once more after it was asked to end."""
    patience = max(stop.asked, 1)
    while child.poll() is None:
        if stop.terminate:
            child.terminate()
        if stop.asked > patience:
            child.kill()
        time.sleep(_LOOK_SECONDS)
