"""Look up what rows of a central database refer to: later ends, parents, and what came next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.fleet.answer_pages import TS, Relatives, ends_asked, relatives_asked
from execaudit.fleet.conditions import Conditions
from execaudit.fleet.days import DAY_NS, Days, Times, times_of
from execaudit.query.rows import Relative

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from execaudit.fleet.engine import Engine, Row

    Key = tuple[int, int]
    End = tuple[int, int | None, int | None]

LOOKED_UP = 2000
"""So many keys are asked in a statement."""
_MOST_REMEMBERED = 20_000


def pieces(keys: Iterable[Key]) -> Iterator[Sequence[Key]]:
    """Yields so many keys at a time, in order."""
    ordered = sorted(keys)
    for start in range(0, len(ordered), LOOKED_UP):
        yield ordered[start : start + LOOKED_UP]


class Looker:
    """Looks relatives up, and remembers those that do not change."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._days = Days(engine)
        # None: it is not there.
        self._known: dict[Key, Relative | None] = {}

    def of(self, rows: Sequence[Row]) -> Relatives:
        """Returns what rows of EXEC refer to, of what is there."""
        if not rows:
            return Relatives({}, {})
        times = [row[TS] for row in rows]
        first, last = min(times), max(times)
        ends = self._ends(ends_asked(rows), Times(((first, last),)))
        asked = relatives_asked(rows, ends)
        if len(self._known) > _MOST_REMEMBERED:
            self._known = {}
        new = asked.difference(self._known)
        # Most were near in time: then few days are looked at.
        self._look_up(new, Times(((first - DAY_NS, last + DAY_NS),)))
        left = new.difference(self._known)
        if left:
            self._look_up(left, self._days.of_keys(left))
        self._known.update(dict.fromkeys(new.difference(self._known)))
        return Relatives(ends, {key: relative for key in asked if (relative := self._known[key]) is not None})

    def _look_up(self, keys: Iterable[Key], times: Times) -> None:
        found: dict[Key, Relative] = {}
        open_ended: dict[Key, int] = {}
        columns = ("stream", "seq", "ts", "boot_ns", "pid", "replaced_by", "duration_ns")
        for some in pieces(keys):
            for stream, seq, ts, boot_ns, pid, following, duration in self._select(
                "exec", columns, some, times
            ):
                found[stream, seq] = Relative(boot_ns, pid, following)
                if following is None and duration is None:
                    open_ended[stream, seq] = ts
        if open_ended:
            ends = self._ends(open_ended, times_of(ts // DAY_NS for ts in open_ended.values()))
            found.update((key, found[key]._replace(replaced_by=end[2])) for key, end in ends.items())
        self._known.update(found)

    def _ends(self, keys: Iterable[Key], times: Times) -> dict[Key, End]:
        columns = ("stream", "seq", "duration_ns", "status", "replaced_by")
        return {
            (row[0], row[1]): (row[2], row[3], row[4])
            for some in pieces(keys)
            for row in self._select("exit", columns, some, times)
        }

    def _select(self, table: str, columns: Sequence[str], keys: Sequence[Key], times: Times) -> list[Row]:
        """Returns rows of the execs with these keys, of some times."""
        dialect = self._engine.dialect
        conditions = Conditions(dialect)
        said = [times.said("e", conditions), dialect.keys(('e."stream"', 'e."seq"'), keys, conditions.bind)]
        shown = ", ".join(f'e."{name}"' for name in columns)
        source = f"{dialect.table(table, 'e')} {dialect.where(said)}"
        sql = f"SELECT {shown} FROM {source}"  # noqa: S608  # bound
        return self._engine.rows(sql, conditions.parameters)
