"""Write pages of rows as CSV, column by column, without making events. Pure.

The text is the same as that of CsvLines, in a third of the time: an export has millions of rows. Most cells
are the same in many rows. They are made once, and found by the id that the row has for them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from execaudit.database.enum_codes import KINDS, TRUNCATIONS
from execaudit.enums import Ended, Kind, errno_name
from execaudit.event import Hole
from execaudit.exec_id import boot_prefix, encode_id
from execaudit.output.csv_lines import NO_END, CsvLines
from execaudit.query.rows import to_end
from execaudit.times import utc_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from execaudit.query.rows import Known, Recording

    _Numbers = Sequence[int]
    _Maybe = Sequence["int | None"]

# Limits of what is remembered; one page may exceed them.
_MOST_SHARED = 8000
_MOST_IDS = 20_000
_LINES_BYTES = 4 * 1024 * 1024
# The memory that Python needs for each line besides its text.
_LINE_BYTES = 300
_FAILED = KINDS.index(Kind.FAILED)
_RUNNING, _UNKNOWN = (f"{how.value}{NO_END}" for how in (Ended.RUNNING, Ended.UNKNOWN))


class CsvPages:
    """Makes pages, and remembers the texts that many rows share."""

    def __init__(self, *, raw: bool) -> None:
        self._cells = CsvLines(raw=raw)
        self._where: dict[tuple[int, int], str] = {}
        self._shared: dict[tuple[int | None, int | None], tuple[str, str]] = {}
        self._lines: dict[int, tuple[str, str]] = {}
        self._lines_bytes = 0
        self._ids: dict[int | None, str] = {None: ""}
        self._statuses: dict[int, str] = {}

    def text(self, page: Sequence[tuple[Any, ...]], known: Known, recording: Recording) -> str:
        """Returns the lines, with line ends, of at least one row of COLUMNS whose ids were looked up.

        Raises LookupError, TypeError or ValueError for a row that makes no sense.
        """
        (
            numbers, times, clocks, kinds, pids, tids, ppids, launches, origins, argvs, errnos, truncations, parents,
            *_,
        ) = zip(*page, strict=True)  # fmt: skip
        ids = self._own_ids(page, known)
        self._add_ids(parents, clocks, known)
        id_of = self._ids.__getitem__
        return "".join(
            [
                f"{own},{parent},{time},{where},{pid},{pid if tid is None else tid},{'' if ppid is None else ppid},"
                f"{who},{line},{'' if errno is None else errno_name(errno)},{group},{end},{encoded}\n"
                for own, parent, time, where, pid, tid, ppid, (who, group), (
                    line,
                    encoded,
                ), errno, end in zip(
                    ids,
                    map(id_of, parents),
                    map(utc_text, times),
                    self._wheres(clocks, kinds, known),
                    pids,
                    tids,
                    ppids,
                    self._launched(launches, origins, known),
                    self._command_lines(numbers, argvs, truncations, known),
                    errnos,
                    self._ends(page, known, recording),
                    strict=True,
                )
            ]
        )

    def _own_ids(self, page: Sequence[tuple[Any, ...]], known: Known) -> list[str]:
        """Returns the exec ids of rows, and keeps them, because they are the parents of rows to come."""
        boots = {clock: (boot_prefix(it.boot_id), it.offset_ns) for clock, it in known.clocks.items()}
        ids = []
        for row in page:
            _, time_ns, clock, kind, pid, tid = row[:6]
            boot, offset_ns = boots[clock]
            task = pid if tid is None or kind != _FAILED else tid
            ids.append(encode_id((boot, time_ns - offset_ns, task)))
        if len(self._ids) > _MOST_IDS:
            self._ids = {None: ""}
        # Only for relatives: a failed exec is nobody's parent.
        self._ids.update((row[0], own) for row, own in zip(page, ids, strict=True) if row[3] != _FAILED)
        return ids

    def _add_ids(self, numbers: Iterable[int | None], clocks: _Numbers, known: Known) -> None:
        """Adds the exec ids of relatives; an empty text for a relative that is not in the history."""
        ids = self._ids
        for number, clock in zip(numbers, clocks, strict=True):
            if number not in ids:
                key = known.keys.get(number)
                boot = boot_prefix(known.clocks[clock].boot_id)
                ids[number] = "" if key is None else encode_id((boot, *key))

    def _wheres(self, clocks: _Numbers, kinds: _Numbers, known: Known) -> list[str]:
        wheres = self._where
        for place in set(zip(clocks, kinds, strict=True)).difference(wheres):
            clock = known.clocks[place[0]]
            wheres[place] = self._cells.where(clock.host, clock.boot_id, KINDS[place[1]])
        return list(map(wheres.__getitem__, zip(clocks, kinds, strict=True)))

    def _launched(self, launches: _Maybe, origins: _Maybe, known: Known) -> list[tuple[str, str]]:
        """Returns the cells of launches and origins: those before argv, and those after errno."""
        if len(self._shared) > _MOST_SHARED:
            self._shared = {}
        shared, cells = self._shared, self._cells
        for pair in set(zip(launches, origins, strict=True)).difference(shared):
            shared[pair] = cells.around(known.launches[pair[0]], known.origins[pair[1]])
        return list(map(shared.__getitem__, zip(launches, origins, strict=True)))

    def _command_lines(
        self, numbers: _Numbers, argvs: _Numbers, truncations: _Maybe, known: Known
    ) -> list[tuple[str, str]]:
        """Returns the cells of command lines: from argv to redacted, and argv_base64."""
        if self._lines_bytes > _LINES_BYTES:
            self._lines, self._lines_bytes = {}, 0
        lines = self._lines
        for argv_id in set(argvs).difference(lines):
            argv = known.lines[argv_id]
            words, command, _, encoded = self._cells.arguments(argv, ())
            line = f"{words},{argv.count(0)},{len(argv)},{command},,,"
            lines[argv_id] = line, encoded
            self._lines_bytes += len(line) + len(encoded) + _LINE_BYTES
        found = list(map(lines.__getitem__, argvs))
        for at, code in enumerate(truncations):
            if code is not None:
                argc, argv_bytes, holes, redacted = known.cuts[numbers[at]]
                words, command, missing, encoded = self._cells.arguments(
                    known.lines[argvs[at]], tuple(Hole(*hole) for hole in json.loads(holes))
                )
                reason = TRUNCATIONS[code]
                marks = self._cells.pairs(() if redacted is None else json.loads(redacted))
                cells = words, argc, argv_bytes, command, reason and reason.value, missing, marks
                found[at] = ",".join("" if cell is None else str(cell) for cell in cells), encoded
        return found

    def _ends(self, page: Sequence[tuple[Any, ...]], known: Known, recording: Recording) -> list[str]:
        """Returns the cells from ended to replaced_by."""
        ends = []
        later, statuses, clocks = known.ends, self._statuses, known.clocks
        for number, time_ns, clock, kind, *_, duration_ns, status, replaced_by in page:
            if duration_ns is None and number in later:
                duration_ns, status, replaced_by = later[number]  # noqa: PLW2901  # as if the row had them
            if duration_ns is None:
                if kind == _FAILED:
                    ends.append(NO_END)
                else:
                    runs = clocks[clock].run_id == recording.run_id and time_ns >= recording.lost_ns
                    runs = runs or number in recording.continued
                    ends.append(_RUNNING if runs else _UNKNOWN)
            elif status is None:
                self._add_ids((replaced_by,), (clock,), known)
                ends.append(f"{Ended.REPLACED.value},,,{duration_ns},{self._ids[replaced_by]}")
            else:
                text = statuses.get(status)
                if text is None:
                    end = to_end(status, 0, None)
                    shown = ("" if each is None else str(each) for each in (end.code, end.signal))
                    text = ",".join((end.how.value, *shown))
                    statuses[status] = text
                ends.append(f"{text},{duration_ns},")
        return ends
