"""Attach the probe between two looks at the running processes, which are the roots of lineage."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

import structlog

from execaudit.capture import snapshot
from execaudit.capture.wire import started
from execaudit.system import allocator, clock, procfs

if TYPE_CHECKING:
    from collections.abc import Callable

    from execaudit.capture.probe import Probe
    from execaudit.capture.snapshot import Roots
    from execaudit.event import Nanoseconds

log = structlog.get_logger()


class Begun(NamedTuple):
    """What there is when recording begins."""

    records: list[bytes]
    """What the probe captured until the running processes were known."""
    roots: Roots
    """The running processes."""
    since_ns: Nanoseconds
    """Wall clock before the probe was attached."""
    until_ns: Nanoseconds
    """Wall clock when all of it was."""
    stopped_ns: Nanoseconds | None = None
    """Wall clock until which the recorder before this one has recorded; None if there was none."""


def start(
    attach: Callable[[], Probe], *, host: str, boot_id: str, user_of: Callable[[int], str | None]
) -> tuple[Probe, Begun]:
    """Returns the attached probe, and what ran when it was; takes a tenth of a second more.

    `user_of` gives the name of a uid, or None. Raises what `attach` raises.
    """
    visible = procfs.in_initial_pid_namespace()
    if not visible:
        log.warning(
            "no_snapshot",
            reason="this is not the initial pid namespace: what runs already is unknown",
            todo="record on the host, or with --pid=host",
        )
    allocator.configure()
    before = procfs.scan() if visible else {}
    since_ns = clock.wall_ns()
    probe = attach()
    until_ns = clock.wall_ns()
    try:
        after = procfs.scan() if visible else {}
        records = _read_for(probe, snapshot.SETTLING_NS)
        execs = filter(None, map(started, records))
        settled = snapshot.settle(before, after, execs, probe.attached_ns, os.sysconf("SC_CLK_TCK"))
        beginning = snapshot.Beginning(host, boot_id, user_of, probe.began_ns, clock.measure_offset())
    except BaseException:
        probe.close()
        raise
    roots = snapshot.Roots(settled, beginning, loader=probe.loader if visible else None)
    return probe, Begun(records, roots, since_ns, until_ns)


def _read_for(probe: Probe, nanoseconds: int) -> list[bytes]:
    """Returns what the probe captures in this time."""
    end = time.monotonic_ns() + nanoseconds
    records: list[bytes] = []
    while (left := end - time.monotonic_ns()) > 0:
        probe.wait(left / 1e9)
        records += probe.read()
    return records
