"""Look up the names of uids, and keep them for a minute: a look-up for each exec would be slow.

A look-up may ask a directory service (NSS: LDAP, SSSD) and hang, so a thread does it. The caller waits a
short time for a name that is not known yet. While the service does not answer, names are unknown, and
nothing else is delayed.
"""

from __future__ import annotations

import pwd
import threading
import time
from collections import deque

from execaudit.escaping import name_text

_REMEMBER_SECONDS = 60.0
# The longest wait for a name that is not known yet. All waits together take at most a tenth of the time, and
# three seconds more at the beginning, when many names are new.
_PATIENCE_SECONDS = 1.0
_WAITING_SHARE = 0.1
_MOST_WAITING_SECONDS = 3.0
# A user can choose the uids in a user namespace: 65536 of them by default.
_MOST_KNOWN = 4096
_MOST_ASKED = 256


class UserNames:
    """Resolves uids as the host does, from files or a directory service."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[str | None, float]] = {}
        """The names, and when each was looked up."""
        self._asked: deque[int] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._asking_since: float | None = None
        self._waiting_left, self._waited_at = _MOST_WAITING_SECONDS, time.monotonic()

    def name_of(self, uid: int) -> str | None:
        """Returns the user name of a uid; None if it has none, or the answer does not come in time.

        A name may be a minute old, or older while the service does not answer.
        """
        found = self._known.get(uid)
        now = time.monotonic()
        if found is not None:
            if now - found[1] > _REMEMBER_SECONDS:
                self._ask(uid)
            return found[0]
        self._ask(uid)
        self._await(uid, now)
        found = self._known.get(uid)
        return None if found is None else found[0]

    def _await(self, uid: int, now: float) -> None:
        """Waits a short time for an answer, and not at all while the service does not answer."""
        left = self._waiting_left + (now - self._waited_at) * _WAITING_SHARE
        left = min(left, _MOST_WAITING_SECONDS)
        since = self._asking_since
        if since is None or now - since < _PATIENCE_SECONDS:
            with self._changed:
                self._changed.wait_for(lambda: uid in self._known, min(left, _PATIENCE_SECONDS))
        self._waited_at = time.monotonic()
        self._waiting_left = left - (self._waited_at - now)

    def _ask(self, uid: int) -> None:
        """Has the thread look up a uid, now or soon."""
        # Started only now: a thread keeps the privileges that the process had when the thread started.
        if self._thread is None:
            self._thread = threading.Thread(target=self._answer, name="names", daemon=True)
            self._thread.start()
        with self._changed:
            if uid not in self._asked and len(self._asked) < _MOST_ASKED:
                self._asked.append(uid)
                self._changed.notify_all()

    def _answer(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._asked)
                uid = self._asked[0]
                self._asking_since = time.monotonic()
            name = _name_of(uid)
            with self._changed:
                self._asked.popleft()
                self._asking_since = None
                if len(self._known) >= _MOST_KNOWN and uid not in self._known:
                    self._known.clear()
                self._known[uid] = name, time.monotonic()
                self._changed.notify_all()


def _name_of(uid: int) -> str | None:
    try:
        return name_text(pwd.getpwuid(uid).pw_name)
    except (KeyError, OSError):  # OSError: the directory service failed
        return None
