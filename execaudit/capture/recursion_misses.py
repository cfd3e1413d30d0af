"""Count how often the kernel skipped a BPF program because it was already running on that processor."""

from __future__ import annotations

import ctypes
import re
import struct
from pathlib import Path

from execaudit.capture.btf import load_libbpf

# struct bpf_prog_info in include/uapi/linux/bpf.h: recursion_misses, since Linux 5.12.
_INFO_BYTES, _AT = 232, 208
_U64 = struct.Struct("=Q")
_SHOWN = re.compile(r"^recursion_misses:\t(\d+)$", re.MULTILINE)


class Misses:
    """The counters of some programs."""

    def __init__(self, programs: list[int]) -> None:
        """Takes descriptors, which the caller closes."""
        lib = load_libbpf()
        lib.bpf_obj_get_info_by_fd.argtypes = (
            ctypes.c_int,
            ctypes.c_void_p,
            ctypes.POINTER(ctypes.c_uint32),
        )
        self._lib = lib
        self._programs = programs
        self._info = ctypes.create_string_buffer(_INFO_BYTES)
        self._length = ctypes.c_uint32()
        self._count = 0
        self.known = bool(programs) and self.read() is not None
        """Whether this kernel counts them and this process may read the counters."""

    def count(self) -> int:
        """Returns the sum, or the last known one. It never decreases: a later rise would look like a loss."""
        self._count = max(self._count, self.read() or 0)
        return self._count

    def read(self) -> int | None:
        """Returns the sum; None where it cannot be known. Takes a microsecond for each program."""
        total = 0
        for program in self._programs:
            count = self._from_bpf(program)
            if count is None:
                count = from_proc(program)
            if count is None:
                return None
            total += count
        return total

    def _from_bpf(self, program: int) -> int | None:
        # The kernel takes non-zero fields for addresses of the caller's arrays.
        ctypes.memset(self._info, 0, _INFO_BYTES)
        self._length.value = _INFO_BYTES
        if self._lib.bpf_obj_get_info_by_fd(program, self._info, ctypes.byref(self._length)):
            return None
        if self._length.value < _AT + _U64.size:
            return None
        return int(_U64.unpack_from(self._info, _AT)[0])


def from_proc(program: int) -> int | None:
    """Returns a program's counter from /proc; None if it is not there.

    Older kernels (5.15) need this: where unprivileged BPF is disabled, as in most distributions, they refuse
    every bpf() call of a process that has given up CAP_BPF.
    """
    try:
        found = _SHOWN.search(Path(f"/proc/self/fdinfo/{program}").read_text(encoding="ascii"))
    except OSError:
        return None
    return None if found is None else int(found[1])
