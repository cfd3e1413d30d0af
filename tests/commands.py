"""Run execaudit in a process of its own, as a user does: with pipes, on a terminal, as the user nobody."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import subprocess
import sys
import time
import tty
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from tests import reachable, warm

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

# Settings of this machine must not affect the tests. A --config of a test comes later and wins.
EXECAUDIT = (sys.executable, "-m", "execaudit", "--config", os.devnull)
# Runs the command without capabilities. `doctor` then does not load the probe, which takes long.
POWERLESS = ("setpriv", "--bounding-set=-all", *EXECAUDIT)
# Runs a command in a mount namespace without tracefs. Mounts that one process makes there propagate to
# others.
UNMOUNTED = (
    "unshare", "--mount", "sh", "-ec",
    (
        "for at in /sys/kernel/tracing /sys/kernel/debug; do "
        "while mountpoint --quiet $at; do umount --lazy $at; done; done; "
        'mount --make-rshared /; exec "$@"'
    ),
    "sh",
)  # fmt: skip
# Such a recorder starts in two thirds of the time: for tests of what has nothing to do with the probe.
NO_FAILED = "--no-failed"
NOBODY = 65534
PATIENCE = float(os.environ.get("EXECAUDIT_TEST_PATIENCE", "60"))
"""After so many seconds, a command is taken to hang. An emulated machine needs more."""


class Finished(NamedTuple):
    """A command that has ended."""

    status: int
    out: bytes
    err: bytes

    def rows(self) -> list[dict[str, Any]]:
        """Returns the execs of the JSON lines of its output."""
        return [
            row for row in map(json.loads, self.out.splitlines()) if row.get("kind") not in ("gap", "sealed")
        ]

    def gaps(self) -> list[dict[str, Any]]:
        """Returns the gaps of the JSON lines of its output."""
        return [row for row in map(json.loads, self.out.splitlines()) if row.get("kind") == "gap"]

    def pids(self) -> list[int]:
        """Returns the pids of the execs of its JSON lines."""
        return [row["pid"] for row in self.rows()]

    def failed_in_one_line(self) -> bool:
        """Says whether its only output is one line on stderr, which is no traceback."""
        text = self.err.decode()
        return (
            not self.out
            and text.endswith("\n")
            and text.count("\n") == 1
            and not text.startswith("Traceback")
        )


def environment(changes: Mapping[str, str]) -> dict[str, str]:
    """Returns this process's environment without the user's settings or a pager, and with the changes."""
    kept = {name: value for name, value in os.environ.items() if name not in ("EXECAUDIT_DB", "NO_COLOR")}
    return {**kept, "TZ": "UTC", "PAGER": "cat", **changes}


def execaudit(
    *arguments: str | bytes | Path,
    folder: Path | None = None,
    env: Mapping[str, str] | None = None,
    before: Sequence[str] = EXECAUDIT,
    silence: bool = False,
    **streams: Any,  # noqa: ANN401  # Popen's
) -> Finished:
    """Runs one command to its end, with pipes for its output.

    Without `silence`, stderr lacks the lines that every history without a running recorder has: see
    audible().
    """
    if before is EXECAUDIT and not streams and warm.may_run(env or {}):
        words = [*EXECAUDIT[3:], *arguments]
        done = warm.run(words, folder=folder, env=environment(env or {}), timeout=PATIENCE)
        return Finished(done.returncode, done.stdout, done.stderr if silence else audible(done.stderr))
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    done = subprocess.run(
        [*before, *arguments],
        cwd=folder,
        env=environment(env or {}),
        check=False,
        timeout=PATIENCE,
        **{**pipes, **streams},
    )
    said = done.stderr or b""
    return Finished(done.returncode, done.stdout or b"", said if silence else audible(said))


def audible(said: bytes) -> bytes:
    """Returns stderr without the lines about a missing recorder, and until when the answer is complete."""
    usual = (
        b"gap: nobody has recorded since ",
        b"gap: the recorder has not written since ",
        b"complete until ",
    )
    return b"".join(line for line in said.splitlines(keepends=True) if not line.startswith(usual))


def as_nobody(
    *arguments: str | Path, folder: Path | None = None, env: Mapping[str, str] | None = None
) -> Finished:
    """Runs one command as the user nobody."""
    become = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    return execaudit(*arguments, folder=folder, env=env, before=(*become, *reachable.program()))


def in_shell(script: str, *, folder: Path) -> Finished:
    """Runs a shell script in which $execaudit is the command."""
    command = " ".join(EXECAUDIT)
    return execaudit("-c", script, folder=folder, env={"execaudit": command}, before=("bash",))


@contextlib.contextmanager
def running(
    *arguments: str | Path,
    env: Mapping[str, str] | None = None,
    before: Sequence[str] = EXECAUDIT,
    **streams: Any,  # noqa: ANN401  # Popen's
) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a command, and kills it after the body if it has not ended by itself."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(
        [*before, *arguments],
        env=environment(env or {}),
        bufsize=0,  # with a buffer, line_of would not see what was already read
        **{**pipes, **streams},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def line_of(stream: IO[bytes] | None) -> bytes:
    """Returns the next line that a running command writes; fails when it does not."""
    assert stream is not None
    assert select.select([stream], [], [], PATIENCE)[0], "it says nothing more"
    return stream.readline()


def audible_line_of(stream: IO[bytes] | None) -> bytes:
    """Returns the next line of a running command's stderr that audible() keeps."""
    while not (line := audible(line_of(stream))):
        pass
    return line


class Terminal:
    """A pseudo-terminal that passes on exactly what is written to it."""

    def __init__(self) -> None:
        self._ours, self.theirs = os.openpty()
        tty.setraw(self.theirs)
        self._written = b""

    def await_text(self, text: bytes) -> None:
        """Waits until a text was written."""
        while text not in self._written:
            self._written += self._next()

    def read(self) -> bytes:
        """Waits until no other process has the terminal open. Returns everything that was written."""
        os.close(self.theirs)
        with contextlib.suppress(OSError):  # EIO: no other process has it open
            while chunk := self._next():
                self._written += chunk
        os.close(self._ours)
        return self._written

    def _next(self) -> bytes:
        assert select.select([self._ours], [], [], PATIENCE)[0], self._written
        return os.read(self._ours, 65536)


def on_terminal(
    *arguments: str | Path, env: Mapping[str, str] | None = None, stderr: bool = False
) -> Finished:
    """Runs one command whose output is a terminal; with `stderr`, its standard error is one too."""
    terminal = Terminal()
    talk = terminal.theirs if stderr else subprocess.PIPE
    with running(*arguments, env=env, stdout=terminal.theirs, stderr=talk) as process:
        shown = terminal.read()
        said = process.stderr.read() if process.stderr else b""
        return Finished(process.wait(PATIENCE), shown, said)


@contextlib.contextmanager
def recorder(
    *arguments: str | Path,
    **more: Any,  # noqa: ANN401  # those of running
) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a recorder, and yields when it records. Its first message must be `recording`."""
    with running(*arguments, **more) as process:
        first = line_of(process.stderr)
        assert b'"event": "recording"' in first, first
        yield process


def found(database: Path, *filters: str | Path) -> list[dict[str, Any]]:
    """Returns the execs that a query finds."""
    done = execaudit("--db", database, "query", *filters)
    assert done.status == 0, done.err
    return done.rows()


def await_found(database: Path, *filters: str | Path) -> list[dict[str, Any]]:
    """Repeats a query until it finds execs, and returns them."""
    deadline = time.monotonic() + PATIENCE
    while not (rows := found(database, *filters)):
        assert time.monotonic() < deadline, "nothing is found"
    return rows


def snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    """Returns, for everything below a folder, its mode and a hash of its content or link target."""
    state = {}
    for path in sorted(folder.rglob("*")):
        content = b""
        if path.is_symlink():
            content = bytes(path.readlink())
        elif path.is_file():
            content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        state[str(path.relative_to(folder))] = (path.lstat().st_mode, digest)
    return state


def legible(case: object) -> str | None:
    """Returns a short and readable name for a parametrised case."""
    return ascii(case)[1:-1][:60] if isinstance(case, str) else None
