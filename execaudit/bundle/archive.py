"""Write and read the zip file of a bundle. What is read may come from anybody: nothing is extracted."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import struct
import zipfile
import zlib
from hashlib import sha256
from typing import IO, TYPE_CHECKING, NamedTuple

from execaudit.bundle import layout
from execaudit.errors import DamagedStoreError, StoreError
from execaudit.output.json_lines import json_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PIECE = 64 * 1024
_LONGEST_MANIFEST, _LONGEST_ABOUT = 64 * 1024, 16 * 1024 * 1024
# The list of the files of a zip file is read as a whole: ours has a few hundred bytes.
_MOST_AT_ONCE = 1024 * 1024
# The beginning of what zip knows as time, so that the same content makes the same file.
_TIME = (1980, 1, 1, 0, 0, 0)
_UNIX, _MODE = 3, (stat.S_IFREG | 0o640) << 16
_ENCRYPTED = 1
_WORD = "execaudit-bundle"


class Entry(NamedTuple):
    """What the manifest says of a file."""

    bytes: int
    sha256: str


class Writer:
    """Writes the files of a bundle, one after the other, and their manifest."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._zip = archive
        self._entries: dict[str, Entry] = {}

    @contextlib.contextmanager
    def file(self, name: str) -> Iterator[Counted]:
        """Opens one of layout.FILES for what is to be written to it."""
        info = zipfile.ZipInfo(name, _TIME)
        info.compress_type, info.create_system, info.external_attr = zipfile.ZIP_DEFLATED, _UNIX, _MODE
        with self._zip.open(info, "w", force_zip64=True) as file:
            counted = Counted(file)
            yield counted
        self._entries[name] = counted.entry

    def finish(self) -> None:
        """Writes the manifest."""
        with self.file(layout.MANIFEST) as file:
            file.write(_manifest(self._entries))


@contextlib.contextmanager
def writing(file: IO[bytes]) -> Iterator[Writer]:
    """Writes a bundle; what it lacks is written at the end of the body."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        writer = Writer(archive)
        yield writer
        writer.finish()


class Counted:
    """Counts what passes through it, and hashes it."""

    def __init__(self, file: IO[bytes], *, most: int | None = None) -> None:
        """Raises ValueError where more than `most` bytes are read."""
        self._file, self._most = file, most
        self._hash, self._bytes = sha256(), 0

    @property
    def entry(self) -> Entry:
        """What the manifest has of all that passed."""
        return Entry(self._bytes, self._hash.hexdigest())

    def write(self, text: bytes) -> None:
        """Writes all of it."""
        self._file.write(text)
        self._count(text)

    def read(self) -> bytes:
        """Returns the next piece, b"" at the end. Raises ValueError."""
        with translated():
            piece = self._file.read(_PIECE)
        self._count(piece)
        return piece

    def _count(self, text: bytes) -> None:
        self._hash.update(text)
        self._bytes += len(text)
        if self._most is not None and self._bytes > self._most:
            raise ValueError("there is more of it than the manifest says")

    def lines(self, longest: int) -> Iterator[bytes]:
        """Yields the lines without their ends. Raises ValueError for one that is longer, or has no end."""
        parts: list[bytes] = []
        size = 0
        while piece := self.read():
            *whole, rest = piece.split(b"\n")
            for line in whole:
                parts.append(line)
                yield b"".join(parts)
                parts, size = [], 0
            parts.append(rest)
            size += len(rest)
            if size > longest:
                raise ValueError("a line is longer than any of ours")
        if size:
            raise ValueError("the last line has no end")


def _manifest(entries: dict[str, Entry]) -> bytes:
    files = {name: {"bytes": each.bytes, "sha256": each.sha256} for name, each in entries.items()}
    return f"{json_text({'bundle': _WORD, 'version': layout.VERSION, 'files': files})}\n".encode("ascii")


class Reader:
    """The files of a bundle."""

    def __init__(self, archive: zipfile.ZipFile, entries: dict[str, Entry]) -> None:
        self._zip, self.entries = archive, entries

    def size(self) -> int:
        """Returns how many bytes of lines there are, as the manifest says."""
        return self.entries[layout.RECORDS].bytes + self.entries[layout.SEALS].bytes

    @contextlib.contextmanager
    def file(self, name: str) -> Iterator[Counted]:
        """Opens one of layout.FILES. Raises ValueError, also from the body, if it cannot be read."""
        with translated(), self._zip.open(name) as file:
            yield Counted(file, most=self.entries[name].bytes)

    def about(self) -> tuple[bytes, Entry]:
        """Returns what is in about.json, and its entry. Raises ValueError."""
        if self.entries[layout.ABOUT].bytes > _LONGEST_ABOUT:
            raise ValueError("it is longer than any of ours")
        with self.file(layout.ABOUT) as file:
            text = b"".join(iter(file.read, b""))
        return text, file.entry


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Reader]:
    """Opens a bundle.

    Raises StoreError if the file cannot be read, or is no bundle; DamagedStoreError if it is none of ours.
    """
    with contextlib.ExitStack() as stack:
        try:
            # Without waiting: it may be a pipe that nobody writes to.
            file = stack.enter_context(
                os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb")
            )
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _foreign(path)
        except OSError as exc:
            raise StoreError(f"cannot read {path}: {exc.strerror}", fix="name another file") from exc
        try:
            with translated():
                archive = stack.enter_context(zipfile.ZipFile(_Bounded(file)))
        except ValueError as exc:
            raise _foreign(path) from exc
        yield Reader(archive, _checked(path, archive))


def _checked(path: Path, archive: zipfile.ZipFile) -> dict[str, Entry]:
    """Returns what the manifest says."""
    names = [each.filename for each in archive.infolist()]
    if layout.MANIFEST not in names:
        raise _foreign(path)
    usual = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    is_usual = all(
        each.compress_type in usual and not each.flag_bits & _ENCRYPTED for each in archive.infolist()
    )
    if names != list(layout.FILES) or not is_usual:
        raise DamagedStoreError(f"{path} has other files than a bundle", fix="ask who sent it for it anew")
    try:
        with translated(), archive.open(layout.MANIFEST) as file:
            return _entries(path, file.read(_LONGEST_MANIFEST))
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise DamagedStoreError(
            f"{layout.MANIFEST} in {path} makes no sense", fix="ask who sent it for it anew"
        ) from exc


def _entries(path: Path, text: bytes) -> dict[str, Entry]:
    """Returns what a manifest says. Raises StoreError for another version's, ValueError for nonsense."""
    raw = layout.json_value(text)
    if isinstance(raw, dict) and raw.get("bundle") == _WORD and raw.get("version") != layout.VERSION:
        raise StoreError(f"{path} was made by another version of execaudit", fix="install a newer one")
    entries = {name: Entry(each["bytes"], each["sha256"]) for name, each in raw["files"].items()}
    if _manifest(entries) != text or list(entries) != list(layout.FILES[:-1]):
        raise ValueError("it is not written as ours are")
    if any(type(each.bytes) is not int for each in entries.values()):
        raise ValueError("a size is no number")
    return entries


def _foreign(path: Path) -> StoreError:
    return StoreError(
        f"{path} is no bundle",
        fix="name a file that `execaudit export --bundle` wrote, or a history with --db",
    )


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raises ValueError for what goes wrong in a zip file that makes no sense."""
    try:
        yield
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        OverflowError,
    ) as exc:
        raise ValueError(f"the zip file is damaged ({exc})") from exc
    except OSError as exc:
        raise ValueError(f"the zip file cannot be read ({exc})") from exc


class _Bounded(io.BufferedIOBase):
    """A file of which nobody reads much at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = _MOST_AT_ONCE + 1 if size is None or size < 0 else size
        raw = self._file.read(min(wanted, _MOST_AT_ONCE + 1))
        if len(raw) > _MOST_AT_ONCE:
            raise zipfile.BadZipFile("its list of files is too long")
        return raw

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True
