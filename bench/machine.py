"""What the machine says of processes and BPF programs: CPU time, memory, descriptors."""

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
    """Returns the CPU time that processes took, in user space and in the kernel; in steps of a tick."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks * _TICK_SECONDS


class Memory(NamedTuple):
    """What is resident of a process, in bytes."""

    resident: int
    """VmRSS: with files, libraries and the ring that it has mapped."""
    anonymous: int
    """RssAnon: its own."""


def memory(pid: int) -> Memory:
    """Returns what is resident of a process. Raises OSError when it has ended."""
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
    """Returns the processes and kernel threads of that name."""
    found = []
    for file in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):  # it has ended since
            if file.read_text(encoding="utf-8", errors="replace").rstrip("\n") == name:
                found.append(int(file.parent.name))
    return found


class Programs:
    """The loaded BPF programs of this machine, whoever loaded them."""

    def __init__(self) -> None:
        """Raises ProbeError when there is no libbpf."""
        self._lib = load_libbpf()

    def ids(self) -> set[int]:
        """Returns what is loaded."""
        number, found = ctypes.c_uint32(0), set()
        while self._lib.bpf_prog_get_next_id(number, ctypes.byref(number)) == 0:
            found.add(number.value)
        return found

    def seconds(self, ids: set[int]) -> float:
        """Returns how long these programs ran, while it was counted; nothing of those that are gone."""
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
        """Has the kernel count run times in the body, which costs each run some 30 ns.

        Not kernel.bpf_stats_enabled: this ends with its descriptor, however this process ends.
        """
        handle = self._lib.bpf_enable_stats(_RUN_TIME)
        if handle < 0:
            raise OSError(ctypes.get_errno(), "the kernel does not count what BPF programs take")
        try:
            yield
        finally:
            os.close(handle)
