"""Read the settings again in a thread, so that the recorder never waits for a file system that hangs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Reloading:
    """Calls a function in a thread, once for each request; requests during a call are joined into one."""

    def __init__(self, reload: Callable[[], None]) -> None:
        self._reload = reload
        self._asked = threading.Event()
        self._thread: threading.Thread | None = None

    def ask(self) -> None:
        """Requests a call. Returns at once."""
        self._asked.set()
        # Not earlier: a thread keeps the privileges that the process had when the thread was started.
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="reload", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            self._asked.wait()
            self._asked.clear()
            self._reload()
