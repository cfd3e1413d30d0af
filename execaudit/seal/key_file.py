"""The file with the sealing key: DB.seal, mode 0600, beside the database.

It is written after each commit and not waited for: after a power cut it may be older than the database, and
then the key is moved on to the right epoch. The state stands there twice, so that one that was half written
is no loss. Earlier states are overwritten in place; a file system or a disk that copies on write keeps them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import struct
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from execaudit.errors import StoreError
from execaudit.seal.keys import CHAIN_BYTES, KEY_BYTES, LEVELS, SealingKey

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAGIC = b"execaudit-seal-1"
_HEAD = struct.Struct(f"<{len(_MAGIC)}s{CHAIN_BYTES}sQB")
_SLOT_BYTES = 2048
_SUM_BYTES = 16
_NONE = bytes(KEY_BYTES)


class LostKeyError(StoreError):
    """There is no key in the file, or none that can be read."""


def path_of(database: Path) -> Path:
    """Returns the path of the key file: the same one for every symbolic link to the database."""
    real = Path(os.path.realpath(database))
    return real.with_name(f"{real.name}.seal")


class KeyFile:
    """The file, locked by this process while a transaction is sealed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def exists(self) -> bool:
        """Says whether there is one."""
        return os.path.lexists(self._path)

    @contextlib.contextmanager
    def locked(self) -> Iterator[int]:
        """Opens it, and keeps other processes of ours from using it. Raises LostKeyError, StoreError."""
        while True:
            handle = self._open()
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                if self._is_at_path(handle):
                    yield handle
                    return
                # Another process has put a new key in its place meanwhile, and wiped this one.
            finally:
                os.close(handle)

    def _open(self) -> int:
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError as exc:
            raise LostKeyError(
                f"the sealing key {self._path} is gone", fix="run `execaudit seal setup --new-key`"
            ) from exc
        except OSError as exc:
            raise StoreError(
                f"cannot open the sealing key {self._path}: {exc.strerror}",
                fix="run it as the user who records, or as root",
            ) from exc
        if stat.S_ISREG(os.fstat(handle).st_mode):
            return handle
        os.close(handle)
        raise LostKeyError(
            f"the sealing key {self._path} is no file",
            fix="remove it, and run `execaudit seal setup --new-key`",
        )

    def _is_at_path(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), self._path.lstat())
        except FileNotFoundError:
            return False

    def read(self, handle: int) -> SealingKey:
        """Returns the key. Raises LostKeyError."""
        raw = os.pread(handle, 2 * _SLOT_BYTES, 0)
        found = [_from_bytes(raw[at : at + _SLOT_BYTES]) for at in (0, _SLOT_BYTES)]
        keys = [key for key in found if key is not None]
        if not keys:
            raise LostKeyError(
                f"the sealing key {self._path} is damaged", fix="run `execaudit seal setup --new-key`"
            )
        return max(keys, key=lambda key: key.epoch)

    def write(self, handle: int, key: SealingKey) -> None:
        """Replaces the key. Raises OSError."""
        slot = _to_bytes(key)
        os.pwrite(handle, slot, 0)
        os.pwrite(handle, slot, _SLOT_BYTES)

    def replace(self, key: SealingKey, *, owner: os.stat_result) -> None:
        """Makes a new file in the place of another, of which nothing stays. Raises StoreError as make()."""
        try:
            with self.locked() as handle:
                self.make(key, owner=owner)
                # Nobody uses it any more: see locked().
                with contextlib.suppress(OSError):
                    os.pwrite(handle, bytes(2 * _SLOT_BYTES), 0)
                    os.fsync(handle)
        except LostKeyError:
            self.make(key, owner=owner)

    def make(self, key: SealingKey, *, owner: os.stat_result) -> None:
        """Makes the file, or a new one in its place: `owner` is whose database it is. Raises StoreError."""
        new = self._path.with_name(f"{self._path.name}.new")
        try:
            with contextlib.suppress(FileNotFoundError):
                new.unlink()
            handle = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(handle, owner.st_uid, owner.st_gid)
                self.write(handle, key)
                os.fsync(handle)
            finally:
                os.close(handle)
            new.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as exc:
            raise StoreError(
                f"cannot write the sealing key {self._path}: {exc.strerror}", fix="run it as root"
            ) from exc


def _to_bytes(key: SealingKey) -> bytes:
    raw = _HEAD.pack(_MAGIC, key.chain, key.epoch, len(key.nodes))
    raw += b"".join(key.nodes.get(level, _NONE) for level in range(LEVELS + 1))
    raw += sum(1 << level for level in key.nodes).to_bytes(8, "little")
    return (raw + _sum(raw)).ljust(_SLOT_BYTES, b"\0")


def _from_bytes(slot: bytes) -> SealingKey | None:
    """Returns the key in a slot; None if it is not whole."""
    size = _HEAD.size + (LEVELS + 1) * KEY_BYTES + 8
    raw, check = slot[:size], slot[size : size + _SUM_BYTES]
    if len(check) != _SUM_BYTES or check != _sum(raw):
        return None
    magic, chain, epoch, count = _HEAD.unpack_from(raw)
    levels = int.from_bytes(raw[-8:], "little")
    nodes = {
        level: raw[_HEAD.size + level * KEY_BYTES : _HEAD.size + (level + 1) * KEY_BYTES]
        for level in range(LEVELS + 1)
        if levels >> level & 1
    }
    return SealingKey(chain, epoch, nodes) if magic == _MAGIC and len(nodes) == count else None


def _sum(raw: bytes) -> bytes:
    return blake2b(raw, digest_size=_SUM_BYTES, person=b"execaudit.file").digest()
