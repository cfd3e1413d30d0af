"""Play the incident of tests/live/night.sh beside another recorder, for docs/comparison.md.

`sudo .venv/bin/python -m tools.night_beside PEER FOLDER` makes FOLDER. It keeps there what the peer wrote
and the notes of the night: pids, a terminal, and when it began. PEER is auditd, execsnoop (of libbpf-tools),
execsnoop-bpfcc or execaudit. The user installs the peers. For auditd see bench/auditd.py: BENCH_AUDITD=1
allows that audit is switched on.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench import auditd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CHECKOUT = Path(__file__).parents[1]
_NIGHT = _CHECKOUT / "tests/live/night.sh"
_PATIENCE_SECONDS = 120
# With these options they say the most. Execsnoop of libbpf-tools takes 60 arguments at most.
_EXECSNOOP = ("-x", "-T", "-U", "-q", "--max-args", "60")
_COMMANDS = {
    "execsnoop": (("execsnoop", *_EXECSNOOP), ("exitsnoop",)),
    "execsnoop-bpfcc": (("execsnoop-bpfcc", *_EXECSNOOP), ("exitsnoop-bpfcc", "--timestamp")),
}
# Who writes into this folder is what auditd can say and a recorder of execs cannot.
_RULES = (
    ("always,exit", "-F", "arch=b64", "-S", "execve,execveat", "-k", "exec"),
    ("always,exit", "-F", "arch=b32", "-S", "execve,execveat", "-k", "exec"),
    ("always,exit", "-F", "dir={night}", "-F", "perm=wa", "-k", "files"),
)


@contextlib.contextmanager
def _started(command: list[str], said: Path, ready: str) -> Iterator[None]:
    """Runs a recorder that says `ready` into the file, and stops it after the body."""
    with said.open("wb") as output:
        recorder = subprocess.Popen(command, cwd=_CHECKOUT, stdout=output, stderr=output)  # noqa: S603  # ours
        try:
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while ready not in said.read_text(encoding="utf-8", errors="replace"):
                if recorder.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"{command[0]} does not record: {said.read_text(errors='replace')}")
                time.sleep(0.1)
            time.sleep(1)
            yield
            time.sleep(3)  # what it has seen last
        finally:
            recorder.send_signal(signal.SIGINT)
            recorder.wait()


@contextlib.contextmanager
def _snooping(commands: tuple[tuple[str, ...], ...], folder: Path) -> Iterator[Callable[[Path], None]]:
    with contextlib.ExitStack() as running:
        for name, *options in commands:
            path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
            if path is None:
                sys.exit(f"{name} is not installed: install libbpf-tools or bpfcc-tools")
            # A header in a buffer would not say that it is ready.
            command = ["stdbuf", "-oL", "env", "PYTHONUNBUFFERED=1", path, *options]
            running.enter_context(_started(command, folder / f"{name}.log", "COMM"))
        yield lambda _night: None


@contextlib.contextmanager
def _auditing(folder: Path) -> Iterator[Callable[[Path], None]]:
    reason = auditd.why_not()
    if reason is not None:
        sys.exit(reason)
    with contextlib.ExitStack() as undone, auditd.set_aside(), auditd.auditing(folder, rules=_RULES[:2]):

        def watch(night: Path) -> None:
            rule = [word.format(night=night) for word in _RULES[2]]
            auditd.add(*rule)
            undone.callback(auditd.remove, *rule)

        yield watch
        time.sleep(3)
        (folder / "status").write_text("".join(f"{name} {n}\n" for name, n in auditd.status().items()))


@contextlib.contextmanager
def _recording(folder: Path) -> Iterator[Callable[[Path], None]]:
    command = [sys.executable, "-m", "execaudit", "--config", os.devnull, "--db", f"{folder}/execaudit.db"]
    with _started([*command, "record", "--quiet"], folder / "execaudit.log", "recording"):
        yield lambda _night: None


def _play(folder: Path, prepare: Callable[[Path], None]) -> None:
    """Plays the night, and copies its notes into the folder."""
    night = Path(tempfile.mkdtemp(prefix="night-"))
    night.chmod(0o755)
    prepare(night)
    with subprocess.Popen(  # noqa: S603  # ours
        ["/bin/bash", _NIGHT, night], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as script:
        if script.stdout is None or script.stdout.readline() != "done\n":
            sys.exit("the night did not end")
        shutil.copytree(night / "notes", folder / "notes")
        (folder / "notes/night").write_text(f"{night}\n")
        (folder / "notes/pid").write_text(f"{script.pid}\n")
    shutil.rmtree(night)


def main() -> None:
    """Plays it beside the peer that the arguments name."""
    if len(sys.argv) != 3 or sys.argv[1] not in {"auditd", "execaudit", *_COMMANDS}:  # noqa: PLR2004
        sys.exit(__doc__)
    peer, folder = sys.argv[1], Path(sys.argv[2]).absolute()
    folder.mkdir(parents=True)
    with contextlib.ExitStack() as running:
        if peer == "auditd":
            prepare = running.enter_context(_auditing(folder))
        elif peer == "execaudit":
            prepare = running.enter_context(_recording(folder))
        else:
            prepare = running.enter_context(_snooping(_COMMANDS[peer], folder))
        _play(folder, prepare)


if __name__ == "__main__":
    main()
