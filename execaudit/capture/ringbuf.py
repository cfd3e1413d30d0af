"""Read the probe's BPF ring buffer from its memory. No parsing of records here.

Not through libbpf: that maps all of the data, twice, and calls back for each record. Here only
the part that is being read is mapped, so a large ring costs the reader little memory. The layout is the
kernel's (Documentation/bpf/ringbuf.rst, kernel/bpf/ringbuf.c): a page with the consumer's position, one
with the producer's, then the data, and the same data once more, so that a record that wraps can be read
in one go. A record is a word with its length and two flags, a word that is the kernel's own, and its
bytes, all of it in steps of 8 bytes. Positions only grow; where one stands in the data is the rest
modulo the size.
"""

from __future__ import annotations

import mmap
import select
import threading
from typing import TYPE_CHECKING

from execaudit.errors import ProbeError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_HEAD_BYTES = 8
_BUSY, _DISCARDED = 1 << 31, 1 << 30
_LENGTH = _DISCARDED - 1
# The kernel has room again when the position is given back: eight times in a full ring, or more often.
_PARTS = 8
# What is mapped at a time, and how far a record may go on behind it: EA_RAW with its head, in whole pages
# of any size that Linux has.
_WINDOW_BYTES = 2 * 1024 * 1024
_LONGEST_RECORD = 64 * 1024


class Ring:
    """The memory of a ring, as its consumer sees it."""

    def __init__(
        self, consumer: mmap.mmap, producer: mmap.mmap, size: int, map_data: Callable[[int, int], mmap.mmap]
    ) -> None:
        """Takes the pages with the positions, and a function that maps data: from where, how many bytes."""
        self._consumer, self._producer = consumer, producer
        self._size, self._map_data = size, map_data
        self._window_bytes = min(size, _WINDOW_BYTES)
        self._most_bytes = min(size // _PARTS, self._window_bytes)
        # Casts, and not struct: each access is one aligned load or store of a whole word.
        self._taken = memoryview(consumer).cast("L")
        self._sent = memoryview(producer).cast("L")
        self._fence = threading.Lock()
        self._fence.acquire()
        self._base = -1
        self._window: mmap.mmap | None = None
        self._heads: memoryview | None = None

    def take(self, records: list[bytes], most_bytes: int) -> int:
        """Appends the records that are there to `records`, and gives their room back.

        Stops after a part of the ring, or `most_bytes`. Returns how many bytes of it that was.
        """
        begin = position = self._taken[0]
        sent = self._sent[0]
        if position == sent:
            return 0
        try:
            data, heads, base = self._mapped(begin & self._size - 1)
        except OSError:
            return 0  # out of memory for now: the ring keeps it, or counts what it must refuse
        # The same position as `base`, and the last that is in the window.
        offset = base - (begin & self._size - 1) + begin
        stop = min(begin + min(most_bytes, self._most_bytes), offset + self._window_bytes)
        self._order()
        # All heads before all bytes: one barrier between the two is enough then.
        places: list[tuple[int, int]] = []
        while position < sent and position < stop:
            at = position - offset
            head = heads[at >> 2]
            if head & _BUSY:
                break  # it is being written
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
        """Returns the part of the data that `at` is in, as bytes and as words, and where it begins."""
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
        """A memory barrier: reads before it are done before it, and those after it are done after it.

        To release a lock and then acquire it is a barrier for the processor and the compiler (POSIX, 4.12:
        these functions synchronize memory). x86 needs none; arm64 does.
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
        """Maps a ring of that size. A read stops after `batch_bytes`; what is left waits in the ring.

        Raises ProbeError when the kernel refuses.
        """
        page = mmap.PAGESIZE

        def produced(length: int, offset: int) -> mmap.mmap:
            # Only the kernel writes what it produces, and lets nobody else map it for that.
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
        """Returns the records that are there, in the order in which the probe sent them."""
        records: list[bytes] = []
        room = self._batch_bytes
        while room > 0 and (taken := self._ring.take(records, room)):
            room -= taken
        return records

    def close(self) -> None:
        """Unmaps the ring. Records that were not read are gone."""
        self._poll.close()
        self._ring.close()

    def __enter__(self) -> RingBuffer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
