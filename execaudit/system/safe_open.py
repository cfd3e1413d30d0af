"""Open a file for writing in a folder where another user may have put a link or a file of their own."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from execaudit.errors import ExecauditError

if TYPE_CHECKING:
    from pathlib import Path

_MOST_LINKS = 8  # of the path itself; the kernel allows 40
_ROOT = 0


class UnsafeFileError(ExecauditError):
    """The file at the path belongs to another user, or is not a regular file."""


def open_safely(path: Path, flags: int, mode: int, *, trust_folder: bool = False) -> int:
    """Opens a file with these flags, or makes it. Returns its descriptor.

    It must be a regular file that belongs to this user or root; with `trust_folder`, the owner of its folder
    will do too. A symbolic link is followed if it belongs to one of them. A file with several hard links is
    accepted only in a folder that nobody else can write to. Raises OSError, UnsafeFileError.
    """
    flags |= os.O_CLOEXEC
    for _ in range(_MOST_LINKS):
        try:
            handle = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            try:
                return os.open(path, flags | os.O_CREAT | os.O_EXCL, mode)
            except FileExistsError:
                continue  # another process has made it meanwhile: check that file
        try:
            found, owners = os.fstat(handle), {os.geteuid(), _ROOT}
            if trust_folder:
                owners.add(path.parent.stat().st_uid)
            if not stat.S_ISLNK(found.st_mode):
                _check(path, found, owners)
                # Opens the file that was checked, even if the path names another one by now. It fails on a
                # read-only mount, as it should.
                return os.open(f"/proc/self/fd/{handle}", flags)
            if found.st_uid not in owners:
                raise UnsafeFileError(
                    f"{path} is a symbolic link of another user (uid {found.st_uid})",
                    fix="remove it, or name another file",
                )
            path = path.parent / os.readlink("", dir_fd=handle)
        finally:
            os.close(handle)
    raise UnsafeFileError(f"{path} leads through too many symbolic links", fix="name the file itself")


def _check(path: Path, found: os.stat_result, owners: set[int]) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        raise UnsafeFileError(f"{path} is no regular file", fix="name another one")
    if found.st_uid not in owners:
        raise UnsafeFileError(
            f"{path} belongs to another user (uid {found.st_uid})", fix="remove it, or name another file"
        )
    if found.st_nlink > 1 and not _is_private(path.parent):
        raise UnsafeFileError(
            f"{path} is a hard link in a folder of others", fix="remove it, or name another file"
        )


def _is_private(folder: Path) -> bool:
    """Says whether only this user and root can make files in a folder."""
    found = folder.stat()
    return found.st_uid in {os.geteuid(), _ROOT} and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
