"""A hostile user during the soak test: runs the programs of tests/hostile again and again."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from typing import TYPE_CHECKING

from tests.hostile.attacker import AS_ROOT_OF_HIS_OWN, Attacker, new_word

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# One round: about 20 MB of arguments.
_FAILED, _CHAIN, _LONGEST, _ORPHANS = ("1000", "4000"), ("50", "100000"), ("4", "2000"), ("500", "16")
_REST_SECONDS = 5.0


class Hostile:
    """A user without privileges, who makes floods, chains, huge arguments, and inodes above 2^63."""

    def __init__(self, folder: Path) -> None:
        """Takes a folder that all users can enter."""
        self.rounds = 0
        self.failures: list[str] = []
        """Why a program of this user could not be run; that is no fault of the recorder."""
        self._attacker = Attacker(folder)
        self._over = threading.Event()

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Runs round after round while the body runs."""
        thread = threading.Thread(target=self._work)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _work(self) -> None:
        try:
            while not self._over.is_set():
                self._round()
                self.rounds += 1
                self._over.wait(_REST_SECONDS)
        except (AssertionError, OSError, subprocess.SubprocessError) as exc:
            self.failures.append(f"{exc!r}")

    def _round(self) -> None:
        user, program, noop, word = self._attacker, self._attacker.program, self._attacker.noop, new_word()
        user.run(program("failing"), *_FAILED, word)
        user.run(program("storm"), noop, _LONGEST[0], word, _LONGEST[1])
        user.run(program("orphans"), *_ORPHANS, noop, word)
        user.run(program("seccomp"), "errno", noop, word, status=1)
        user.run(*AS_ROOT_OF_HIS_OWN, *user.script("overlay.sh"), noop, word)
        # The last program of the chain lives during the pause between two rounds.
        with user.staying(program("chain"), *_CHAIN, word):
            self._over.wait(_REST_SECONDS)


def public(folder: Path) -> Path:
    """Lets every user enter a folder. Returns a new folder in it that every user can enter, too."""
    folder.chmod(0o755)
    below = folder / "hostile"
    below.mkdir()
    below.chmod(0o755)  # whatever the umask
    return below
