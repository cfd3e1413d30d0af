"""Names of uids, remembered for a while: asking the host for each exec would be slow."""

from __future__ import annotations

import pwd
import time

_REMEMBER_SECONDS = 60


class UserNames:
    """Resolves uids as the host does, from files or a directory service."""

    def __init__(self) -> None:
        self._known: dict[int, str | None] = {}
        self._since = time.monotonic()

    def name_of(self, uid: int) -> str | None:
        """Returns the user name of a uid, or None if it has none."""
        if time.monotonic() - self._since > _REMEMBER_SECONDS:
            self._known.clear()
            self._since = time.monotonic()
        if uid not in self._known:
            try:
                self._known[uid] = pwd.getpwuid(uid).pw_name
            except KeyError:
                self._known[uid] = None
        return self._known[uid]
