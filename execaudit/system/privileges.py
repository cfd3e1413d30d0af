"""Privileges of the recorder: the few that it needs to start, and none while it records.

First it calls `become_owner`: if root started it, it continues as the user who owns the database's folder,
with the few capabilities that loading the probe needs. So all files that it makes belong to that user. The
child that loads the probe calls `become_root_again`. When everything is open and attached, the recorder
calls `drop_all`. These functions act on the calling thread, so there may be no other thread yet.
"""

from __future__ import annotations

import contextlib
import ctypes
import grp
import os
import pwd
import resource
import struct
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from execaudit.errors import ExecauditError
from execaudit.system.libc import LIBC, check

if TYPE_CHECKING:
    from collections.abc import Iterable

USER = "execaudit"
"""The service's user, made by packaging/execaudit.sysusers."""

# include/uapi/linux/capability.h
_DAC_OVERRIDE, _DAC_READ_SEARCH, _SETPCAP, _SYS_PTRACE, _SYS_ADMIN = 1, 2, 8, 19, 21
_PERFMON, _BPF = 38, 39
# BPF and PERFMON load programs that read kernel memory. SYS_ADMIN opens perf events where nothing less may.
# DAC_READ_SEARCH reads tracefs, which belongs to root. SYS_PTRACE reads the exe and cwd of other users'
# processes. SETPCAP gives up the bounding set. (Kprobes need no other capability, but only root can attach
# them, because kprobe_events belongs to root: see become_root_again.)
_TO_START = (_DAC_READ_SEARCH, _SETPCAP, _SYS_PTRACE, _SYS_ADMIN, _PERFMON, _BPF)
# include/uapi/linux/prctl.h
_SET_KEEPCAPS, _CAPBSET_DROP, _SET_NO_NEW_PRIVS, _CAP_AMBIENT, _AMBIENT_CLEAR = 8, 24, 38, 47, 4
# _LINUX_CAPABILITY_VERSION_3: two sets of 32 bits, each effective, permitted, inheritable.
_VERSION_3 = 0x20080522
_HEADER, _DATA = struct.Struct("=Ii"), struct.Struct("=6I")


class Owner(NamedTuple):
    """The user who owns the files that the recorder writes."""

    name: str
    uid: int
    gid: int


def effective() -> int:
    """Returns the effective capabilities of this process, a bit each."""
    return _held("CapEff")


def lacking(held: int) -> list[str]:
    """Returns the names of the capabilities that loading the probe needs and `held` lacks."""
    if held >> _SYS_ADMIN & 1:
        return []
    return [name for bit, name in ((_BPF, "CAP_BPF"), (_PERFMON, "CAP_PERFMON")) if not held >> bit & 1]


def owner_of(folder: Path) -> Owner | None:
    """Returns the service's user if there is one and the folder belongs to it, else None."""
    try:
        found = pwd.getpwnam(USER)
        if folder.stat().st_uid == found.pw_uid:
            return Owner(USER, found.pw_uid, found.pw_gid)
    except (KeyError, OSError):
        pass
    return None


def become_owner(folder: Path) -> Owner | None:
    """Continues as the service's user, if root started this process and the folder belongs to that user.

    The process keeps the capabilities that the start needs; root stays the saved user until `drop_all`.
    Returns the service's user, or None when nothing was changed. Raises ExecauditError.
    """
    owner = owner_of(folder) if os.geteuid() == 0 else None
    if owner is None or owner.uid == 0:
        return None
    kept = sum(1 << bit for bit in _TO_START) & _held("CapPrm")
    # Before Linux 5.11, BPF's maps count against this limit, and BCC could not raise it any more.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    try:
        _prctl(_SET_KEEPCAPS, 1)
        os.setgroups([group.gr_gid for group in grp.getgrall() if owner.name in group.gr_mem])
        os.setresgid(owner.gid, owner.gid, owner.gid)
        os.setresuid(owner.uid, owner.uid, 0)
        _capset(effective=kept, permitted=kept)
    except OSError as exc:
        raise ExecauditError(
            f"cannot become the user {owner.name}: {exc.strerror}",
            fix="start execaudit.service, or name a --db in a folder of root",
        ) from exc
    return owner


def become_root_again() -> None:
    """In the child that loads the probe: makes root the user again, if `become_owner` changed it.

    Its capabilities do not change. The owner stays its saved user: otherwise the parent, which runs as the
    owner, could not kill it.
    """
    _, user, saved = os.getresuid()
    if user != 0 and saved == 0:
        os.setresuid(0, 0, user)


def drop_all(written: Iterable[Path]) -> None:
    """Gives up every capability and root for good, for this process and all programs that it may run.

    Exception: if it could not write to `written` then, it keeps CAP_DAC_OVERRIDE. These files and folders
    belong to another user, and root may write there only with this capability.
    """
    _prctl(_SET_NO_NEW_PRIVS, 1)
    _prctl(_CAP_AMBIENT, _AMBIENT_CLEAR)
    if effective() >> _SETPCAP & 1:
        for bit in range(_last_capability() + 1):
            _prctl(_CAPBSET_DROP, bit)
    _, user, saved = os.getresuid()
    if saved != user:  # after become_owner; under systemd the unit's filter forbids this call
        os.setresuid(user, user, user)
    spared = 1 << _DAC_OVERRIDE & _held("CapPrm")
    _capset(effective=0, permitted=spared)
    if all(os.access(path, os.W_OK, effective_ids=True) for path in written):
        spared = 0
    _capset(effective=spared, permitted=spared)


def _held(which: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == which:
            return int(value, 16)
    return 0


def _last_capability() -> int:
    return int(Path("/proc/sys/kernel/cap_last_cap").read_text(encoding="ascii"))


def _prctl(option: int, value: int) -> None:
    check(LIBC.prctl(option, ctypes.c_ulong(value), *(ctypes.c_ulong(0) for _ in range(3))))


def _capset(*, effective: int, permitted: int) -> None:
    low = 0xFFFFFFFF
    data = _DATA.pack(effective & low, permitted & low, 0, effective >> 32, permitted >> 32, 0)
    check(LIBC.capset(_HEADER.pack(_VERSION_3, 0), data))
