"""Find the kernel functions behind execve, for kprobes, and remove kprobes that were left.

The kernel lists its functions in /proc/kallsyms, and accepts kprobes in tracefs. The interface of perf
accepts them too, but before kernel 6.2 it follows at most as many calls to their return as the machine has
CPUs. An exec may wait for a disk, so more calls than that may be under way.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from execaudit.errors import ProbeError

if TYPE_CHECKING:
    from collections.abc import Iterator

# How many calls of one function, on all CPUs, are followed to their return at the same time. Further calls
# are counted as lost. Each takes about 100 bytes of kernel memory.
MOST_CALLS = 1000
# Prefixes of the functions for 64-bit and for 32-bit callers, by machine. Kernels of other machines, and
# those before 4.19, pass the arguments in another way.
_PREFIXES = {
    "x86_64": ("__x64_sys_", "__ia32_compat_sys_"),
    "aarch64": ("__arm64_sys_", "__arm64_compat_sys_"),
}
_CALLS = ("execve", "execveat")
# The names that BCC gives to its events in tracefs.
_EVENT = re.compile(r"^r\d*:kprobes/(r_\w*sys_execve(?:at)?_bcc_(\d+)) ", re.MULTILINE)


class Entry(NamedTuple):
    """A function of the kernel, and the program that runs when it is called."""

    function: bytes
    program: bytes


def can_probe(tracefs: Path) -> bool:
    """Says whether this kernel accepts kprobes."""
    return (tracefs / "kprobe_events").exists()


def entries(symbols: Path, machine: str | None = None) -> list[Entry]:
    """Returns the functions behind execve and execveat, with those for 32-bit callers if there are any.

    `symbols` is /proc/kallsyms. Raises ProbeError when execve is not where it is looked for.
    """
    machine = machine or platform.machine()
    native, compat = _PREFIXES.get(machine, ("", ""))
    wanted = {
        f"{native}{call}": Entry(f"{native}{call}".encode(), f"on_enter_{call}".encode()) for call in _CALLS
    }
    needed = set(wanted)
    wanted |= {
        f"{compat}{call}": Entry(f"{compat}{call}".encode(), f"on_enter_compat_{call}".encode())
        for call in _CALLS
    }
    found = set(_functions(symbols)) & set(wanted) if native else set()
    if not needed <= found:
        raise ProbeError(
            f"execaudit does not know where this kernel ({machine}) has execve",
            fix="record with --no-failed, or boot a kernel with syscall tracepoints",
        )
    return [entry for name, entry in wanted.items() if name in found]


def _functions(symbols: Path) -> Iterator[str]:
    with contextlib.suppress(OSError), symbols.open(encoding="ascii", errors="replace") as lines:
        for line in lines:
            yield line.split()[2]


def sweep(tracefs: Path, *, of: int | None = None) -> None:
    """Removes the kprobes of recorders that have ended; the kernel would keep them.

    These are the kprobes of processes that no longer exist, and those of process `of`, whose pid may be in
    use again.
    """
    listed = tracefs / "kprobe_events"
    for name, pid in _EVENT.findall(listed.read_text(encoding="utf-8")):
        if pid == str(of) or not Path("/proc", pid).exists():
            # EBUSY: a recorder still uses it. The process that attached it has ended, the recorder has not.
            with contextlib.suppress(OSError):
                _command(listed, f"-:kprobes/{name}\n")


def _command(file: Path, text: str) -> None:
    """Appends to a file of tracefs: overwriting removes all kprobes, and open() would seek, which fails."""
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
