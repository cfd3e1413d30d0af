"""A small history with lineage: programs that ran already, a login, a build, and replaced programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit.enums import Kind
from tests.histories import make_event, make_exit, make_gap, make_history

if TYPE_CHECKING:
    from pathlib import Path

    from execaudit.event import ExecEvent


class Family(NamedTuple):
    """A history of a family, and its members by name."""

    path: Path
    members: dict[str, ExecEvent]

    def id_of(self, name: str) -> str:
        """Returns the id of a member."""
        return self.members[name].id


def born(
    parent: ExecEvent | None,
    *arguments: bytes,
    replaces: bool = False,
    **overrides: Any,  # noqa: ANN401  # any field
) -> ExecEvent:
    """Returns an exec that another led to: as a child, or in the same process."""
    name = arguments[0].removeprefix(b"-").rpartition(b"/")[2]
    image = arguments[0] if arguments[0].startswith(b"/") else b"/usr/bin/" + name
    fields: dict[str, Any] = {
        "comm": arguments[0][:15],
        "replaces": replaces,
        "filename": image,
        "exe": image,
    }
    if parent is not None:
        fields |= {
            "parent": parent.key,
            "parent_comm": parent.launch.parent_comm if replaces else parent.launch.comm,
            "ppid": parent.ppid if replaces else parent.pid,
        }
        if replaces:
            fields["pid"] = parent.pid
    return make_event(*arguments, **{**fields, **overrides})


def make_family(path: Path) -> Family:
    """Stores the family. Pid 911 was three programs, one attempt, and later a stranger."""
    alice: dict[str, Any] = {"user": "alice", "uid": 1000}
    init = born(None, b"/sbin/init", pid=1, ppid=0, kind=Kind.SNAPSHOT, comm=b"systemd")
    sshd = born(init, b"sshd", pid=812, kind=Kind.SNAPSHOT)
    bash = born(sshd, b"-bash", seconds=3, pid=900, **alice)
    make = born(bash, b"make", b"-j2", seconds=4, pid=910, **alice)
    sh = born(make, b"sh", b"-c", b"gcc -c x.c", seconds=5, pid=911, **alice)
    mkdir = born(sh, b"mkdir", b"out", seconds=5.1, pid=912, **alice)
    attempt = born(
        sh, b"gcc", b"-c", b"x.c", seconds=5.2, pid=911, ppid=910, parent_comm=b"make",
        kind=Kind.FAILED, errno=2, filename=b"/opt/gcc", **alice,
    )  # fmt: skip
    gcc = born(sh, b"gcc", b"-c", b"x.c", replaces=True, seconds=5.3, **alice)
    cc1 = born(gcc, b"cc1", b"x.c", seconds=5.4, pid=913, **alice)
    ls = born(make, b"ls", seconds=6, pid=914, **alice)
    stranger = born(None, b"cron", seconds=7, pid=911, ppid=77, parent_comm=b"crond")
    members = {
        "init": init, "sshd": sshd, "bash": bash, "make": make, "sh": sh, "mkdir": mkdir, "attempt": attempt,
        "gcc": gcc, "cc1": cc1, "ls": ls, "stranger": stranger,
    }  # fmt: skip
    exits = [
        make_exit(cc1.key, 5.9, 11),
        make_exit(gcc.key, 5.95, 256),
        make_exit(mkdir.key, 5.102),
        make_exit(ls.key, 6.002),
        make_exit(make.key, 67.5, 512),
    ]
    gaps = [make_gap(5.6, 5.7, count=3), make_gap(200, 201, count=4)]
    return Family(make_history(path, members.values(), gaps, exits), members)
