"""Find where a local history and its stream at the centre part, and go on from there.

They part when the host's file was put back to an older copy, or lost its last second in a power cut: it then
gives numbers again that were shipped. Rows with a number that both have are the same if their times are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.central.numbering import Numbers, Shift, Shifts
from execaudit.central.tables import EXEC, GAP, stream_number
from execaudit.forward.target import Cursors, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from execaudit.central.tables import Table
    from execaudit.forward.source import Source
    from execaudit.forward.target import Target

    _Signature = tuple[int, ...]


def last_common(
    limit: int,
    on_host: Callable[[int, int], tuple[int, _Signature] | None],
    at_centre: Callable[[int], _Signature | None],
) -> int:
    """Returns up to which number two histories agree, which is `limit` at most.

    `on_host` returns the last row up to a number and above another. `at_centre` returns what the other
    history has under the same number. What one of the two does not have any more is taken for the same: the
    oldest rows are pruned on either side.
    """

    def differs(row: tuple[int, _Signature]) -> bool:
        other = at_centre(row[0])
        return other is not None and tuple(other) != tuple(row[1])

    last = on_host(limit, 0)
    if last is None or not differs(last):
        return limit
    # All up to `low` agree, and `high` differs.
    low, high = 0, last[0]
    while (row := on_host((low + high) // 2, low)) is not None or (row := on_host(high - 1, low)) is not None:
        if differs(row):
            high = row[0]
        else:
            low = row[0]
    return high - 1


def resumed(source: Source, target: Target, now_ns: int) -> tuple[Stream, Cursors | None]:
    """Returns the stream of a history, and what has arrived of it; None: nothing has, the stream is new.

    Raises StoreError.
    """
    stream_id = source.stream_id()
    host, version = source.newest_run() or (b"", b"")
    known = sorted(target.streams(stream_id.hex().encode()), key=lambda stream: stream.epoch)
    parted: list[tuple[Stream, int]] = []
    for stream in known:
        common = _common(source, target, EXEC, stream.cursors.exec_seq, stream)
        if common == stream.shifts.exec.on_host(stream.cursors.exec_seq):
            return stream, stream.cursors
        parted.append((stream, common))
    # A file that was put back on its host. On another host, it is a copy, and goes its own way.
    for stream, common in reversed(parted):
        if stream.host == host:
            return _put_back(source, target, stream, common), stream.cursors
    epoch = known[-1].epoch + 1 if known else 0
    number = stream_number(stream_id, epoch)
    return (
        Stream(
            number, stream_id.hex().encode(), host, version, epoch, now_ns, now_ns, 0, Cursors(), None, None, b"[]", Shifts()
        ),
        None,
    )  # fmt: skip


def _common(source: Source, target: Target, table: Table, cursor: int, stream: Stream) -> int:
    """Returns up to which local row of a table the stream has the same."""
    numbers: Numbers = getattr(stream.shifts, table.name)
    last = source.last() if table is EXEC else source.last_gap()

    def at_centre(local: int) -> _Signature | None:
        number = numbers.at_centre(local)
        return target.signatures(table, stream.number, [number]).get(number)

    def on_host(upto: int, after: int) -> tuple[int, _Signature] | None:
        return source.signature(table.name, upto, after)

    return last_common(min(numbers.on_host(cursor), last), on_host, at_centre)


def _put_back(source: Source, target: Target, stream: Stream, common: int) -> Stream:
    """Returns the stream for a host that knows its rows up to `common`, and gives the next numbers anew."""
    cursors, shifts = stream.cursors, stream.shifts
    gaps = _common(source, target, GAP, cursors.gap_id, stream)
    return stream._replace(
        shifts=Shifts(
            exec=shifts.exec.going_on(common, cursors.exec_seq),
            # Which of these the host still knows cannot be asked. They come again, and change nothing.
            exit=_anew(cursors.exit_id),
            rule=_anew(cursors.rule_id),
            run=shifts.run.going_on(source.run_of(common), cursors.run_id),
            gap=shifts.gap.going_on(gaps, cursors.gap_id),
        )
    )


def _anew(last: int) -> Numbers:
    return Numbers((Shift(0, last),))


def is_same(source: Source, last: tuple[int, Sequence[int]] | None) -> bool:
    """Says whether a history still has what was shipped last, given its local number and signature."""
    if last is None:
        return True
    number, signature = last
    if source.last() < number:
        return False
    row = source.signature("exec", number, number - 1)
    return row is None or tuple(row[1]) == tuple(signature)
