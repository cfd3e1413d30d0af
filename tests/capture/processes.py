"""Processes as scans of /proc find them, before and after the hooks are attached."""

from __future__ import annotations

from typing import Any

from execaudit.system.procfs import Running

MS = 1_000_000
TICKS = 100
TICK_NS = 10 * MS
ATTACHED_NS = 1_000_000 * MS
BEFORE_NS = ATTACHED_NS - 50 * MS
AFTER_NS = ATTACHED_NS + 50 * MS
WALL_OFFSET_NS = 1_795_000_000 * 1000 * MS
OLD = 5000  # ticks; long before
UNTIL_ATTACHED = ATTACHED_NS // TICK_NS


def process(pid: int, ppid: int = 1, *, started: int = OLD, **facts: Any) -> Running:  # noqa: ANN401  # any field
    """Returns a process as a scan before the attaching finds it."""
    fields: dict[str, Any] = {
        "kernel_thread": False,
        "read_from_ns": BEFORE_NS,
        "read_to_ns": BEFORE_NS + MS,
        "uid": 1000,
        "euid": 0,
        "gid": 1001,
        "auid": None,
        "session": None,
        "tty": b"pts/1",
        "comm": b"sh",
        "cgroup": b"/user.slice",
        "exe": b"/bin/sh",
        "inode": 11,
        "device": 22,
        "nlink": 1,
        "cwd": b"/home",
        "root": b"/srv/jail",
        "mnt_ns": 4026532000,
        "argv": b"sh\0-l\0",
    }
    return Running(pid=pid, ppid=ppid, started_ticks=started, **{**fields, **facts})


def later(pid: int, ppid: int = 1, **facts: Any) -> Running:  # noqa: ANN401  # any field
    """Returns a process as a scan after the attaching finds it."""
    return process(pid, ppid, **{"read_from_ns": AFTER_NS, "read_to_ns": AFTER_NS + MS, **facts})


def looks(*running: Running) -> dict[int, Running]:
    """Returns a scan."""
    return {one.pid: one for one in running}
