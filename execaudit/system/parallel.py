"""Divide parts of a task among forked children, and yield the results in the order of the parts."""

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

# How many bytes a child may be ahead of the reader: the largest pipe that the kernel gives a user.
_PIPE_BYTES = 1024 * 1024
# A message's kind, the number of items, the number of bytes that follow.
_HEADER = struct.Struct("=cQQ")
_BLOCK, _END, _ERROR, _BUG = b"p", b"e", b"x", b"b"


class Block(NamedTuple):
    """Some of the result of a part, or all of it."""

    items: int
    """How many items are in it."""
    text: bytes


def in_order(
    parts: Sequence[_Part], work: Callable[[Sequence[_Part]], Iterator[Iterable[Block]]], *, children: int
) -> Generator[Block, None, None]:
    """Yields the blocks of all parts, in the order of the parts.

    Each child calls `work` with its share of the parts; `work` yields the blocks of one part after the other.
    A child must not use what the caller has open. To be called while there is one thread. Raises the
    ExecauditError that a child raised; RuntimeError for anything else, and when a child was killed.
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
    """Forks a child, and adds its pid and pipe to the lists."""
    with fork.signals_blocked() as before:
        ours, theirs = os.pipe()
        with contextlib.suppress(OSError):  # at the user's limit (pipe-user-pages-soft) it stays smaller
            fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        # The new child closes all of these, those of the other children too: a child learns that the parent
        # has died when the last reader of its pipe is gone.
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
    """In the child: does the work and sends the blocks. `signals` stay blocked."""
    try:
        for other in of_parent:
            os.close(other)
        # The parent handles Ctrl-C and then ends this process. It must not find the pipe closed before that.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        for blocks in work(parts):
            for items, text in blocks:
                _send(pipe, _BLOCK, items, text)
            _send(pipe, _END)
    except ExecauditError as exc:
        _send(pipe, _ERROR, 0, json.dumps(errors.to_json(exc)).encode())
    except BaseException:  # noqa: BLE001  # whatever it is, the parent raises it
        with contextlib.suppress(OSError):
            _send(pipe, _BUG, 0, traceback.format_exc().encode("utf-8", "surrogateescape"))
    return 0


def _send(pipe: int, kind: bytes, items: int = 0, text: bytes = b"") -> None:
    header = _HEADER.pack(kind, items, len(text))
    sent = os.writev(pipe, (header, text))  # in one call, without a copy of the text
    for part in (header, text):
        left = memoryview(part)[sent:]
        sent = max(sent - len(part), 0)
        while left:
            left = left[os.write(pipe, left) :]


def _received(pipe: BinaryIO) -> Iterator[Block]:
    """Yields the blocks of one part."""
    while True:
        kind, items, size = _HEADER.unpack(b"".join(_pieces(pipe, _HEADER.size)))
        text = b"".join(_pieces(pipe, size))
        if kind == _END:
            return
        if kind == _ERROR:
            raise errors.from_json(json.loads(text))
        if kind == _BUG:
            raise RuntimeError(text.decode("utf-8", "surrogateescape"))
        yield Block(items, text)


def _pieces(pipe: BinaryIO, size: int) -> Iterator[bytes]:
    """Yields so many bytes."""
    while size:
        piece = pipe.read(size)
        if not piece:
            raise RuntimeError("a child process was killed")
        size -= len(piece)
        yield piece
