"""Cut a command line in its middle, and say what is missing there. Pure."""

from __future__ import annotations

from execaudit.event import Hole


def keep_ends(argv: bytes, holes: tuple[Hole, ...], most: int) -> tuple[bytes, tuple[Hole, ...]]:
    """Returns a command line cut to `most` bytes, half from its head and half from its tail.

    The same cut as the probe makes for successful execs. Holes inside what is cut become part
    of the new one.
    """
    if len(argv) <= most:
        return argv, holes
    head, tail = most - most // 2, most // 2
    gone_to = len(argv) - tail
    inside = [hole.missing for hole in holes if head <= hole.at <= gone_to]
    missing = None if None in inside else gone_to - head + sum(n or 0 for n in inside)
    return argv[:head] + argv[gone_to:], (
        *(hole for hole in holes if hole.at < head),
        Hole(head, missing),
        *(Hole(hole.at - gone_to + head, hole.missing) for hole in holes if hole.at > gone_to),
    )
