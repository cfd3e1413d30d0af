"""Open a file for appending where other users may have prepared the path."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from execaudit.errors import ExecauditError

if TYPE_CHECKING:
    from pathlib import Path

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
_MOST_LINKS = 8  # of the path itself; the kernel allows 40
_ROOT = 0


class UnsafeFileError(ExecauditError):
    """What is at the path was put there by somebody else, or is no file."""


def open_to_append(path: Path, mode: int) -> int:
    """Opens a file, or makes it. Returns its descriptor.

    It has to be a regular file of ours or of root. A symbolic link is followed if it is ours or root's;
    a file with further names is taken only in a folder that nobody else writes to. Raises OSError,
    UnsafeFileError.
    """
    for _ in range(_MOST_LINKS):
        try:
            handle = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            try:
                return os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, mode)
            except FileExistsError:
                continue  # somebody was faster: it is looked at as what was there
        try:
            found = os.fstat(handle)
            if not stat.S_ISLNK(found.st_mode):
                _check(path, found)
                # The same file, whatever has become of its path; a read-only mount and the like still say no.
                return os.open(f"/proc/self/fd/{handle}", _FLAGS)
            if not _is_trusted(found):
                raise UnsafeFileError(
                    f"{path} is a symbolic link of another user (uid {found.st_uid}): remove it, or name another file"
                )
            path = path.parent / os.readlink("", dir_fd=handle)
        finally:
            os.close(handle)
    raise UnsafeFileError(f"{path} leads through too many symbolic links: name the file itself")


def _check(path: Path, found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(21, os.strerror(21), str(path))
    if not stat.S_ISREG(found.st_mode):
        raise UnsafeFileError(f"{path} is no regular file: name another one")
    if not _is_trusted(found):
        raise UnsafeFileError(
            f"{path} belongs to another user (uid {found.st_uid}): remove it, or name another file"
        )
    if found.st_nlink > 1 and not _is_private(path.parent):
        raise UnsafeFileError(f"{path} is a hard link in a folder of others: remove it, or name another file")


def _is_trusted(found: os.stat_result) -> bool:
    return found.st_uid in {os.geteuid(), _ROOT}


def _is_private(folder: Path) -> bool:
    """Says whether only we and root can make names in a folder."""
    found = folder.stat()
    return _is_trusted(found) and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
