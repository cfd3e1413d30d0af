"""Where execve is in this kernel, for kprobes: the functions behind the system calls.

The kernel lists its functions in /proc/kallsyms, and takes kprobes through tracefs. Perf's own interface
takes them too, but on kernels before 6.2 it follows only as many calls to their return as the machine has
CPUs; an exec may wait for a disk, so more than that are on their way at a time.
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

# Calls of one function, on all CPUs, that are followed to their return at a time. More than
# these are counted as lost. Each costs about 100 bytes of kernel memory.
MOST_CALLS = 1000
# Of system calls for 64-bit and for 32-bit callers, by machine. Kernels of other machines, and
# those before 4.19, hand the arguments on in another way.
_PREFIXES = {
    "x86_64": ("__x64_sys_", "__ia32_compat_sys_"),
    "aarch64": ("__arm64_sys_", "__arm64_compat_sys_"),
}
_CALLS = ("execve", "execveat")
# As BCC names the events that it makes in tracefs.
_EVENT = re.compile(r"^r\d*:kprobes/(r_\w*sys_execve(?:at)?_bcc_(\d+)) ", re.MULTILINE)


class Entry(NamedTuple):
    """One function of the kernel, and the program that runs when it is entered."""

    function: bytes
    program: bytes


def can_probe(tracefs: Path) -> bool:
    """Returns whether this kernel takes kprobes."""
    return (tracefs / "kprobe_events").exists()


def entries(symbols: Path, machine: str | None = None) -> list[Entry]:
    """Returns the functions behind execve and execveat; those for 32-bit callers where there are any.

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
    """Takes away the kprobes of recorders that have ended: the kernel keeps them, and their memory.

    Those were attached by processes that are gone, or by process `of`, if its pid is in use again.
    """
    listed = tracefs / "kprobe_events"
    for name, pid in _EVENT.findall(listed.read_text(encoding="utf-8")):
        if pid == str(of) or not Path("/proc", pid).exists():
            # Busy: in use by a recorder, which outlives the process that attached them.
            with contextlib.suppress(OSError):
                _command(listed, f"-:kprobes/{name}\n")


def _command(file: Path, text: str) -> None:
    """Appends to a file of tracefs: overwriting removes all kprobes, and open() would seek, which fails."""
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
