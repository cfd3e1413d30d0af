"""The consumer of a ring: every record once, in order and whole, wherever the ring wraps."""

from __future__ import annotations

import mmap
import struct
from collections import deque
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from execaudit.ringbuf import Ring

_SIZE = 4096
_PAGE = mmap.PAGESIZE
_BUSY, _DISCARDED = 1 << 31, 1 << 30


class Producer:
    """What the kernel does: reserve, write, then submit or discard; refuse what does not fit."""

    def __init__(self) -> None:
        self.consumer, self.produced = mmap.mmap(-1, _PAGE), mmap.mmap(-1, _PAGE + _SIZE)
        self._position = 0

    def reserve(self, record: bytes) -> int | None:
        """Returns where the record's head is, or None when the ring is full."""
        needed = (len(record) + 15) & ~7
        if self._position + needed - struct.unpack_from("L", self.consumer)[0] > _SIZE - 1:
            return None
        at = self._position % _SIZE
        self._position += needed
        struct.pack_into("II", self.produced, _PAGE + at, len(record) | _BUSY, 7)
        for number, byte in enumerate(record, at + 8):
            self.produced[_PAGE + number % _SIZE] = byte
        struct.pack_into("L", self.produced, 0, self._position)
        return at

    def submit(self, at: int, flags: int = 0) -> None:
        """Has the consumer see it, or with _DISCARDED skip it."""
        length = struct.unpack_from("I", self.produced, _PAGE + at)[0] & (_DISCARDED - 1)
        struct.pack_into("I", self.produced, _PAGE + at, length | flags)


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
    producer = Producer()
    ring = Ring(producer.consumer, producer.produced)
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


def test_room_is_given_back_before_all_is_read() -> None:
    """A producer that finds the ring full need not wait for the end of a long read."""
    producer = Producer()
    ring = Ring(producer.consumer, producer.produced)
    while (at := producer.reserve(bytes(100))) is not None:
        producer.submit(at)

    taken = ring.take([], _SIZE)

    assert 0 < taken < _SIZE // 4
    assert struct.unpack_from("L", producer.consumer) == (taken,)
    assert producer.reserve(bytes(100)) is not None
