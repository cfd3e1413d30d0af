"""Read the probe's BPF ring buffer through libbpf. No parsing here.

libbpf calls back for each record. The library is loaded so that its functions keep the
GIL: with an ordinary ctypes.CDLL each callback would have to win it back from the thread
that decodes and stores, and wait its switch interval (5 ms) for every single record.
"""

from __future__ import annotations

import ctypes
import os
import select
from typing import TYPE_CHECKING

from execaudit.btf import load_libbpf
from execaudit.errors import ProbeError

if TYPE_CHECKING:
    from types import TracebackType

_SAMPLE_FN = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
# Why callbacks return -1 when there is enough: libbpf stops at the first negative one.
_ENOUGH = -1


class RingBuffer:
    """The consumer side of one BPF ring buffer map."""

    def __init__(self, map_fd: int, *, batch_bytes: int) -> None:
        """Maps the ring. A read stops after `batch_bytes`; what is left waits in the ring.

        Raises ProbeError when libbpf refuses.
        """
        lib = load_libbpf()
        lib.ring_buffer__new.argtypes = (
            ctypes.c_int,
            _SAMPLE_FN,
            ctypes.c_void_p,
            ctypes.c_void_p,
        )
        lib.ring_buffer__new.restype = ctypes.c_void_p
        lib.ring_buffer__epoll_fd.argtypes = (ctypes.c_void_p,)
        lib.ring_buffer__consume.argtypes = (ctypes.c_void_p,)
        lib.ring_buffer__free.argtypes = (ctypes.c_void_p,)
        self._lib = lib
        self._records: list[bytes] = []
        self._batch_bytes = batch_bytes
        self._room = 0
        self._callback = _SAMPLE_FN(self._take)
        self._ring = lib.ring_buffer__new(map_fd, self._callback, None, None)
        # libbpf before 1.0 returns a small negative number as a pointer.
        if not self._ring or self._ring > 2**64 - 4096:
            raise ProbeError(
                f"cannot map the ring buffer (errno {ctypes.get_errno()}): is another program short of locked memory?"
            )
        # A copy: both libbpf and the object close theirs, the object whenever it is collected.
        self._poll = select.epoll.fromfd(os.dup(lib.ring_buffer__epoll_fd(self._ring)))

    def _take(self, _context: int, address: int, size: int) -> int:
        # An exception here would be printed and swallowed, so: nothing that can raise.
        self._records.append(ctypes.string_at(address, size))
        self._room -= size
        return 0 if self._room > 0 else _ENOUGH

    def wait(self, timeout_s: float) -> None:
        """Returns when the probe says that the ring is filling, or after `timeout_s`."""
        self._poll.poll(timeout_s)

    def read(self) -> list[bytes]:
        """Returns the records that are there, in the order in which the probe sent them."""
        records: list[bytes] = []
        self._records = records
        self._room = self._batch_bytes
        self._lib.ring_buffer__consume(self._ring)
        return records

    def close(self) -> None:
        """Unmaps the ring. Records that were not read are gone."""
        self._poll.close()
        self._lib.ring_buffer__free(self._ring)

    def __enter__(self) -> RingBuffer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
