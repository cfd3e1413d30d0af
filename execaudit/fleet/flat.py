"""Turn rows of a local history into flat rows of a central database, and back. Pure.

What comes back makes the same events, byte for byte: the local reader's own function makes them
(query.rows.to_found).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit.database.enum_codes import KINDS, TRUNCATIONS
from execaudit.database.signed64 import signed
from execaudit.fields import LAUNCH_FIELDS, ORIGIN_FIELDS, Form
from execaudit.fleet.numbering import NOT_SHIFTED
from execaudit.fleet.tables import EXEC
from execaudit.query.find import Page
from execaudit.query.lookups import NONSENSE
from execaudit.query.rows import LAUNCHES, ORIGINS, Clock, Known, Recording, Relative

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from execaudit.fields import Field
    from execaudit.fleet.numbering import Shifts
    from execaudit.query.rows import Shared

    _Row = tuple[Any, ...]

SEQ_BITS = 40
"""A number of an answer is the place of its stream, and so many bits of its seq."""
_SEQ = (1 << SEQ_BITS) - 1
_BEFORE_LAUNCH = EXEC.names.index(LAUNCH_FIELDS[0].name)
_BEFORE_ORIGIN = EXEC.names.index(ORIGIN_FIELDS[0].name)
_AFTER_ORIGIN = _BEFORE_ORIGIN + len(ORIGIN_FIELDS)


def number_of(place: int, seq: int) -> int:
    """Returns the number that an answer has for an exec of the stream at a place of Streams."""
    return place << SEQ_BITS | seq


def place_and_seq(number: int) -> tuple[int, int]:
    """Returns the place of the stream, and the seq, for such a number."""
    return number >> SEQ_BITS, number & _SEQ


def _encoders(fields: Sequence[Field]) -> list[Callable[[Any], object] | None]:
    """Returns for each field what turns the value of an event into that of the database, if they differ."""
    encoders: dict[Form, Callable[[Any], object]] = {
        Form.NAME: lambda name: name.encode("utf-8", "surrogateescape"),
        Form.UNSIGNED_64: signed,
        Form.GAINED: int,
    }
    return [encoders.get(field.form) for field in fields]


_OF_LAUNCH, _OF_ORIGIN = _encoders(LAUNCH_FIELDS), _encoders(ORIGIN_FIELDS)


_LEAST, _MOST = -(2**63), 2**63 - 1


class FlatRows:
    """Makes the rows of EXEC for one stream, and remembers what many execs share."""

    def __init__(self, stream: int, shifts: Shifts = NOT_SHIFTED) -> None:
        self._stream, self._shifts = stream, shifts
        self._is_shifted = shifts != NOT_SHIFTED
        # By the identity of the launch and the origin, which the reader keeps for what it remembers.
        self._launches: dict[int, tuple[object, _Row]] = {}
        self._origins: dict[int, tuple[object, _Row]] = {}

    def of(self, page: Page, nonsense: list[int] | None = None) -> Iterator[_Row]:
        """Yields the row of each exec of a page.

        The numbers of execs that make no sense are appended to `nonsense`; without it they raise LookupError.
        """
        for row in page.rows:
            try:
                made = self._made(row, page.known)
            except NONSENSE:
                if nonsense is None:
                    raise
                nonsense.append(row[0])
            else:
                yield made

    def _made(self, row: _Row, known: Known) -> _Row:
        (
            seq, ts, clock_id, kind, pid, tid, ppid, launch_id, origin_id, argv_id, errno, truncated, parent,
            duration_ns, status, replaced_by,
        ) = row  # fmt: skip
        clock, argv = known.clocks[clock_id], known.lines[argv_id]
        boot_ns = ts - clock.offset_ns
        # What the local reader would not understand, or an engine cut off.
        _ = KINDS[kind], truncated is None or TRUNCATIONS[truncated]
        if not _LEAST <= boot_ns <= _MOST:
            raise ValueError("the boot clock is out of range")
        whole = argv.count(b"\0"), len(argv), None, None
        argc, argv_bytes, holes, redacted = whole if truncated is None else known.cuts[seq]
        run = clock.run_id
        if self._is_shifted:
            at_centre, run = self._shifts.exec.at_centre, self._shifts.run.at_centre(run)
            seq, parent, replaced_by = (number and at_centre(number) for number in (seq, parent, replaced_by))
        return (
            self._stream, seq, ts, boot_ns, run, clock.host.encode("utf-8", "surrogateescape"),
            clock.boot_id.encode(), kind, pid, pid if tid is None else tid, ppid, parent,
            *_shared(self._launches, known.launches[launch_id], _OF_LAUNCH),
            *_shared(self._origins, known.origins[origin_id], _OF_ORIGIN),
            argv, argc, argv_bytes, truncated, holes and holes.encode(), redacted and redacted.encode(), errno,
            duration_ns, status, replaced_by,
        )  # fmt: skip


_MOST_SHARED = 4000


def _shared(
    remembered: dict[int, tuple[object, _Row]],
    group: tuple[Any, ...],
    encoders: Sequence[Callable[[Any], object] | None],
) -> _Row:
    found = remembered.get(id(group))
    # The group is kept, so its identity is not given to another one.
    if found is not None and found[0] is group:
        return found[1]
    row = tuple(
        value if value is None or encode is None else encode(value)
        for value, encode in zip(group, encoders, strict=True)
    )
    if len(remembered) >= _MOST_SHARED:
        remembered.clear()
    remembered[id(group)] = group, row
    return row


class Live(NamedTuple):
    """What a stream's host recorded when it was last heard of."""

    run: int | None
    lost_ns: int
    continued: frozenset[int] = frozenset()
    """Seqs."""


class Relatives(NamedTuple):
    """What flat rows refer to, by (stream, seq); of those that are there."""

    ends: Mapping[tuple[int, int], tuple[int, int | None, int | None]]
    """Duration, status and replaced_by of ends that came later."""
    relatives: Mapping[tuple[int, int], Relative]
    """Parents, and what came next, with a seq as `replaced_by`."""


_WATCHED, _UNWATCHED = 1, 0


def page_of(
    rows: Iterable[_Row],
    relatives: Relatives,
    places: Mapping[int, int],
    live: Mapping[int, Live],
) -> Page:
    """Returns the page that a local reader would have for rows of EXEC.

    `places` and `live` are by stream. Raises KeyError for a stream that is in neither.
    """
    known = Known()
    made: list[_Row] = []
    clocks: dict[Clock, int] = {}
    launches: dict[_Row, int] = {}
    origins: dict[_Row, int] = {}
    continued: set[int] = set()
    for row in rows:
        stream, seq, ts, boot_ns, run, host, boot_id, kind, pid, tid, ppid, parent = row[:_BEFORE_LAUNCH]
        argv, argc, argv_bytes, truncated, holes, redacted, errno, duration_ns, status, replaced_by = row[
            _AFTER_ORIGIN:
        ]
        now = live[stream]
        base = places[stream] << SEQ_BITS
        number = base | seq
        is_watched = run == now.run and ts >= now.lost_ns
        clock = Clock(
            ts - boot_ns,
            _WATCHED if is_watched else _UNWATCHED,
            host.decode("utf-8", "surrogateescape"),
            boot_id.decode(),
        )
        launch, origin = row[_BEFORE_LAUNCH:_BEFORE_ORIGIN], row[_BEFORE_ORIGIN:_AFTER_ORIGIN]
        if seq in now.continued:
            continued.add(number)
        known.lines[number] = argv
        if truncated is not None:
            known.cuts[number] = (
                argc,
                argv_bytes,
                holes.decode(),
                None if redacted is None else redacted.decode(),
            )
        if duration_ns is None and (end := relatives.ends.get((stream, seq))) is not None:
            known.ends[number] = end[0], end[1], None if end[2] is None else base | end[2]
        for other in {parent, replaced_by, known.ends[number][2] if number in known.ends else None} - {None}:
            relative = relatives.relatives.get((stream, other & _SEQ))
            if relative is not None:
                known.relatives[base | other & _SEQ] = relative._replace(
                    replaced_by=None if relative.replaced_by is None else base | relative.replaced_by
                )
        made.append(
            (
                number, ts, clocks.setdefault(clock, len(clocks)), kind, pid, None if tid == pid else tid, ppid,
                launches.setdefault(launch, len(launches)), origins.setdefault(origin, len(origins)), number, errno,
                truncated, None if parent is None else base | parent, duration_ns, status,
                None if replaced_by is None else base | replaced_by,
            )
        )  # fmt: skip
        known.keys[number] = boot_ns, pid
    known.clocks = {number: clock for clock, number in clocks.items()}
    known.launches.update(zip(launches.values(), _decoded(LAUNCHES, LAUNCH_FIELDS, launches), strict=True))
    known.origins.update(zip(origins.values(), _decoded(ORIGINS, ORIGIN_FIELDS, origins), strict=True))
    known.keys.update((number, (each.boot_ns, each.pid)) for number, each in known.relatives.items())
    return Page(made, known, Recording(_WATCHED, 0, frozenset(continued)))


def _decoded(shared: Shared, fields: Sequence[Field], rows: Iterable[_Row]) -> Iterator[Any]:
    """Yields launches or origins, for rows of values as the database has them."""
    columns = [*zip(*rows, strict=True)]
    if not columns:
        return iter(())
    values: dict[str, dict[int, object]] = {}
    numbered: list[Sequence[Any]] = []
    for column, field, dictionary in zip(columns, fields, shared.dictionaries, strict=True):
        if dictionary is None:
            numbered.append(column)
            continue
        # The local reader looks values up by number; here each stands for itself.
        texts = values.setdefault(dictionary, _Itself())
        del texts
        numbered.append(
            [
                v if v is None or field.form is not Form.NAME else v.decode("utf-8", "surrogateescape")
                for v in column
            ]
        )
    return shared.made(numbered, values)


class _Itself(dict[int, object]):
    """Every value is its own."""

    def get(self, key: Any, default: Any = None) -> Any:  # noqa: ANN401, ARG002
        return key
