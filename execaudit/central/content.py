"""What a central database has, and what is dropped from it, whatever its engine. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Pruned(NamedTuple):
    """What was dropped at the centre, or would be."""

    days: int
    execs: int
    size: int
    """Bytes on the disks, of all tables."""


class Content(NamedTuple):
    """What a central database has."""

    revision: str
    cluster: str | None
    servers: int
    size: int
    """Bytes on the disks of all servers."""
    execs: int
    first_ns: int | None
    last_ns: int | None
    hosts: int
    streams: int
