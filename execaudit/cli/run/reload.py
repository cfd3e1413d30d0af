"""Read settings again without making the recorder wait: their file may be on a network that hangs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Reloading:
    """Calls a function again and again, as often as it is asked, or less often if that takes long."""

    def __init__(self, reload: Callable[[], None]) -> None:
        self._reload = reload
        self._asked = threading.Event()
        self._thread: threading.Thread | None = None

    def ask(self) -> None:
        """Has it called soon. Returns at once."""
        self._asked.set()
        # Not before: a thread keeps the privileges that the process had when it was started.
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="reload", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            self._asked.wait()
            self._asked.clear()
            self._reload()
