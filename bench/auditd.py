"""auditd with one rule for execs, started for a while beside whatever configuration the host has.

Audit is the host's: it has one daemon, one set of rules, one switch. So it is left alone
where it is in use, and what was changed is put back. One thing cannot be: once audit was
switched on, the kernel takes each later process through its slow path at every system call
until the host is booted again, audit on or off (audit_ever_enabled, kernel/audit.c). That is
seen as 200 ns a call, so it is for the user to ask for.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
_DAEMON, _CONTROL = (shutil.which(name, path=_PATH) for name in ("auditd", "auditctl"))
WISH = "BENCH_AUDITD"
"""Set to 1 by those who want it, see above."""
# New processes are then as they were before audit was ever switched on.
_ASIDE = ("never,task",)
_RULE = ("always,exit", "-F", "arch=b64", "-S", "execve,execveat", "-k", "execaudit-bench")
# What Debian's own rules set; the kernel's default of 64 records would be lost at once.
_BACKLOG = "8192"
# As Debian's, but for where it is, and that one file holds a whole run.
_SETTINGS = """\
local_events = yes
write_logs = yes
log_file = {log}
log_group = root
log_format = ENRICHED
flush = INCREMENTAL_ASYNC
freq = 50
max_log_file = 4096
num_logs = 0
max_log_file_action = IGNORE
priority_boost = 4
name_format = NONE
space_left = 75
space_left_action = IGNORE
admin_space_left = 50
admin_space_left_action = IGNORE
disk_full_action = IGNORE
disk_error_action = IGNORE
plugin_dir = {plugins}
"""
_PATIENCE_SECONDS = 10


def why_not() -> str | None:
    """Returns why auditd is left out, with what to do; None when it can be started."""
    if os.environ.get(WISH) != "1":
        return f"set {WISH}=1 where it is all right that system calls are slower until the next boot"
    if _DAEMON is None or _CONTROL is None:
        return "auditd is not installed: run `apt-get install auditd`, then stop it"
    state = status()
    if not state:
        return "this kernel has no audit, or this is a container"
    if state["pid"] or rules() != "No rules":
        return "audit is in use here (see `auditctl -s` and `auditctl -l`): stop it, and take its rules out"
    if state["enabled"] > 1:
        return "the host's audit rules are locked until it is booted again"
    return None


def _control(*arguments: str) -> str:
    done = subprocess.run([_CONTROL or "", *arguments], capture_output=True, text=True, check=False)
    return done.stdout


def status() -> dict[str, int]:
    """Returns the kernel's audit state, its numbers by name; empty where there is none."""
    words = (line.split() for line in _control("-s").splitlines())
    return {line[0]: int(line[1]) for line in words if len(line) == 2 and line[1].isdigit()}  # noqa: PLR2004


def rules() -> str:
    """Returns the rules as auditctl lists them."""
    return _control("-l").strip()


@contextlib.contextmanager
def set_aside() -> Iterator[None]:
    """Keeps audit away from what the body starts, but for what is in `auditing`."""
    _control("-a", *_ASIDE)
    try:
        yield
    finally:
        _control("-d", *_ASIDE)


@contextlib.contextmanager
def auditing(folder: Path) -> Iterator[tuple[int, Path]]:
    """Runs auditd with a rule for execs, in `set_aside`. Yields its pid and its log; puts everything back."""
    settings, plugins, log = folder / "auditd", folder / "plugins", folder / "audit.log"
    settings.mkdir()
    plugins.mkdir()
    (settings / "auditd.conf").write_text(_SETTINGS.format(log=log, plugins=plugins), encoding="utf-8")
    before = status()
    said = folder / "said"
    with said.open("wb") as output:
        daemon = subprocess.Popen(
            [_DAEMON or "", "-n", "-c", settings, "-s", "nochange"], stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while status()["pid"] != daemon.pid:
            if daemon.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"auditd does not start; it says why to the system log. {said.read_text()}")
            time.sleep(0.05)
        _control("-d", *_ASIDE)
        _control("-b", _BACKLOG)
        _control("-a", *_RULE)
        _control("-e", "1")
        yield daemon.pid, log
    finally:
        _control("-a", *_ASIDE)
        _control("-d", *_RULE)
        _control("-e", str(before["enabled"]))
        daemon.send_signal(signal.SIGTERM)
        daemon.wait()
        _control("-b", str(before["backlog_limit"]))
