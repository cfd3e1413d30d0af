"""A machine whose PID 1 is systemd: namespaces on this kernel, and an overlay over the host's files.

BPF has no namespaces, so its recorder records the whole host, with the host's pids. A test finds its own
execs by a word in their arguments.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.commands import PATIENCE
from tests.installing import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BOOT = Path(__file__).with_name("boot.sh")
_CGROUPS = Path("/sys/fs/cgroup")
_MACHINES = itertools.count(1)
_NAMESPACES = ("--mount", "--cgroup", "--uts", "--ipc", "--net", "--pid")


class Machine:
    """A running machine."""

    def __init__(self, init: int) -> None:
        """Takes the pid of its systemd in the host's pid namespace."""
        self._init = init

    def run(self, *command: str, user: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs a command in it, as root or as another user. Returns the finished process."""
        as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
        return subprocess.run(
            ["nsenter", f"--target={self._init}", *_NAMESPACES, "--", *as_user, *command],
            # A new environment, without the settings of the tests and the virtual environment.
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * PATIENCE,
        )

    def must(self, *command: str, user: str | None = None) -> str:
        """Runs a command that must succeed, and returns its output."""
        done = self.run(*command, user=user)
        assert done.returncode == 0, (command, done.stdout, done.stderr, self.journal())
        return done.stdout

    def journal(self, *filters: str) -> list[str]:
        """Returns the service's lines in the journal."""
        self.run("journalctl", "--sync")
        done = self.run("journalctl", "--unit=execaudit", "--output=cat", "--no-pager", "--quiet", *filters)
        return done.stdout.splitlines()

    def property(self, name: str) -> str:
        """Returns a property of the service."""
        return self.must("systemctl", "show", "--property", name, "--value", "execaudit").strip()

    def await_(self, what: Callable[[], bool]) -> None:
        """Waits until a condition is true."""
        end = time.monotonic() + 2 * PATIENCE
        while not what():
            assert time.monotonic() < end, self.journal()
            time.sleep(0.1)


@contextlib.contextmanager
def booted(staged: Path) -> Iterator[Machine]:
    """Boots a machine with the installed files of a folder. It and its files are removed after the body."""
    with _cgroups() as cgroups, tempfile.TemporaryDirectory(prefix="execaudit-machine-") as folder:
        # Enter the cgroups before the cgroup namespace is made: then they are its root.
        join = 'while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs"; shift; done; shift; exec "$@"'
        unshare = ["unshare", *_NAMESPACES, "--fork", "--kill-child", "--propagation=private"]
        boot = [str(_BOOT), folder, str(staged), str(CHECKOUT)]
        command = ["sh", "-ec", join, "sh", *map(str, cgroups), "--"]
        process = subprocess.Popen(
            # The kernel kills it when the tests end, however they end.
            [*command, "setpriv", "--pdeathsig=KILL", *unshare, *boot],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        with process:
            try:
                yield _up(process)
            finally:
                process.kill()  # its child is killed with it (--kill-child), and then all others


def _up(process: subprocess.Popen[bytes]) -> Machine:
    """Waits until systemd has started everything. Returns the machine."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        for child in children.read_text().split():
            if _is_systemd(int(child)):
                machine = Machine(int(child))
                if machine.run("systemctl", "is-system-running").stdout.strip() in {"running", "degraded"}:
                    return machine
        time.sleep(0.1)
    process.kill()
    said = process.stdout.read().decode() if process.stdout else ""
    raise AssertionError(f"systemd did not start: {said}")


def _is_systemd(pid: int) -> bool:
    try:
        is_it = Path(f"/proc/{pid}/exe").readlink().name == "systemd"
        return is_it and Path(f"/proc/{pid}/root/run/systemd/private").exists()
    except OSError:
        return False


@contextlib.contextmanager
def _cgroups() -> Iterator[list[Path]]:
    """Makes cgroups for the machine, in the hierarchies that systemd uses."""
    tops = [_CGROUPS / name for name in ("unified", "systemd") if (_CGROUPS / name / "cgroup.procs").exists()]
    name = f"execaudit-test-{os.getpid()}-{next(_MACHINES)}"
    cgroups = [top / name for top in tops or [_CGROUPS]]
    for cgroup in cgroups:
        cgroup.mkdir()
    try:
        yield cgroups
    finally:
        for cgroup in cgroups:
            _remove(cgroup)


def _remove(cgroup: Path) -> None:
    """Removes a cgroup. Its processes have been killed, but some may not be gone yet."""
    end = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError):
            for folder, _, _ in os.walk(cgroup, topdown=False):
                Path(folder).rmdir()
            return
        assert time.monotonic() < end, f"{cgroup} is still in use"
        time.sleep(0.1)
