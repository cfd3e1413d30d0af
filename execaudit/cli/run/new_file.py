"""Write a file that appears under its name when it is complete and on the disk, or not at all."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from execaudit.database import files
from execaudit.errors import ExecauditError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Out(NamedTuple):
    """What is written to."""

    file: IO[bytes]
    encoding: str
    is_new: bool
    """It is a file that is made now."""


def refuse_existing(output: Path, *beside: Path) -> None:
    """Raises ExecauditError if a file would be replaced."""
    if output.exists() and not output.is_file():
        return
    for path in (output, *beside):
        if path.exists() and not is_standard_output(path):
            raise _is_there(path)


def _is_there(path: Path) -> ExecauditError:
    return ExecauditError(f"{path} is there already", fix="name another file, or replace it with --force")


@contextlib.contextmanager
def opened(output: Path | None, *, force: bool) -> Iterator[Out]:
    """Opens what is written to; a regular file takes its name when all is written."""
    if output is None or is_standard_output(output):
        sys.stdout.flush()
        yield Out(sys.stdout.buffer, sys.stdout.encoding, is_new=False)
        return
    try:
        if output.exists() and not output.is_file():
            with _binary_file(output, 0) as file:
                yield Out(file, "utf-8", is_new=False)
        else:
            # Through a link, which stays one.
            with _named_at_the_end(Path(os.path.realpath(output)), force=force) as file:
                yield Out(file, "utf-8", is_new=True)
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise ExecauditError(f"cannot write {output}: {exc.strerror}", fix="name another file") from exc


def is_standard_output(path: Path) -> bool:
    """Says whether a path such as /dev/stdout names what is standard output already."""
    try:
        return os.path.samestat(path.stat(), os.fstat(sys.stdout.fileno()))
    except OSError:
        return False


@contextlib.contextmanager
def _named_at_the_end(path: Path, *, force: bool) -> Iterator[IO[bytes]]:
    """Opens a new file that gets its name when it is on the disk, or vanishes with an exception."""
    new = path.with_name(f".execaudit-{os.urandom(8).hex()}")
    try:
        with _binary_file(new, os.O_CREAT | os.O_EXCL) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _name(new, path, force=force)
    finally:
        new.unlink(missing_ok=True)


def _name(new: Path, path: Path, *, force: bool) -> None:
    """Gives a file its name, on the disk too. Raises ExecauditError if another got that name meanwhile."""
    if not force and path.exists():
        raise _is_there(path)
    new.replace(path)
    files.sync(path.parent)


def _binary_file(path: Path, flags: int) -> IO[bytes]:
    # Command lines hold secrets: others do not read them.
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CLOEXEC | flags, 0o640), "wb")
