"""Read the CPU time, memory and descriptors of processes, and the run time of BPF programs."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from execaudit.capture.btf import load_libbpf

if TYPE_CHECKING:
    from collections.abc import Iterator

_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
_RUN_TIME = 0  # BPF_STATS_RUN_TIME


def cpu_seconds(*pids: int) -> float:
    """Returns the CPU time of processes, in user space and in the kernel, in steps of a tick."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks * _TICK_SECONDS


class Memory(NamedTuple):
    """The resident memory of a process, in bytes."""

    resident: int
    """VmRSS: all of it, with the files, libraries and ring that the process has mapped."""
    anonymous: int
    """RssAnon: the memory that belongs to this process only."""


def memory(pid: int) -> Memory:
    """Returns the resident memory of a process. Raises OSError when it has ended."""
    sizes = {}
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name in ("VmRSS", "RssAnon"):
            sizes[name] = int(value.split()[0]) * 1024
    return Memory(sizes["VmRSS"], sizes["RssAnon"])


def descriptors(pid: int) -> int:
    """Returns how many descriptors a process has open. Raises OSError when it has ended."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def pids_named(name: str) -> list[int]:
    """Returns the pids of the processes and kernel threads with this name."""
    found = []
    for file in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):  # the process has ended meanwhile
            if file.read_text(encoding="utf-8", errors="replace").rstrip("\n") == name:
                found.append(int(file.parent.name))
    return found


class Programs:
    """The loaded BPF programs of this machine, whoever loaded them."""

    def __init__(self) -> None:
        """Raises ProbeError when there is no libbpf."""
        self._lib = load_libbpf()

    def ids(self) -> set[int]:
        """Returns the ids of all loaded programs."""
        number, found = ctypes.c_uint32(0), set()
        while self._lib.bpf_prog_get_next_id(number, ctypes.byref(number)) == 0:
            found.add(number.value)
        return found

    def seconds(self, ids: set[int]) -> float:
        """Returns how long these programs ran within `counted`; 0 for those that are no longer loaded."""
        total_ns = 0
        for number in ids:
            handle = self._lib.bpf_prog_get_fd_by_id(number)
            if handle < 0:
                continue
            facts = Path(f"/proc/self/fdinfo/{handle}").read_text(encoding="ascii")
            os.close(handle)
            total_ns += sum(
                int(line.split()[1]) for line in facts.splitlines() if line.startswith("run_time_ns:")
            )
        return total_ns / 1e9

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Has the kernel measure run times while the body runs, which costs each run about 30 ns.

        This does not use kernel.bpf_stats_enabled, which would stay on if this process were killed.
        """
        handle = self._lib.bpf_enable_stats(_RUN_TIME)
        if handle < 0:
            raise OSError(ctypes.get_errno(), "the kernel does not measure the run time of BPF programs")
        try:
            yield
        finally:
            os.close(handle)
