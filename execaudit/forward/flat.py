"""Turn rows of a local history into flat rows of a central database. Pure; answer_pages turns them back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from execaudit.central.numbering import NOT_SHIFTED
from execaudit.database.enum_codes import KINDS, TRUNCATIONS
from execaudit.database.signed64 import signed
from execaudit.fields import LAUNCH_FIELDS, ORIGIN_FIELDS, Form
from execaudit.query.lookups import NONSENSE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from execaudit.central.numbering import Shifts
    from execaudit.fields import Field
    from execaudit.query.find import Page
    from execaudit.query.rows import Known

    _Row = tuple[Any, ...]


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
