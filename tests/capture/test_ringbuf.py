"""The consumer of a ring: every record once, in order and whole, wherever the ring wraps."""

from __future__ import annotations

import mmap
import os
import struct
from collections import deque
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from execaudit.capture.ringbuf import Ring

_SIZE = 4096
_PAGE = mmap.PAGESIZE
_BUSY, _DISCARDED = 1 << 31, 1 << 30


class Producer:
    """What the kernel does: reserve, write, then submit or discard; refuse what does not fit.

    Its data is a file, so that parts of it can be mapped; the same bytes stand there twice, one copy
    after the other.
    """

    def __init__(self, size: int = _SIZE) -> None:
        self.size = size
        self.consumer, self.producer = mmap.mmap(-1, _PAGE), mmap.mmap(-1, _PAGE)
        self._file = os.memfd_create("ring")
        os.ftruncate(self._file, 2 * size)
        self._data = mmap.mmap(self._file, 2 * size)
        self._position = 0

    def ring(self) -> Ring:
        """Returns its consumer."""

        def mapped(begin: int, length: int) -> mmap.mmap:
            return mmap.mmap(self._file, length, prot=mmap.PROT_READ, offset=begin)

        return Ring(self.consumer, self.producer, self.size, mapped)

    def __enter__(self) -> Producer:
        return self

    def __exit__(self, *_: object) -> None:
        self._data.close()
        os.close(self._file)

    def _write(self, at: int, data: bytes) -> None:
        for begin in (at - self.size, at, at + self.size):
            first, last = max(begin, 0), min(begin + len(data), 2 * self.size)
            if first < last:
                self._data[first:last] = data[first - begin : last - begin]

    def reserve(self, record: bytes) -> int | None:
        """Returns where the record's head is, or None when the ring is full."""
        needed = (len(record) + 15) & ~7
        if self._position + needed - struct.unpack_from("L", self.consumer)[0] > self.size - 1:
            return None
        at = self._position % self.size
        self._position += needed
        self._write(at, struct.pack("II", len(record) | _BUSY, 7))
        self._write(at + 8, record)
        struct.pack_into("L", self.producer, 0, self._position)
        return at

    def submit(self, at: int, flags: int = 0) -> None:
        """Has the consumer see it, or with _DISCARDED skip it."""
        length = struct.unpack_from("I", self._data, at)[0] & (_DISCARDED - 1)
        self._write(at, struct.pack("I", length | flags))


class Step(NamedTuple):
    """What happens next."""

    record: bytes
    discard: bool
    submits: int
    """How many of those that wait are submitted now, the oldest first."""
    reads: bool


steps = st.lists(
    st.builds(
        Step,
        st.binary(max_size=40) | st.integers(0, 1500).map(lambda n: bytes(i % 251 for i in range(n))),
        st.booleans(),
        st.integers(0, 3),
        st.booleans(),
    ),
    max_size=60,
)


@given(steps, st.integers(1, _SIZE))
def test_every_record_is_read_once_in_order_and_whole(what: list[Step], most_bytes: int) -> None:
    """Whatever wraps, is still being written, was discarded, or did not fit."""
    with Producer() as producer:
        follow(producer, what, most_bytes)


def follow(producer: Producer, what: list[Step], most_bytes: int) -> None:
    """Does these steps, and compares what is read with what was submitted."""
    ring = producer.ring()
    expected: list[bytes] = []
    read: list[bytes] = []
    waiting: deque[tuple[int, Step]] = deque()

    def submit(count: int) -> None:
        for _ in range(min(count, len(waiting))):
            at, step = waiting.popleft()
            producer.submit(at, _DISCARDED if step.discard else 0)
            if not step.discard:
                expected.append(step.record)

    for step in what:
        at = producer.reserve(step.record)
        if at is not None:
            waiting.append((at, step))
        submit(step.submits)
        if step.reads:
            while ring.take(read, most_bytes):
                pass
            assert expected == read
    submit(len(waiting))
    while ring.take(read, most_bytes):
        pass

    assert expected == read


def test_a_large_ring_is_read_in_parts() -> None:
    """Round it more than once: each record whole, those between two parts and at the end too."""
    records = [bytes([number % 251]) * 20_001 for number in range(500)]
    read: list[bytes] = []
    with Producer(8 << 20) as producer:
        ring = producer.ring()
        for record in records:
            while (at := producer.reserve(record)) is None:
                assert ring.take(read, 1 << 20)
            producer.submit(at)
        while ring.take(read, 1 << 20):
            pass

    assert records == read


def test_room_is_given_back_before_all_is_read() -> None:
    """A producer that finds the ring full need not wait for the end of a long read."""
    with Producer() as producer:
        ring = producer.ring()
        while (at := producer.reserve(bytes(100))) is not None:
            producer.submit(at)

        taken = ring.take([], _SIZE)

        assert 0 < taken < _SIZE // 4
        assert struct.unpack_from("L", producer.consumer) == (taken,)
        assert producer.reserve(bytes(100)) is not None
