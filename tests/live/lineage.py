"""Functions on recorded rows, for the tests of lineage, identity and ends."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.live.recording import text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.live.recording import Row
    from tests.truth.acts import Who

IDENTITY = (
    "pid", "ppid", "parent_comm", "uid", "euid", "gid", "auid", "session", "tty", "comm", "cgroup", "exe",
    "cwd", "inode", "device", "nlink",
)  # fmt: skip


def by_id(rows: Iterable[Row]) -> dict[str, Row]:
    """Returns rows by their ids."""
    return {row["id"]: row for row in rows}


def execs_of(rows: Iterable[Row], program: Path) -> list[Row]:
    """Returns the successful execs of a program, in order."""
    return [row for row in rows if row["kind"] == "exec" and row["exe"] == str(program)]


def identity_of(row: Row) -> dict[str, object]:
    """Returns the identity of a program in its record."""
    return {key: row[key] for key in IDENTITY}


def identity_seen(who: Who) -> dict[str, object]:
    """Returns the identity that a program printed itself, in the form of a record."""
    auid, session = who.login
    return {
        "pid": who.pid,
        "ppid": who.ppid,
        "parent_comm": text(who.parent_comm),
        "uid": who.uid,
        "euid": who.euid,
        "gid": who.gid,
        "auid": auid,
        "session": session,
        "tty": who.tty,
        "comm": text(who.comm),
        "cgroup": who.cgroup_path,
        "exe": text(who.exe),
        "cwd": text(who.cwd),
        "inode": str(who.inode),
        "device": f"{who.major}:{who.minor}",
        "nlink": who.nlink,
    }


def end_of(row: Row) -> tuple[object, object, object]:
    """Returns the end of a program in its record."""
    return row["ended"], row["exit_code"], row["exit_signal"]


def end_by_status(status: int) -> tuple[object, object, object]:
    """Returns the end of a program from the status that wait returned, in the form of a record."""
    if os.WIFEXITED(status):
        return "exited", os.WEXITSTATUS(status), None
    return "signaled", None, os.WTERMSIG(status)
