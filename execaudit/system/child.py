"""Run a function in a forked child, and take over the descriptors that it opened.

Memory that the child needed, for modules too, is freed when it ends. The child is a fork and not a new
interpreter, so it runs the same code, whatever the working directory is.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit.system import fork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

# The kernel passes at most this many descriptors at a time (SCM_MAX_FD).
_MOST_DESCRIPTORS = 253
_MOST_BYTES = 65536


class Result(NamedTuple):
    """The result of a child."""

    facts: dict[str, Any]
    descriptors: list[int]


class ChildDiedError(Exception):
    """The child ended without a result; the text says how it ended."""


def from_child(work: Callable[[], tuple[dict[str, Any], Sequence[int]]], output: Path) -> Result:
    """Runs `work` in a child. Returns its result: facts as JSON values, and descriptors, now open here.

    The standard output and error of the child go to the file `output`. `work` must not raise. Raises
    ChildDiedError when the child ended without a result. To be called while there is one thread.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, fork.signals_blocked() as before:
        parent = os.getpid()
        child = fork.fork(lambda: _work(work, output, theirs, before, parent))
        has_ended = False
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            text, descriptors = _received(ours, theirs)
            # WNOWAIT leaves the pid to the child, so a kill after an interrupt cannot hit another process.
            os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
            has_ended = True
        finally:
            if not has_ended:
                os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
    if not text:
        raise ChildDiedError(_how(os.waitstatus_to_exitcode(status)))
    return Result(json.loads(text), descriptors)


def _received(ours: socket.socket, theirs: socket.socket) -> tuple[bytes, list[int]]:
    """Returns what the child sends; nothing when it ends before it sends."""
    theirs.close()  # then the child alone holds this end, and its death ends recv_fds
    text, descriptors, _, _ = socket.recv_fds(ours, _MOST_BYTES, _MOST_DESCRIPTORS)
    for descriptor in descriptors:  # recv_fds ignores MSG_CMSG_CLOEXEC
        os.set_inheritable(descriptor, False)  # noqa: FBT003  # its only form
    return text, descriptors


def _work(
    work: Callable[[], tuple[dict[str, Any], Sequence[int]]],
    output: Path,
    channel: socket.socket,
    signals: Iterable[int],
    parent: int,
) -> int:
    """In the child: does the work and sends the result. Returns the exit status. `signals` stay blocked."""
    try:
        fork.end_with(parent)  # otherwise this child of a killed parent would go on holding its lock
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        file = os.open(output, os.O_WRONLY | os.O_APPEND)
        for standard in (1, 2):
            os.dup2(file, standard)
        facts, descriptors = work()
        socket.send_fds(channel, [json.dumps(facts).encode()], list(descriptors))
    except BaseException:  # noqa: BLE001  # whatever it is, the parent learns of it when this process ends
        os.write(2, traceback.format_exc().encode())
        return 1
    return 0


def _how(exit_code: int) -> str:
    if exit_code >= 0:
        return f"ended with status {exit_code}"
    try:
        return f"was killed by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"was killed by signal {-exit_code}"
