"""Start processes from each other in every way: see forest.c."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.truth.sizes import sized

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.truth.programs import Programs

ROOTS = ("a", "b")
NODES = sized(600)
"""Below each root."""
BRIEF = sized(2500)
"""How many parents below each root end before their child has started a program."""
EXECS = len(ROOTS) * (1 + NODES + 2 * BRIEF)
_SEED = 20_261_122
_PATIENCE = 300
_PID_MAX = Path("/proc/sys/kernel/pid_max")
_FIRST_PID = 300  # after the largest pid, the kernel goes on with this one
_ROOM = max(400, sized(1700))


class Node(NamedTuple):
    """One exec of the forest, or one that failed."""

    path: str
    pid: int
    ppid: int | None
    """None: a race decided it."""
    tid: int | None
    """The thread that called execve; None: not known."""
    end: str
    """`exit-N`, `signal-N` or `replaced`; for a failed exec, `failed`."""

    @property
    def parent(self) -> str:
        """The path of its parent; empty for a root."""
        return self.path.rpartition(".")[0]

    @property
    def way(self) -> str:
        """How it was started: the letter in forest.c; for a root, its name."""
        return self.path.rpartition(".")[2][0]


class Forest(NamedTuple):
    """The processes of a forest."""

    roots: dict[str, int]
    """Their pids."""
    nodes: list[Node]
    failed: list[Node]


def grow(programs: Programs, folder: Path) -> Forest:
    """Starts the processes, and waits until the last one has ended."""
    log = folder / "forest.log"
    with log.open("ab") as out:
        roots = {
            name: subprocess.Popen(
                [programs.forest, name, "0", str(_SEED), str(NODES), str(BRIEF)], stdout=out
            )
            for name in ROOTS
        }
        assert {name: root.wait(_PATIENCE) for name, root in roots.items()} == dict.fromkeys(ROOTS, 0)
    lines = [line.split() for line in log.read_text().splitlines()]
    return Forest(
        {name: root.pid for name, root in roots.items()},
        [_node(fields) for what, *fields in lines if what == "node"],
        [_node([*fields, "failed"]) for what, *fields in lines if what == "fail"],
    )


def _node(fields: list[str]) -> Node:
    path, pid, ppid, tid, end = fields
    return Node(path, int(pid), int(ppid) or None, int(tid) or None, end)


@contextlib.contextmanager
def scarce_pids() -> Iterator[None]:
    """Gives the host so few pids that each is soon used again, but enough for the other processes."""
    kept = _PID_MAX.read_text()
    tasks = len(list(Path("/proc").glob("[0-9]*/task/[0-9]*")))
    _PID_MAX.write_text(str(_FIRST_PID + tasks + _ROOM))
    try:
        yield
    finally:
        _PID_MAX.write_text(kept)
