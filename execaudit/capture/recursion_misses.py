"""How often the kernel skipped a BPF program, because one was already running on that processor."""

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
        """Takes descriptors, which stay the caller's."""
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
        """Whether this kernel counts them, and tells this process."""

    def count(self) -> int:
        """Returns the sum, or the last one that was known: a counter that goes back would make up losses."""
        self._count = max(self._count, self.read() or 0)
        return self._count

    def read(self) -> int | None:
        """Returns the sum; None where it cannot be known. Takes a microsecond for each program."""
        total = 0
        for program in self._programs:
            count = self._told(program)
            if count is None:
                count = shown(program)
            if count is None:
                return None
            total += count
        return total

    def _told(self, program: int) -> int | None:
        # The kernel takes non-zero fields for addresses of the caller's arrays.
        ctypes.memset(self._info, 0, _INFO_BYTES)
        self._length.value = _INFO_BYTES
        if self._lib.bpf_obj_get_info_by_fd(program, self._info, ctypes.byref(self._length)):
            return None
        if self._length.value < _AT + _U64.size:
            return None
        return int(_U64.unpack_from(self._info, _AT)[0])


def shown(program: int) -> int | None:
    """Returns what /proc says of a program; None if nothing.

    Needed on older kernels (5.15): where unprivileged BPF is disabled, as in distributions, they refuse every
    bpf() to a process that has given up CAP_BPF.
    """
    try:
        found = _SHOWN.search(Path(f"/proc/self/fdinfo/{program}").read_text(encoding="ascii"))
    except OSError:
        return None
    return None if found is None else int(found[1])
