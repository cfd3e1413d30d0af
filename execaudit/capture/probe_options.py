"""Choose tracepoints or kprobes, by the user's options and by what this machine offers."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from execaudit.capture import kprobes
from execaudit.errors import ProbeError

TRACEFS = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
_MB = 1024 * 1024
# The largest command line has 6 MB (the kernel's own limit). A ring of 32 MB has room for it after another
# user has filled their share: see has_room() in bpf/ring.h. An exec takes about 370 bytes, its end included.
_RING_BYTES = ((2048 * _MB, 32 * _MB), (512 * _MB, 16 * _MB), (0, 8 * _MB))
"""The least memory of the host, and the size of the ring for it."""
SYSCALLS = tuple(
    f"syscalls/sys_{edge}_{call}" for edge in ("enter", "exit") for call in ("execve", "execveat")
)
"""The tracepoints at which the probe sees failed execs."""
SUCCESS = "sched/sched_process_exec"
"""The tracepoint at which the probe sees successful execs."""


def default_ring_bytes() -> int:
    """Returns the default size of the ring. It is kernel memory, which is never swapped out."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return next(ring for least, ring in _RING_BYTES if memory >= least)


class ProbeKind(str, Enum):
    """How execs are captured."""

    AUTO = "auto"
    """The best that this machine offers."""
    TRACEPOINT = "tracepoint"
    """sched_process_exec, and the syscall tracepoints for failed execs."""
    KPROBE = "kprobe"
    """sched_process_exec where it can be used, and kprobes for failed execs."""


@dataclass(frozen=True)
class ProbeOptions:
    """What to capture, and how."""

    kind: ProbeKind = ProbeKind.AUTO
    failed: bool = True
    """Capture failed execs too. With tracepoints, this slows every system call of the host by about 24 ns."""
    max_argv: int | None = None
    """How many bytes of a command line are kept, half from its head and half from its tail; None: all."""
    ring_bytes: int = field(default_factory=default_ring_bytes)
    """Size of the ring buffer: a power of two, at least a page."""
    raw_tracepoints: bool = True
    """Try raw tracepoints; if not, kprobes see everything. Only tests set this."""

    @property
    def kprobes(self) -> bool:
        """Whether kprobes are attached. To be called after `resolve`."""
        return self.kind is ProbeKind.KPROBE and (self.failed or not self.raw_tracepoints)


def tracefs() -> Path | None:
    """Returns where the tracepoints of this kernel are described, or None if not mounted."""
    for folder in TRACEFS:
        with contextlib.suppress(OSError):
            if (folder / "events").is_dir():
                return folder
    return None


def resolve(options: ProbeOptions, folder: Path | None) -> ProbeOptions:
    """Returns the options with AUTO replaced by the kind that is used.

    `folder` is where tracefs is mounted: it shows what this kernel has. Raises ProbeError with the next step
    if the kernel lacks what the options need.
    """
    if folder is None:
        if not options.failed and options.kind is not ProbeKind.KPROBE:
            return replace(options, kind=ProbeKind.TRACEPOINT)
        raise ProbeError(
            "tracefs is not mounted, and failed execs need it",
            fix="run `mount -t tracefs tracefs /sys/kernel/tracing`, or record with --no-failed",
        )
    has_success = (folder / "events" / SUCCESS).is_dir()
    has_syscalls = all((folder / "events" / point).is_dir() for point in SYSCALLS)
    has_kprobes = kprobes.can_probe(folder)
    kind = options.kind
    if kind is ProbeKind.AUTO:
        lacking = not has_success or (options.failed and not has_syscalls)
        kind = ProbeKind.KPROBE if lacking and has_kprobes else ProbeKind.TRACEPOINT
    if kind is ProbeKind.KPROBE:
        if not has_kprobes:
            instead = "--probe tracepoint" if has_syscalls else "--no-failed"
            raise ProbeError(
                "this kernel has no kprobes (CONFIG_KPROBE_EVENTS)", fix=f"record with {instead}"
            )
        return replace(options, kind=kind, raw_tracepoints=options.raw_tracepoints and has_success)
    if not has_success:
        raise ProbeError(
            f"this kernel has no tracepoint {SUCCESS}",
            fix="record with --probe kprobe" if has_kprobes else "boot one built with CONFIG_TRACEPOINTS=y",
        )
    if options.failed and not has_syscalls:
        raise ProbeError(
            "this kernel has no syscall tracepoints (CONFIG_FTRACE_SYSCALLS)",
            fix=f"record with {'--probe kprobe' if has_kprobes else '--no-failed'}",
        )
    return replace(options, kind=kind)
