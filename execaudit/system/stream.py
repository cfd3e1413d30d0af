"""Write without Python's buffer to a descriptor that may block, such as standard output.

A thread that is blocked in a buffered write holds the buffer's lock, and then the interpreter cannot end.
"""

from __future__ import annotations

import os
import select


def write_all(fd: int, data: bytes) -> None:
    """Returns when everything is written, however long that takes. Raises OSError."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:  # another process has set O_NONBLOCK
            select.select([], [fd], [])


def write_now(fd: int, text: bytes, *, within_s: float = 0.0) -> bool:
    """Writes a short text if that does not block; returns whether it did. Raises OSError.

    A pipe, socket or terminal that is ready takes 4096 bytes (pipe(7)).
    """
    if not is_ready(fd, within_s):
        return False
    os.write(fd, text)
    return True


def is_ready(fd: int, within_s: float) -> bool:
    """Waits at most this time. Says whether a write to the descriptor would not block. Raises OSError."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(within_s * 1000))
