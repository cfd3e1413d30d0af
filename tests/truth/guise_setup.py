"""Set up guises: file systems, cgroups, and copies of a program that prints its identity."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.truth.acts import Play, play

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.truth.acts import Word
    from tests.truth.programs import Programs

NOBODY = 65534
AS_NOBODY = ("become", str(NOBODY), str(NOBODY))


class Guises:
    """The programs, a folder, and a folder on each kind of mount that is needed."""

    def __init__(self, programs: Programs, folder: Path) -> None:
        self.programs = programs
        self.folder = folder
        self.nosuid = folder / "nosuid"
        self.suid = folder / "suid"
        """A folder without nosuid, where files can give privileges; /tmp may be another."""
        self.unified = folder / "unified"
        self.pids: Path | None = folder / "pids"
        """The folder of the pids controller's cgroups; None: it is in the unified hierarchy."""
        self.group_name = f"execaudit-test-{os.getpid()}"
        """The name of the cgroup that contains all others."""

    @contextlib.contextmanager
    def mounted(self) -> Iterator[None]:
        """Mounts the file systems of the guises while the body runs, and removes everything after it."""
        with contextlib.ExitStack() as undo:
            for folder, *how in (
                (self.nosuid, "tmpfs", "-o", "nosuid,mode=755"),
                (self.suid, "tmpfs", "-o", "suid,mode=755"),
                (self.unified, "cgroup2"),
            ):
                undo.enter_context(_mount(folder, how))
            if _has_own_hierarchy("pids"):
                assert self.pids
                undo.enter_context(_mount(self.pids, ["cgroup", "-o", "pids"]))
            else:
                self.pids = None
            undo.callback(self._remove_groups)
            yield

    def _remove_groups(self) -> None:
        for root in filter(None, (self.unified, self.pids)):
            # The deepest first.
            for folder in sorted(root.glob(f"{self.group_name}/**"), reverse=True):
                folder.rmdir()

    def group(self, root: Path, *parts: str) -> Path:
        """Makes a cgroup."""
        path = Path(root, self.group_name, *parts)
        path.mkdir(parents=True)
        return path

    def copy(self, name: str, mode: int = 0o755, folder: Path | None = None) -> Path:
        """Returns a new copy of the program that prints its identity."""
        path = Path(shutil.copy(self.programs.introspect, (folder or self.folder) / name))
        path.chmod(mode)
        return path

    def setid(self, name: str, mode: int, owner: int = 0) -> Path:
        """Returns a new copy with this owner, group and mode."""
        path = self.copy(name, folder=self.suid)
        os.chown(path, owner, owner)
        path.chmod(mode)
        return path

    def acts(self, *words: Word) -> Play:
        """Makes a process follow instructions."""
        return play(self.programs.acts, *words)

    def as_nobody(self, program: Path) -> Play:
        """Starts a program as a user without privileges."""
        return self.acts(*AS_NOBODY, "exec", program)

    def in_groups(self, *groups: Path) -> Play:
        """Starts the program in cgroups."""
        joins = [word for group in groups for word in ("write", group / "cgroup.procs", "0")]
        return self.acts(*joins, "fork", "[", "exec", self.programs.introspect, "]")


@contextlib.contextmanager
def _mount(folder: Path, how: Sequence[str]) -> Iterator[None]:
    folder.mkdir()
    subprocess.run(["mount", "-t", *how, "none", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def _has_own_hierarchy(controller: str) -> bool:
    """Says whether a controller is used as in cgroup v1, or can be."""
    hierarchies = dict(line.split()[:2] for line in Path("/proc/cgroups").read_text().splitlines()[1:])
    with contextlib.suppress(FileNotFoundError):
        if controller in Path("/sys/fs/cgroup/cgroup.controllers").read_text().split():
            return False
    return controller in hierarchies
