"""Attach the probe, and scan the running processes before and after: they are the roots of lineage."""

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
    """The state when recording begins."""

    records: list[bytes]
    """The records that the probe sent while the running processes were scanned."""
    roots: Roots
    """The running processes."""
    since_ns: Nanoseconds
    """Wall clock before the probe was attached."""
    until_ns: Nanoseconds
    """Wall clock after the probe was attached."""
    stopped_ns: Nanoseconds | None = None
    """Wall clock until which the previous recorder recorded; None if there was none."""


def start(
    attach: Callable[[], Probe], *, host: str, boot_id: str, user_of: Callable[[int], str | None]
) -> tuple[Probe, Begun]:
    """Returns the attached probe, and the programs that ran when it was attached.

    This takes a tenth of a second longer than `attach`, and raises what that raises. `user_of` returns the
    name of a uid, or None.
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
        found = snapshot.find_present(before, after, execs, probe.attached_ns, os.sysconf("SC_CLK_TCK"))
        beginning = snapshot.Beginning(host, boot_id, user_of, probe.began_ns, clock.measure_offset())
    except BaseException:
        probe.close()
        raise
    roots = snapshot.Roots(found, beginning, loader=probe.loader if visible else None)
    return probe, Begun(records, roots, since_ns, until_ns)


def _read_for(probe: Probe, nanoseconds: int) -> list[bytes]:
    """Returns the records that the probe sends within this time."""
    end = time.monotonic_ns() + nanoseconds
    records: list[bytes] = []
    while (left := end - time.monotonic_ns()) > 0:
        probe.wait(left / 1e9)
        records += probe.read()
    return records
