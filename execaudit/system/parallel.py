"""Have forked children work at parts side by side, and take what they make in the order of the parts."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import struct
import traceback
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TypeVar

from execaudit import errors
from execaudit.errors import ExecauditError
from execaudit.system import fork

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

_Part = TypeVar("_Part")

# How far a child may be ahead of what was taken from it: as much as the kernel gives a user.
_PIPE_BYTES = 1024 * 1024
# The kind, the number of items, the number of bytes that follow.
_HEADER = struct.Struct("=cQQ")
_BLOCK, _END, _ERROR, _BUG = b"p", b"e", b"x", b"b"


class Block(NamedTuple):
    """A part of what was made, or all of it."""

    items: int
    """How many are in it."""
    text: bytes


def in_order(
    parts: Sequence[_Part], work: Callable[[Sequence[_Part]], Iterator[Iterable[Block]]], *, children: int
) -> Generator[Block, None, None]:
    """Yields what `work`, in a child for its share of the parts, yields for each: for all in order.

    To be called while there is one thread. What a child has open of the caller's it must leave alone. Raises
    the ExecauditError that was raised in a child; RuntimeError for anything else, and when one was killed.
    """
    pids: list[int] = []
    pipes: list[BinaryIO] = []
    try:
        for first in range(children):
            _start(parts[first::children], work, pids, pipes)
        for number in range(len(parts)):
            yield from _received(pipes[number % children])
    finally:
        for pipe in pipes:
            pipe.close()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _start(
    parts: Sequence[_Part],
    work: Callable[[Sequence[_Part]], Iterator[Iterable[Block]]],
    pids: list[int],
    pipes: list[BinaryIO],
) -> None:
    """Forks a child, and adds it."""
    with fork.signals_held_back() as before:
        ours, theirs = os.pipe()
        with contextlib.suppress(OSError):  # a user who may have no more gets a smaller one
            fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        # Those of the other children too: they learn by the end of the last reader that the parent has died.
        of_parent = (ours, *(pipe.fileno() for pipe in pipes))
        pids.append(fork.fork(lambda: _work(parts, work, theirs, of_parent, before)))
        os.close(theirs)
        pipes.append(os.fdopen(ours, "rb", buffering=0))


def _work(
    parts: Sequence[_Part],
    work: Callable[[Sequence[_Part]], Iterator[Iterable[Block]]],
    pipe: int,
    of_parent: Iterable[int],
    signals: Iterable[int],
) -> int:
    """In the child: does it, and sends what is made. `signals` are to be held back."""
    try:
        for other in of_parent:
            os.close(other)
        # Ctrl-C is for the parent, which ends this then, and must not find the pipe closed before.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        for blocks in work(parts):
            for items, text in blocks:
                _send(pipe, _BLOCK, items, text)
            _send(pipe, _END)
    except ExecauditError as exc:
        _send(pipe, _ERROR, 0, json.dumps(errors.to_json(exc)).encode())
    except BaseException:  # noqa: BLE001  # whatever it is, the parent hears of it
        with contextlib.suppress(OSError):
            _send(pipe, _BUG, 0, traceback.format_exc().encode("utf-8", "surrogateescape"))
    return 0


def _send(pipe: int, kind: bytes, items: int = 0, text: bytes = b"") -> None:
    data = memoryview(_HEADER.pack(kind, items, len(text)) + text)
    while data:
        data = data[os.write(pipe, data) :]


def _received(pipe: BinaryIO) -> Iterator[Block]:
    """Yields the blocks of one part."""
    while True:
        kind, items, size = _HEADER.unpack(_exactly(pipe, _HEADER.size))
        text = _exactly(pipe, size)
        if kind == _END:
            return
        if kind == _ERROR:
            raise errors.from_json(json.loads(text))
        if kind == _BUG:
            raise RuntimeError(text.decode("utf-8", "surrogateescape"))
        yield Block(items, text)


def _exactly(pipe: BinaryIO, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        more = pipe.read(size - len(found))
        if not more:
            raise RuntimeError("a process that helped was killed")
        found += more
    return bytes(found)
