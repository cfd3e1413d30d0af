"""Make what the hosts of a fleet would forward: batches of flat rows, without a recorder and without a file.

The command lines are those of bench.history. Hosts have different rates (a tenth of them has half of the
execs), clocks that are off by some milliseconds, seldom by an hour or by years, reboots, and late ends.
The random numbers are seeded: the same fleet makes the same rows.
"""

from __future__ import annotations

import random
from bisect import bisect
from typing import TYPE_CHECKING, Any

from bench.history import Making
from execaudit.central.numbering import NOT_SHIFTED
from execaudit.central.tables import EXEC, EXIT, GAP, RUN, stream_number
from execaudit.fields import LAUNCH_FIELDS, ORIGIN_FIELDS, Form
from execaudit.forward.target import Batch, Cursors, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from execaudit.central.tables import Table
    from execaudit.fields import Field, Launch, Origin

    _Row = tuple[Any, ...]

_SECOND = 1_000_000_000
DAY_NS = 86_400 * _SECOND
_POOL = 100_000
_COMMON, _FAILS = 0.8, 0.97
_LATE_END = 20
_LONG_EVERY = 100_000
_SHELLS = 40
_REBOOTS_DAYS = 10.0


def _encoded(group: Launch | Origin, fields: Sequence[Field]) -> _Row:
    """Returns a group of values as they stand in a row of EXEC."""
    encoders: dict[Form, Callable[[Any], object]] = {Form.NAME: str.encode, Form.GAINED: int}
    return tuple(
        value if value is None or field.form not in encoders else encoders[field.form](value)
        for value, field in zip(group, fields, strict=True)
    )


class Lines:
    """The command lines that all hosts share, as parts of rows."""

    def __init__(self) -> None:
        self.making = Making(_POOL)
        self.weights = self.making.weights
        origins = {id(each): _encoded(each, ORIGIN_FIELDS) for each in self.making.origins}
        self.lines = [
            (
                argv, argc, size, [_encoded(each, LAUNCH_FIELDS) for each in launches],
                [origins[id(each)] for each in chosen],
            )
            for argv, argc, size, launches, chosen in self.making.lines
        ]  # fmt: skip

    def unique(self, number: int, chance: float) -> tuple[bytes, _Row, _Row]:
        """Returns a command line that comes once, its launch and its origin."""
        argv, launch, origin = self.making.unique(number, chance)
        return argv, _encoded(launch, LAUNCH_FIELDS), _encoded(origin, ORIGIN_FIELDS)


class Host:
    """One host. Its batches come one after the other."""

    def __init__(self, lines: Lines, place: int, execs: int, start_ns: int, length_ns: int) -> None:
        """`execs`: how many it has in all, from the start and for so long."""
        self._random = random.Random(f"host {place}")  # noqa: S311  # no secret
        self.execs, self.place = execs, place
        self.name = b"host-%05d.example" % place
        self._lines = lines
        self._stream_id = self._random.getrandbits(128).to_bytes(16, "big")
        self.number = stream_number(self._stream_id, 0)
        # Most clocks are right, one in a hundred is off by an hour, and one in three hundred by eleven years.
        self._skew_ns = int(self._random.gauss(0, 20_000_000))
        if place % 100 == 7:  # noqa: PLR2004
            self._skew_ns = 3600 * _SECOND
        if place % 300 == 13:  # noqa: PLR2004
            self._skew_ns = -11 * 365 * DAY_NS
        self._now, self._pause = start_ns, length_ns / max(execs, 1)
        self._first_ns, self._last_ns = start_ns, start_ns + length_ns
        self._seq = self._exit_id = self._gap_id = self._run = 0
        self._pid = 300
        self._parents: list[int | None] = [None] * _SHELLS
        self._late: list[_Row] = []
        self._cursors = Cursors()
        self._is_new = True
        self._runs: list[_Row] = []
        self._boot()

    def _boot(self) -> None:
        rnd = self._random
        self._boot_id = b"%08x-1111-4222-8333-%012x" % (rnd.getrandbits(32), rnd.getrandbits(48))
        self._booted_ns = self._now - 50 * _SECOND
        self._reboot_ns = self._now + int(rnd.expovariate(1 / _REBOOTS_DAYS) * DAY_NS)
        self._run += 1
        self._parents = [None] * _SHELLS
        started = self._now + self._skew_ns
        self._runs = [
            *(self._stopped(row) for row in self._runs[-1:]),
            (self.number, self._run, self._boot_id, self.name, b"bench", started, None, started),
        ]

    def _stopped(self, row: _Row) -> _Row:
        return (*row[:6], self._now + self._skew_ns - 1, row[7])

    @property
    def is_done(self) -> bool:
        """Says whether all is made."""
        return self._seq >= self.execs

    def batch(self, most: int) -> Batch:
        """Returns the next batch, of up to so many execs."""
        count = min(most, self.execs - self._seq)
        ends, self._late = self._late, []
        rows = [self._exec() for _ in range(count)]
        exits = []
        for row in ends:
            self._exit_id += 1
            exits.append((*row[:3], self._exit_id, *row[3:]))
        tables: dict[Table, list[_Row]] = {RUN: self._runs, EXEC: rows, EXIT: exits}
        if self._random.random() < count / 500_000:
            self._gap_id += 1
            at = self._now + self._skew_ns
            tables[GAP] = [(self.number, self._gap_id, self.name, at - _SECOND, at, b"ring_full", 12, 0, 0)]
        before = None if self._is_new else self._cursors
        self._cursors = Cursors(self._seq, self._exit_id, 0, self._run, self._gap_id, 0)
        # Its recorder is there when nothing runs, too.
        contact = (max(self._now, self._last_ns) if self.is_done else self._now) + self._skew_ns
        self._runs[-1] = (*self._runs[-1][:-1], contact)
        self._is_new, self._runs = False, self._runs[-1:]
        stream = Stream(
            self.number, self._stream_id.hex().encode(), self.name, b"bench", 0, self._first_ns, contact, self._seq,
            self._cursors, self._run, None, b"[]", NOT_SHIFTED,
        )  # fmt: skip
        return Batch(stream, before, tables)

    def _exec(self) -> _Row:
        rnd = self._random
        self._now += int(rnd.expovariate(1.0) * self._pause) + 1
        if self._now > self._reboot_ns:
            self._boot()
        self._seq += 1
        number, chance = self._seq, rnd.random()
        self._pid = self._pid + 1 if self._pid < 4_194_303 else 300  # noqa: PLR2004  # the kernel's most
        if chance < _COMMON and (number + self.place) % _LONG_EVERY:
            weights = self._lines.weights
            argv, argc, size, launches, origins = self._lines.lines[
                bisect(weights, rnd.random() * weights[-1])
            ]
            launch, origin = launches[number % len(launches)], origins[number % 7 == 0]
        else:
            argv, launch, origin = self._lines.unique(number * 1000 + self.place % 1000, chance)
            argc, size = argv.count(b"\0"), len(argv)
        time_ns, fails = self._now + self._skew_ns, chance > _FAILS
        parent = self._parents[number % _SHELLS]
        if not fails and number % 33 == 0:
            self._parents[number % _SHELLS] = number if rnd.random() < 0.9 else None  # noqa: PLR2004
        end: _Row = (None, None, None)
        if not fails and number % _LATE_END:
            end = (4_000_000 + number % 1000 * 1000, 0 if number % 9 else 256, None)
            if number % 8 == 0:
                self._late.append((self.number, number, time_ns, *end))
                end = (None, None, None)
        return (
            self.number, number, time_ns, self._now - self._booted_ns, self._run, self.name, self._boot_id,
            1 if fails else 0, self._pid, self._pid, 1 if parent is None else 1000 + parent % 1000, parent, *launch,
            *origin, argv, argc, size, None, None, None, 2 if fails else None, *end,
        )  # fmt: skip


def hosts(count: int, execs: int, start_ns: int, length_ns: int, lines: Lines | None = None) -> list[Host]:
    """Returns so many hosts, which have so many execs together."""
    rnd = random.Random("rates")  # noqa: S311  # no secret
    weights = [rnd.lognormvariate(0, 1.2) for _ in range(count)]
    shared, total = lines or Lines(), sum(weights)
    made = [max(round(execs * weight / total), 1) for weight in weights]
    made[0] = max(made[0] + execs - sum(made), 1)
    return [Host(shared, place, number, start_ns, length_ns) for place, number in enumerate(made)]
