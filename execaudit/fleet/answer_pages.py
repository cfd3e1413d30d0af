"""Turn flat rows of a central database into pages as the local reader has them. Pure.

The local reader's own function makes events of them (query.rows.to_found), and so do all writers of output.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit.central.tables import EXEC
from execaudit.event import Hole, Redaction
from execaudit.fields import LAUNCH_FIELDS, ORIGIN_FIELDS
from execaudit.query.find import Page
from execaudit.query.rows import LAUNCHES, ORIGINS, Clock, Known, Recording, Relative

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from execaudit.fields import Launch, Origin

    _Row = tuple[Any, ...]
    Key = tuple[int, int]

SEQ_BITS = 40
"""A number of an answer is the place of its stream, and so many bits of its seq."""
_SEQ = (1 << SEQ_BITS) - 1
_BEFORE_LAUNCH = EXEC.names.index(LAUNCH_FIELDS[0].name)
_BEFORE_ORIGIN = EXEC.names.index(ORIGIN_FIELDS[0].name)
_AFTER_ORIGIN = _BEFORE_ORIGIN + len(ORIGIN_FIELDS)
STREAM, SEQ, TS = (EXEC.names.index(name) for name in ("stream", "seq", "ts"))
"""Places in a row of EXEC."""
_KIND, _PARENT = (EXEC.names.index(name) for name in ("kind", "parent"))
_DURATION, _REPLACED_BY = (EXEC.names.index(name) for name in ("duration_ns", "replaced_by"))
# A launch takes a kilobyte at most, but for long paths.
_MOST_SHARED = 10_000
_LINE_BYTES = 4 * 1024 * 1024
_WATCHED, _UNWATCHED = 1, 0


def number_of(place: int, seq: int) -> int:
    """Returns the number that an answer has for an exec of the stream at a place of Streams."""
    return place << SEQ_BITS | seq


def place_and_seq(number: int) -> tuple[int, int]:
    """Returns the place of the stream, and the seq, for such a number."""
    return number >> SEQ_BITS, number & _SEQ


class Live(NamedTuple):
    """What a stream's host recorded when it was last heard of."""

    run: int | None
    lost_ns: int
    continued: frozenset[int] = frozenset()
    """Seqs."""


class Relatives(NamedTuple):
    """What flat rows refer to, by (stream, seq); of those that are there."""

    ends: Mapping[Key, tuple[int, int | None, int | None]]
    """Duration, status and replaced_by of ends that came later."""
    relatives: Mapping[Key, Relative]
    """Parents, and what came next, with a seq as `replaced_by`."""


def ends_asked(rows: Iterable[_Row]) -> list[Key]:
    """Returns the execs of rows whose ends may have come later."""
    return [(row[STREAM], row[SEQ]) for row in rows if row[_DURATION] is None]


def relatives_asked(rows: Iterable[_Row], ends: Mapping[Key, tuple[int, int | None, int | None]]) -> set[Key]:
    """Returns the execs that rows refer to, given their later ends."""
    asked: set[Key] = set()
    for row in rows:
        stream = row[STREAM]
        following = row[_REPLACED_BY]
        if row[_DURATION] is None and (end := ends.get((stream, row[SEQ]))) is not None:
            following = end[2]
        asked.update((stream, seq) for seq in (row[_PARENT], following) if seq is not None)
    return asked


class Numbers:
    """Gives numbers to what many rows of an answer share. None means two things in one answer.

    The writers of output remember texts by these numbers.
    """

    def __init__(self) -> None:
        self.clocks: dict[Clock, int] = {}
        self.launches: dict[_Row, int] = {}
        self.origins: dict[_Row, int] = {}
        self.lines: dict[bytes, int] = {}
        self.known = Known()
        self._last = 0
        self._line_bytes = 0

    def begin_page(self) -> None:
        """Forgets what has become too much. Numbers are not given again."""
        known = self.known
        if max(len(self.launches), len(self.origins), len(self.clocks)) > _MOST_SHARED:
            self.launches, self.origins, self.clocks = {}, {}, {}
            new = Known()
            new.lines = known.lines
            self.known = known = new
        if self._line_bytes > _LINE_BYTES:
            self.lines, known.lines, self._line_bytes = {}, {}, 0
        # Of rows of one page.
        known.cuts, known.ends, known.relatives, known.keys = {}, {}, {}, {}

    def line(self, argv: bytes) -> int:
        """Returns the number of a command line."""
        number = self.lines.get(argv)
        if number is None:
            number = self.lines[argv] = self._next()
            self.known.lines[number] = argv
            self._line_bytes += len(argv)
        return number

    def clock(self, its: Clock) -> int:
        """Returns the number of a clock."""
        number = self.clocks.get(its)
        if number is None:
            number = self.clocks[its] = self._next()
            self.known.clocks[number] = its
        return number

    def launch(self, row: _Row) -> int:
        """Returns the number of a launch, from its values in the database."""
        return self._shared(row, self.launches, self.known.launches, LAUNCHES.of_values)

    def origin(self, row: _Row) -> int:
        """Returns the number of an origin."""
        return self._shared(row, self.origins, self.known.origins, ORIGINS.of_values)

    def _shared(
        self,
        row: _Row,
        numbers: dict[_Row, int],
        known: dict[int | None, Launch] | dict[int | None, Origin],
        made: Callable[[Sequence[Any]], Any],
    ) -> int:
        number = numbers.get(row)
        if number is None:
            value = made(row)
            number = numbers[row] = self._next()
            known[number] = value
        return number

    def _next(self) -> int:
        self._last += 1
        return self._last


def page_of(
    rows: Sequence[_Row],
    relatives: Relatives,
    places: Mapping[int, int],
    live: Mapping[int, Live],
    numbers: Numbers,
) -> Page:
    """Returns the page that a local reader would have for rows of EXEC. It is good until the next one.

    `places` and `live` are by stream. Raises LookupError for a row whose stream is in neither. Rows that make
    no sense are left out: a forwarder that means harm may have sent them.
    """
    numbers.begin_page()
    known = numbers.known
    made: list[_Row] = []
    continued: set[int] = set()
    for row in rows:
        stream, seq, ts, boot_ns, run, host, boot_id, kind, pid, tid, ppid, parent = row[:_BEFORE_LAUNCH]
        argv, argc, argv_bytes, truncated, holes, redacted, errno, *end = row[_AFTER_ORIGIN:]
        now, base = live[stream], places[stream] << SEQ_BITS
        try:
            launch = numbers.launch(row[_BEFORE_LAUNCH:_BEFORE_ORIGIN])
            origin = numbers.origin(row[_BEFORE_ORIGIN:_AFTER_ORIGIN])
        except LookupError:
            continue
        number = base | seq
        is_watched = run == now.run and ts >= now.lost_ns
        clock = Clock(
            ts - boot_ns,
            _WATCHED if is_watched else _UNWATCHED,
            host.decode("utf-8", "surrogateescape"),
            boot_id.decode("utf-8", "surrogateescape"),
        )
        if seq in now.continued:
            continued.add(number)
        if truncated is not None:
            cut = _cut(argc, argv_bytes, holes, redacted)
            if cut is None:
                continue
            known.cuts[number] = cut
        following = end[2]
        if end[0] is None and (later := relatives.ends.get((stream, seq))) is not None:
            following = later[2]
            known.ends[number] = later[0], later[1], _based(base, following)
        for other in (parent, following):
            relative = None if other is None else relatives.relatives.get((stream, other))
            if relative is not None:
                known.relatives[base | other] = relative._replace(
                    replaced_by=_based(base, relative.replaced_by)
                )
                known.keys[base | other] = relative.boot_ns, relative.pid
        made.append(
            (
                number, ts, numbers.clock(clock), kind, pid, None if tid == pid else tid, ppid,
                launch, origin, numbers.line(argv), errno, truncated, _based(base, parent), end[0], end[1], _based(base, end[2]),
            )
        )  # fmt: skip
        known.keys[number] = boot_ns, pid
    return Page(made, known, Recording(_WATCHED, 0, frozenset(continued)))


def _cut(
    argc: int | None, argv_bytes: int | None, holes: bytes | None, redacted: bytes | None
) -> tuple[int | None, int | None, str, str | None] | None:
    """Returns what the local table has of a command line that is not whole; None: it makes no sense."""
    try:
        text, marks = (None if each is None else each.decode("ascii") for each in (holes, redacted))
        said = [
            *(Hole(*each) for each in json.loads(text or "[]")),
            *(Redaction(*each) for each in json.loads(marks or "[]")),
        ]
        if not all(isinstance(first, int) and isinstance(second or 0, int) for first, second in said):
            return None
    except (RecursionError, TypeError, ValueError):
        return None
    return None if text is None else (argc, argv_bytes, text, marks)


def _based(base: int, seq: int | None) -> int | None:
    return None if seq is None else base | seq


def pieces(rows: Iterable[_Row], most_rows: int, most_bytes: int) -> Iterator[list[_Row]]:
    """Yields rows in pages of so many, and of so many bytes of command lines; at least one row each."""
    page: list[_Row] = []
    size = 0
    for row in rows:
        page.append(row)
        size += len(row[_AFTER_ORIGIN])
        if len(page) >= most_rows or size > most_bytes:
            yield page
            page, size = [], 0
    if page:
        yield page
