"""Mount tracefs for this process alone if it is not mounted: attaching to system calls needs it.

The process gets a mount namespace of its own. Other processes do not see the mount, and it ends with this
process. This process sees mounts that others make later.
"""

from __future__ import annotations

import ctypes

from execaudit.capture.probe_options import TRACEFS
from execaudit.system.libc import LIBC, check

# include/uapi/linux/sched.h and mount.h
_CLONE_NEWNS = 0x00020000
_NOSUID, _NODEV, _NOEXEC, _REC, _SLAVE = 2, 4, 8, 0x4000, 1 << 19


def mount_if_missing() -> bool:
    """Mounts tracefs if it is not mounted and this process may do so. Returns whether it did.

    This acts on the calling thread, so there may be no other thread yet.
    """
    if not _is_missing():
        return False
    try:
        check(LIBC.unshare(_CLONE_NEWNS))
        # Before the mount, which would otherwise be made outside too. It fails if / is not a mount (chroot).
        _mount(None, "/", None, _REC | _SLAVE)
        _mount("tracefs", str(TRACEFS[0]), "tracefs", _NOSUID | _NODEV | _NOEXEC)
    except OSError:
        return False
    return True


def _is_missing() -> bool:
    try:
        return not any((folder / "events").is_dir() for folder in TRACEFS)
    except OSError:  # it is there, but closed to this user
        return False


def _mount(source: str | None, target: str, kind: str | None, flags: int) -> None:
    names = (None if name is None else name.encode() for name in (source, target, kind))
    check(LIBC.mount(*names, ctypes.c_ulong(flags), None))
