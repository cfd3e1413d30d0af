"""Read the records of the probe's BPF ring buffer from its memory, as bytes.

This module does not use libbpf, which maps all of the data twice and makes a call for each record. It maps
only the part that it reads, so a large ring takes little memory of the reader.

The layout is the kernel's (Documentation/bpf/ringbuf.rst, kernel/bpf/ringbuf.c): a page with the consumer's
position, a page with the producer's, then the data, and the same data once more, so that a record that goes
on at the beginning can be read at once. A record is a word with its length and two flags, a word for the
kernel's own use, and its bytes, padded to 8 bytes. Positions only grow; modulo the ring's size, they are
offsets in the data.
"""

from __future__ import annotations

import mmap
import select
import threading
from typing import TYPE_CHECKING

from execaudit import native
from execaudit.errors import ProbeError

if TYPE_CHECKING:
    from collections.abc import Callable

_HEAD_BYTES = 8
_BUSY, _DISCARDED = 1 << 31, 1 << 30
_LENGTH = _DISCARDED - 1
# The kernel gets room back when the reader moves its position: at least eight times for a full ring.
_PARTS = 8
# How many bytes are mapped at a time, and how many more after them for a record that begins near the end:
# EA_RAW with its head, in whole pages of any size that Linux has.
_WINDOW_BYTES = 2 * 1024 * 1024
_LONGEST_RECORD = 64 * 1024


class Ring:
    """The memory of a ring, for its consumer."""

    def __init__(
        self, consumer: mmap.mmap, producer: mmap.mmap, size: int, map_data: Callable[[int, int], mmap.mmap]
    ) -> None:
        """Takes the pages with the positions, and a function that maps data (offset, number of bytes)."""
        self._consumer, self._producer = consumer, producer
        self._size, self._map_data = size, map_data
        self._window_bytes = min(size, _WINDOW_BYTES)
        self._most_bytes = min(size // _PARTS, self._window_bytes)
        # A cast memoryview and not struct, because each access is one aligned load or store of a whole word.
        self._taken = memoryview(consumer).cast("L")
        self._sent = memoryview(producer).cast("L")
        self._fence = threading.Lock()
        self._fence.acquire()
        self._base = -1
        self._window: mmap.mmap | None = None
        self._heads: memoryview | None = None

    def take(self, records: list[bytes], most_bytes: int) -> int:
        """Appends the available records to `records`, and gives their room back to the kernel.

        Stops after an eighth of the ring, or after `most_bytes`. Returns how many bytes of the ring it took.
        """
        begin = position = self._taken[0]
        sent = self._sent[0]
        if position == sent:
            return 0
        try:
            data, heads, base = self._mapped(begin & self._size - 1)
        except OSError:
            return 0  # out of memory for now: the records stay in the ring, and the probe counts losses
        # `offset` is the position of `base`; `stop` is at most the end of the window.
        offset = base - (begin & self._size - 1) + begin
        stop = min(begin + min(most_bytes, self._most_bytes), offset + self._window_bytes)
        self._order()
        if native.fast is not None:
            position = native.fast.take(data, begin, sent, stop, offset, records)
            if position != begin:
                self._taken[0] = position
            return position - begin
        # Read all heads before all bytes: then one barrier between the two is enough.
        places: list[tuple[int, int]] = []
        while position < sent and position < stop:
            at = position - offset
            head = heads[at >> 2]
            if head & _BUSY:
                break  # the probe is writing this record
            length = head & _LENGTH
            if not head & _DISCARDED:
                places.append((at + _HEAD_BYTES, length))
            position += (length + _HEAD_BYTES + 7) & ~7
        if position == begin:
            return 0
        self._order()
        records += [data[at : at + length] for at, length in places]
        self._order()
        self._taken[0] = position
        return position - begin

    def _mapped(self, at: int) -> tuple[mmap.mmap, memoryview, int]:
        """Returns the window that contains `at`, as bytes and as words, and the offset at which it begins."""
        base = at - at % self._window_bytes
        if self._window is None or self._heads is None or base != self._base:
            self._unmap()
            self._window = self._map_data(base, self._window_bytes + min(self._size, _LONGEST_RECORD))
            self._heads = memoryview(self._window).cast("I")
            self._base = base
        return self._window, self._heads, base

    def _unmap(self) -> None:
        if self._heads is not None:
            self._heads.release()
        if self._window is not None:
            self._window.close()
        self._heads = self._window = None

    def _order(self) -> None:
        """A memory barrier: no read or write moves from before the call to after it, or the reverse.

        To release a lock and then acquire it is a barrier for the processor and the compiler (POSIX, 4.12:
        these functions synchronize memory). x86 needs no barrier here; arm64 does.
        """
        self._fence.release()
        self._fence.acquire()

    def close(self) -> None:
        """Unmaps it."""
        self._unmap()
        for view in (self._taken, self._sent):
            view.release()
        self._producer.close()
        self._consumer.close()


class RingBuffer:
    """The consumer side of one BPF ring buffer map."""

    def __init__(self, map_fd: int, *, ring_bytes: int, batch_bytes: int) -> None:
        """Maps a ring of `ring_bytes`. A read stops after `batch_bytes`; the other records stay in the ring.

        Raises ProbeError when the kernel refuses.
        """
        page = mmap.PAGESIZE

        def produced(length: int, offset: int) -> mmap.mmap:
            # The kernel allows only a read-only mapping of the producer's page and of the data.
            return mmap.mmap(map_fd, length, prot=mmap.PROT_READ, offset=offset)

        def data(begin: int, length: int) -> mmap.mmap:
            return produced(length, 2 * page + begin)

        try:
            self._ring = Ring(mmap.mmap(map_fd, page), produced(page, page), ring_bytes, data)
        except OSError as exc:
            raise ProbeError(
                f"cannot map the ring buffer ({exc.strerror})",
                fix="is another program short of locked memory?",
            ) from exc
        self._batch_bytes = batch_bytes
        self._poll = select.epoll()
        self._poll.register(map_fd, select.EPOLLIN)

    def wait(self, timeout_s: float) -> None:
        """Returns when the probe says that the ring is filling, or after `timeout_s`."""
        self._poll.poll(timeout_s)

    def read(self) -> list[bytes]:
        """Returns the available records, in the order in which the probe sent them."""
        records: list[bytes] = []
        room = self._batch_bytes
        while room > 0 and (taken := self._ring.take(records, room)):
            room -= taken
        return records

    def close(self) -> None:
        """Unmaps the ring. Records that were not read are lost."""
        self._poll.close()
        self._ring.close()

    def __enter__(self) -> RingBuffer:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
