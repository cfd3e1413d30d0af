"""The hostile user: nobody, with their own programs."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from tests.commands import NOBODY, PATIENCE, line_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_SOURCES = Path(__file__).parent / "programs"
_TRUTH = Path(__file__).parents[1] / "truth"
# Static, because they run in a root directory and a mount namespace with nothing else.
_FLAGS = ("-static", "-O1", "-Wall")
_BARE = ("-static", "-O1", "-nostdlib", "-ffreestanding")
_ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8"}
NEIGHBOUR = 65_533
"""Another user, who means no harm."""
# In a user namespace of the user's own, in which that user is root.
AS_ROOT_OF_HIS_OWN = ("unshare", "--user", "--map-root-user", "--mount")


class Attacker:
    """Runs programs as nobody, each until it ends or the test is over."""

    def __init__(self, folder: Path) -> None:
        """Compiles all programs into a folder that every user can enter."""
        self.folder = folder
        self.own = folder / "own"
        """A folder that belongs to the user."""
        sources = [*_SOURCES.glob("*.c"), _TRUTH / "storm.c"]
        # A compiler uses one processor.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda source: _compile(source, folder / source.stem, _FLAGS), sources))
        self.noop = folder / "noop"
        _compile(_TRUTH / "noop.c", self.noop, _BARE)
        self.hop32 = folder / "hop32"
        """A 32-bit program that executes its arguments."""
        if platform.machine() == "x86_64":
            _compile(_TRUTH / "hop32.c", self.hop32, ("-m32", *_BARE))
        self.own.mkdir()
        os.chown(self.own, NOBODY, NOBODY)

    def program(self, name: str) -> str:
        """Returns the path of one of the programs."""
        return str(self.folder / name)

    def script(self, name: str) -> list[str]:
        """Returns the command that runs one of the scripts, also if the user may not read it."""
        return ["sh", "-c", (_SOURCES / name).read_text(), name]

    def run(self, *command: str | bytes | Path, status: int = 0, user: int = NOBODY) -> str:
        """Runs a command, which must end with `status`. Returns its output."""
        with self.start(*command, user=user) as process:
            out, err = process.communicate(timeout=PATIENCE)
            assert process.returncode == status, (command, process.returncode, out, err)
            return out.decode()

    @contextlib.contextmanager
    def start(
        self,
        *command: str | bytes | Path,
        user: int = NOBODY,
        groups: tuple[int, ...] = (),
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Starts a command. Kills it after the body, with all processes that it started."""
        process = subprocess.Popen(
            command,
            user=user,
            group=user,
            extra_groups=groups,
            cwd="/",
            env=_ENV,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        with process:
            try:
                yield process
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    @contextlib.contextmanager
    def staying(self, *command: str | bytes | Path, user: int = NOBODY) -> Iterator[str]:
        """Starts a command that prints `there` when it is ready, and stays. Yields the lines before that."""
        with self.start(*command, user=user) as process:
            said = ""
            while not said.endswith("there\n"):
                line = line_of(process.stdout).decode()
                assert line, (command, said, process.stderr and process.stderr.read())
                said += line
            yield said.removesuffix("there\n")


def new_word() -> str:
    """Returns a word that no other command line has."""
    return f"hostile-{uuid.uuid4().hex}"


def _compile(source: Path, to: Path, flags: tuple[str, ...]) -> None:
    subprocess.run(["cc", *flags, "-o", to, source], check=True)
