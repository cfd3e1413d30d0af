"""Read the probe's BPF ring buffer from its memory. No parsing of records here.

Not through libbpf: that maps the data twice, one after the other, so that no record wraps,
and calls back for each record. Here the data is mapped once, and a record that wraps is put
together. The layout is the kernel's (Documentation/bpf/ringbuf.rst, kernel/bpf/ringbuf.c): a
page with the consumer's position, one with the producer's, then the data. A record is a word
with its length and two flags, a word that is the kernel's own, and its bytes, all of it in
steps of 8 bytes. Positions only grow; where one stands in the data is the rest modulo the size.
"""

from __future__ import annotations

import mmap
import select
import threading
from typing import TYPE_CHECKING

from execaudit.errors import ProbeError

if TYPE_CHECKING:
    from types import TracebackType

_HEAD_BYTES = 8
_BUSY, _DISCARDED = 1 << 31, 1 << 30
_LENGTH = _DISCARDED - 1
# The kernel has room again when the position is given back: eight times in a full ring.
_PARTS = 8


class Ring:
    """The memory of a ring, as its consumer sees it."""

    def __init__(self, consumer: mmap.mmap, produced: mmap.mmap) -> None:
        """Takes the consumer's page, and the producer's with the data after it."""
        self._consumer, self._produced = consumer, produced
        self._size = len(produced) - mmap.PAGESIZE
        # Casts, and not struct: each access is one aligned load or store of a whole word.
        self._taken = memoryview(consumer).cast("L")
        self._sent = memoryview(produced)[: mmap.PAGESIZE].cast("L")
        self._heads = memoryview(produced)[mmap.PAGESIZE :].cast("I")
        self._fence = threading.Lock()
        self._fence.acquire()

    def take(self, records: list[bytes], most_bytes: int) -> int:
        """Appends the records that are there to `records`, and gives their room back.

        Stops after a part of the ring, or `most_bytes`. Returns how many bytes of it that was.
        """
        begin = position = self._taken[0]
        sent, stop = self._sent[0], begin + min(most_bytes, self._size // _PARTS)
        self._order()
        # All heads before all bytes: one barrier between the two is enough then.
        mask, heads = self._size - 1, self._heads
        places: list[tuple[int, int]] = []
        while position < sent and position < stop:
            at = position & mask
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
        data, base, end = self._produced, mmap.PAGESIZE, len(self._produced)
        for at, length in places:
            first = base + at
            last = first + length
            if last <= end:
                records.append(data[first:last])
            else:
                records.append(data[first:end] + data[base : base + last - end])
        self._order()
        self._taken[0] = position
        return position - begin

    def _order(self) -> None:
        """Keeps reads before it from being done after it, and what follows from being done before.

        Giving a lock back is a release and taking it an acquire, in this order a barrier for
        processor and compiler (POSIX, 4.12: these functions synchronize memory). x86 needs none; arm64 does.
        """
        self._fence.release()
        self._fence.acquire()

    def close(self) -> None:
        """Unmaps it."""
        for view in (self._taken, self._sent, self._heads):
            view.release()
        self._produced.close()
        self._consumer.close()


class RingBuffer:
    """The consumer side of one BPF ring buffer map."""

    def __init__(self, map_fd: int, *, ring_bytes: int, batch_bytes: int) -> None:
        """Maps a ring of that size. A read stops after `batch_bytes`; what is left waits in the ring.

        Raises ProbeError when the kernel refuses.
        """
        page = mmap.PAGESIZE
        try:
            consumer = mmap.mmap(map_fd, page)
            # Only the kernel writes what it produces, and lets nobody else map it for that.
            produced = mmap.mmap(map_fd, page + ring_bytes, prot=mmap.PROT_READ, offset=page)
        except OSError as exc:
            raise ProbeError(
                f"cannot map the ring buffer ({exc.strerror}): is another program short of locked memory?"
            ) from exc
        self._ring = Ring(consumer, produced)
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
