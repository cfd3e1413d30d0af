"""Verify a bundle: its files, the chain in it, and that its records are what the sealed rows make."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from itertools import chain as chained
from typing import TYPE_CHECKING, Any

from execaudit.bundle import layout
from execaudit.bundle.chain_check import ChainCheck
from execaudit.bundle.layout import ExecLine, OtherExecLine, SealLine
from execaudit.bundle.proved import Made, NotMadeError, Proved
from execaudit.database.sealed_streams import Stream
from execaudit.seal import codec
from execaudit.seal.chain import ChainRow
from execaudit.seal.segment_check import Problem
from execaudit.seal.verify import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from execaudit.bundle.archive import Reader
    from execaudit.bundle.chain_check import Followed
    from execaudit.bundle.layout import Line
    from execaudit.seal.chain import Head
    from execaudit.seal.keys import VerificationKey

_MOST_PROBLEMS = 1000
# A command line of 6 MB, of which each byte may be written as six characters, stands in a record twice.
_LONGEST_RECORD = 128 * 1024 * 1024


@dataclass
class BundleResult:
    """What a verification of a bundle found."""

    result: Result = field(default_factory=Result)
    """`execs` are the records that are proved."""
    about: dict[str, Any] = field(default_factory=dict)
    """What who made it says: nothing of it is proved."""
    records: int = 0
    gaps: list[dict[str, Any]] = field(default_factory=list)
    """Those that are proved."""
    by_head: int | None = None
    """How many of the records and gaps the heads that were given vouch for; None: none was given."""
    parts: int = 0
    """How many records and gaps there are."""
    by_key: int = 0
    unchecked: int = 0
    """How many segments have a code that no key was given for."""
    open: int = 0
    """How many records say of a program that it ran still, or of no end that is known."""
    loose: int = 0
    """How many were replaced by what was pruned, or was left out: its id is missing."""

    @property
    def is_verified(self) -> bool:
        """Says whether all that is in it is proved, as far as it was asked."""
        is_led = self.by_head is None or self.by_head == self.parts or self.result.is_authentic is True
        return self.result.is_verified and is_led


class _Check:
    def __init__(self, reader: Reader, keys: Iterable[VerificationKey], heads: Iterable[Head]) -> None:
        self._reader = reader
        self._keys, self._heads = [*keys], [*heads]
        self._chain = ChainCheck(self._keys, self._heads)
        self.found = BundleResult()
        self._problems = self.found.result.problems
        self._last_place = -1
        """Of the entries that the records and gaps need."""

    def run(self, advance: Callable[[int], None]) -> None:
        with contextlib.closing(Proved()) as proved:
            self._about()
            self._file(
                layout.SEALS, lambda lines: self._seals(lines, proved, advance), layout.LONGEST_SEALS_LINE
            )
            followed = self._chain.found
            self._problems += followed.problems
            self._file(
                layout.RECORDS, lambda lines: self._records(lines, proved, followed, advance), _LONGEST_RECORD
            )
            self._finish(followed)

    def _add(self, kind: str, table: str, number: int | None = None) -> None:
        if len(self._problems) < _MOST_PROBLEMS:
            self._problems.append(Problem(kind, table, number, number, None, None))

    def _file(self, name: str, take: Callable[[Iterator[bytes]], None], longest: int) -> None:
        """Reads a file of lines, and compares it with the manifest."""
        try:
            with self._reader.file(name) as file:
                lines = file.lines(longest)
                take(lines)
                for _ in lines:
                    pass
            if file.entry == self._reader.entries[name]:
                return
        except ValueError:
            pass
        self._add("changed", name)

    def _about(self) -> None:
        try:
            text, entry = self._reader.about()
            about = layout.json_value(text)
        except ValueError:
            about = entry = None
        if isinstance(about, dict) and entry == self._reader.entries[layout.ABOUT]:
            self.found.about = about
        else:
            self._add("changed", layout.ABOUT)

    def _seals(self, lines: Iterator[bytes], proved: Proved, advance: Callable[[int], None]) -> None:
        """Takes the chain and the rows. What comes after a line that makes no sense is not looked at."""
        for number, raw in enumerate(lines, start=1):
            advance(len(raw) + 1)
            try:
                self._take(layout.read_line(raw), raw, proved)
            except (ValueError, IndexError, OverflowError, codec.PackError):
                self._add("changed", layout.SEALS, number)
                break
        self._chain.finish()

    def _take(self, line: Line, raw: bytes, proved: Proved) -> None:
        if isinstance(line, SealLine):
            self._chain.finish_segment()
            self._chain.take_segment(line)
        elif isinstance(line, ChainRow):
            self._chain.take_chain(line)
        else:
            place = self._chain.take_row(*row_of(line))
            proved.add(line, place, raw)

    def _records(
        self, lines: Iterator[bytes], proved: Proved, followed: Followed, advance: Callable[[int], None]
    ) -> None:
        """Compares the lines with what the rows make."""
        found, at = self.found, 0
        made: Iterator[tuple[bool, Made | NotMadeError]] = chained(
            ((True, each) for each in proved.records()), ((False, each) for each in proved.gaps())
        )
        ahead: bytes | None = None
        for is_record, each in made:
            line = next(lines, None) if ahead is None else ahead
            ahead, at = None, at + 1
            found.parts += 1
            found.records += is_record
            advance(0 if line is None else len(line) + 1)
            table = "exec" if is_record else "gap"
            if isinstance(each, NotMadeError):
                self._add("missing", each.table, each.number)
            elif line is None:
                self._add("missing", layout.RECORDS, at)
                return
            elif line in each.lines:
                self._count(each, followed, line, is_record=is_record)
            else:
                following = next(lines, None)
                if following is not None and following in each.lines:
                    self._add("added", layout.RECORDS, at)
                    self._count(each, followed, following, is_record=is_record)
                    at += 1
                else:
                    self._add("changed", layout.RECORDS, at)
                    self._add("changed", table, each.number)
                    ahead = following
                    if following is None:
                        at += 1
        for at, _ in enumerate(lines if ahead is None else chained([ahead], lines), start=at + 1):  # noqa: B020  # goes on
            self._add("added", layout.RECORDS, at)

    def _count(self, made: Made, followed: Followed, line: bytes, *, is_record: bool) -> None:
        found = self.found
        self._last_place = max(self._last_place, *made.places)
        if any(map(followed.wrong.has, made.places)):
            return
        if is_record:
            found.open += made.is_open
            found.loose += made.is_loose
            found.result.execs += 1
        else:
            found.gaps.append(layout.json_value(line))
        found.by_key += all(map(followed.by_key.has, made.places))
        if self._heads:
            found.by_head = (found.by_head or 0) + all(map(followed.by_head.has, made.places))

    def _finish(self, followed: Followed) -> None:
        found, result = self.found, self.found.result
        if self._heads and found.by_head is None:
            found.by_head = 0
        result.is_sealed = followed.head is not None
        result.head = None if followed.head is None else str(followed.head)
        result.sealed_until_ns = None if followed.last is None else followed.last.at_ns
        result.chains, result.lost, result.unkeyed = followed.chains, followed.lost, followed.unkeyed
        found.unchecked = followed.unchecked
        if self._keys:
            is_all = found.by_key == found.parts and not followed.is_forged
            if found.parts:
                # A later key says only that what came before it has not changed since: not who sealed that.
                is_all &= followed.first_unchecked is None or self._last_place < followed.first_unchecked
            else:
                # Then a key vouches for the end of the chain at least.
                is_all &= bool(followed.chains and followed.chains[-1].is_keyed and not followed.unchecked)
            result.is_authentic = is_all
        for head in self._heads:
            if (agrees := followed.heads.get(str(head))) is not True:
                self._add("cut" if agrees is None else "forged", "seal")
        gaps = found.parts - found.records
        known = (result.head, result.sealed_until_ns, found.records, gaps)
        said = tuple(map(found.about.get, ("head", "sealed_until", "records", "gaps")))
        if found.about and result.is_sealed and said != known:
            self._add("changed", layout.ABOUT)


def row_of(line: ExecLine | OtherExecLine | layout.RowLine) -> tuple[Stream, int, bytes]:
    """Returns the stream of a row, its number and its hash. Raises ValueError."""
    if isinstance(line, ExecLine):
        sealed = line.line if line.was is None else line.was
        launch, origin = codec.group_hash(line.launch), codec.group_hash(line.origin)
        return (
            Stream.EXEC,
            line.numbers[0],
            codec.exec_hash(codec.pack_exec(*line.numbers), launch, origin, sealed),
        )
    if isinstance(line, OtherExecLine):
        numbers = codec.pack_exec(*line.numbers)
        return Stream.EXEC, line.numbers[0], codec.exec_hash(numbers, line.launch, line.origin, line.line)
    number = line.values[0] if line.values else None
    if not isinstance(number, int):
        raise ValueError("a row has no number")  # noqa: TRY004  # as all others
    return line.stream, number, codec.row_hash(line.values)


def check(
    reader: Reader, keys: Iterable[VerificationKey], heads: Iterable[Head], advance: Callable[[int], None]
) -> BundleResult:
    """Verifies a bundle. `advance` is told how many more bytes were read, see archive.Reader.size()."""
    checking = _Check(reader, keys, heads)
    checking.run(advance)
    return checking.found
