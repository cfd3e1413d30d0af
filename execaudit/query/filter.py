"""Which execs are wanted. Pure: what it means is in `statements`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from execaudit.event import Nanoseconds


class UserMatch(NamedTuple):
    """A user as a filter names one."""

    name: str | None
    """Matches the name that was recorded; None when a uid was asked for."""
    uid: int | None
    """Matches the uid: of all execs if it was asked for, else of those without a name."""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which execs. Fields combine with AND, the values of one with OR; empty or None: all."""

    since_ns: Nanoseconds | None = None
    """Wall clock, inclusive."""
    until_ns: Nanoseconds | None = None
    """Wall clock, exclusive."""
    pids: tuple[int, ...] = ()
    ppids: tuple[int, ...] = ()
    comms: tuple[bytes, ...] = ()
    """Globs."""
    exes: tuple[bytes, ...] = ()
    """Globs for the image; of a failed exec, for the caller's or for what was asked for."""
    filenames: tuple[bytes, ...] = ()
    """Globs for the path that was asked for."""
    cwds: tuple[bytes, ...] = ()
    """Globs."""
    args: tuple[bytes, ...] = ()
    """Substrings of the command line, its arguments joined by single spaces; none spans a hole."""
    args_regex: tuple[bytes, ...] = ()
    r"""Python regular expressions, searched in the same line as text; a hole is a `\0` there.

    A byte that is not UTF-8 is one character of U+DC80 to U+DCFF, as in Python's `surrogateescape`.
    """
    users: tuple[UserMatch, ...] = ()
    login_users: tuple[UserMatch, ...] = ()
    ttys: tuple[bytes, ...] = ()
    """Below /dev: `pts/3`."""
    cgroups: tuple[bytes, ...] = ()
    """Globs."""
    containers: tuple[str, ...] = ()
    """Ids, the first four digits of one or more, or names of machines."""
    hosts: tuple[str, ...] = ()
    under: tuple[int, ...] = ()
    """Row numbers of execs whose descendants are wanted; they themselves are not."""
    failed: bool = False
    """Only failed execs."""
    truncated: bool = False
    """Only execs whose argv is not whole."""
    limit: int | None = None
    """The newest so many."""
    reverse: bool = False
    """Newest first; otherwise in the order of recording."""
