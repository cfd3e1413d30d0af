"""What `execaudit record` refuses before it makes a file, and the command that cannot be run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from execaudit.errors import ConfigError, ExecauditError, ProbeError
from execaudit.system import clock, privileges

NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""The exit statuses of a shell that cannot run a command."""


class CommandError(ExecauditError):
    """The command to record cannot be run; the exit status is a shell's."""

    def __init__(self, what: str, exit_status: int, *, fix: str) -> None:
        super().__init__(what, fix=fix)
        self.exit_status = exit_status


def check_privileges() -> None:
    """Raises ProbeError without the capabilities that recording needs."""
    if missing := privileges.lacking(privileges.effective()):
        raise ProbeError(
            f"recording needs root, or {' and '.join(missing)}",
            fix="run it with sudo, or start execaudit.service",
        )


def check_clock() -> None:
    """Raises ProbeError in a time namespace: the kernel stamps execs with its own boot clock."""
    if seconds := clock.namespace_offset_s():
        raise ProbeError(
            f"this is a time namespace, whose boot clock is {abs(seconds)} s "
            f"{'ahead of' if seconds > 0 else 'behind'} the kernel's",
            fix="record outside of it, with `nsenter --time=/proc/1/ns/time execaudit record`",
        )


def check_command(name: str) -> None:
    """Raises CommandError for a command that cannot be run, before any file is made."""
    if shutil.which(name) is not None:
        return
    found = os.path.exists(name) if os.sep in name else shutil.which(name, os.F_OK) is not None  # noqa: PTH110  # of text
    if found:
        raise CommandError(
            f"cannot run {name}: you may not execute it", NOT_EXECUTABLE, fix="check its permission"
        )
    raise CommandError(f"cannot run {name}: there is no such command", NOT_FOUND, fix="check its name")


def check_json_log(json_log: str | None, database: Path) -> None:
    """Raises ExecauditError for a log that cannot be written, before any file is made."""
    if json_log in (None, "-"):
        return
    path = Path(json_log)
    fix = "name another file with --json-log"
    if os.path.realpath(path) == os.path.realpath(database):
        raise ConfigError(f"{path} is the database", fix=fix)
    if path.is_dir() or not path.parent.is_dir():
        why = "it is a folder" if path.is_dir() else f"the folder {path.parent} does not exist"
        raise ExecauditError(f"cannot write the JSON log {path}: {why}", fix=fix)
