"""Run auditd with one rule for execs for a while, without changing the host's configuration.

A host has one audit daemon, one set of rules and one switch. So this does nothing where audit is in use, and
it undoes its changes. One change cannot be undone: after audit was switched on once, each new process takes
the kernel's slow path at every system call until the next boot, even if audit is off again
(audit_ever_enabled, kernel/audit.c). That costs 200 ns a call, so the user must ask for it.
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
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
_DAEMON, _CONTROL = (shutil.which(name, path=_PATH) for name in ("auditd", "auditctl"))
WISH = "BENCH_AUDITD"
"""The user sets this environment variable to 1 to compare with auditd, see above."""
# With this rule, audit ignores new processes, as before it was ever switched on.
_ASIDE = ("never,task",)
_RULES = (("always,exit", "-F", "arch=b64", "-S", "execve,execveat", "-k", "execaudit-bench"),)
# Debian's own rules set this. With the kernel's default of 64 records, most would be lost.
_BACKLOG = "8192"
# Debian's settings, with other paths, and a log that is large enough for a whole run.
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
    """Returns why auditd cannot be started, with the next step; None if it can."""
    if os.environ.get(WISH) != "1":
        return f"set {WISH}=1 where it is all right that system calls are slower until the next boot"
    if _DAEMON is None or _CONTROL is None:
        return "auditd is not installed: run `apt-get install auditd`, then stop it"
    state = status()
    if not state:
        return "this kernel has no audit, or this is a container"
    if state["pid"] or rules_listed() != "No rules":
        return "audit is in use here (see `auditctl -s` and `auditctl -l`): stop it, and take its rules out"
    if state["enabled"] > 1:
        return "the host's audit rules are locked until it is booted again"
    return None


def _control(*arguments: str) -> str:
    done = subprocess.run([_CONTROL or "", *arguments], capture_output=True, text=True, check=False)
    return done.stdout


def status() -> dict[str, int]:
    """Returns the numbers of the kernel's audit state by name; empty if the kernel has no audit."""
    words = (line.split() for line in _control("-s").splitlines())
    return {line[0]: int(line[1]) for line in words if len(line) == 2 and line[1].isdigit()}  # noqa: PLR2004


def rules_listed() -> str:
    """Returns the rules as auditctl lists them."""
    return _control("-l").strip()


def add(*rule: str) -> None:
    """Adds a rule as the last of its list."""
    _control("-a", *rule)


def remove(*rule: str) -> None:
    """Removes a rule."""
    _control("-d", *rule)


@contextlib.contextmanager
def set_aside() -> Iterator[None]:
    """Has audit ignore all processes that the body starts, except within `auditing`."""
    add(*_ASIDE)
    try:
        yield
    finally:
        remove(*_ASIDE)


@contextlib.contextmanager
def auditing(folder: Path, rules: Sequence[Sequence[str]] = _RULES) -> Iterator[tuple[int, Path]]:
    """Runs auditd with these rules, within `set_aside`. Yields its pid and log; undoes its changes."""
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
        remove(*_ASIDE)
        _control("-b", _BACKLOG)
        for rule in rules:
            add(*rule)
        _control("-e", "1")
        yield daemon.pid, log
    finally:
        add(*_ASIDE)
        for rule in rules:
            remove(*rule)
        _control("-e", str(before["enabled"]))
        daemon.send_signal(signal.SIGTERM)
        daemon.wait()
        _control("-b", str(before["backlog_limit"]))
