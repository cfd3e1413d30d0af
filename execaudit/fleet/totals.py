"""Count what is wanted in a central database: by the engine, but for what it cannot decide."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from execaudit.database.enum_codes import KINDS
from execaudit.enums import GAINED_WORDS, Gained, Kind
from execaudit.errors import DamagedStoreError
from execaudit.escaping import exact
from execaudit.event import End, HuntRule, Nanoseconds
from execaudit.fleet.checks import check_of
from execaudit.fleet.conditions import Conditions
from execaudit.fleet.days import Days, Times
from execaudit.fleet.dialects import TRUE
from execaudit.fleet.relatives import pieces
from execaudit.fleet.walk import Range, source_of, times_of
from execaudit.query import hits, stats
from execaudit.query.find import found_of
from execaudit.query.stats import HostCount
from execaudit.query.tally import Counts, User

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from execaudit.fleet.engine import Engine, Row
    from execaudit.fleet.question import Question
    from execaudit.fleet.reading import Reader
    from execaudit.query import statements
    from execaudit.query.filter import Filter
    from execaudit.query.hits import OfRule
    from execaudit.query.rows import Found
    from execaudit.query.stats import Stats

_FAILED = KINDS.index(Kind.FAILED)


class _Certain(NamedTuple):
    """What the engine decides alone."""

    conditions: Conditions
    condition: str
    times: Times

    def source(self, engine: Engine, conditions: Conditions, more: str = TRUE) -> str:
        """Returns what follows FROM for it; the conditions have its parameters."""
        return source_of(engine, (self.condition, more), conditions, self.times)


class Totals:
    """Counts."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._engine = reader.engine

    def times(self, wanted: Filter) -> tuple[int, int] | None:
        """Returns the times of the first and the last exec in the range of a filter; None: there is none."""
        return Days(self._engine).times(wanted.since_ns, wanted.until_ns)

    def stats(self, wanted: Filter, *, now_ns: int, top: int, offset_ns: int) -> Stats:
        """Counts what is wanted, and returns the `top` most frequent of each kind. Raises FilterError."""
        ends = stats.ends_of(self.by_host(stats.of_hosts(wanted))) if wanted.hosts else self.times(wanted)
        times = stats.pieces_of(wanted, ends, now_ns=now_ns, offset_ns=offset_ns)
        tally = _Tally(top)
        if times is None:
            self._refuse_nonsense(wanted)
        else:
            wanted = stats.within(wanted, times)
            certain, others = self._divided(wanted)
            if certain is not None:
                self._add(tally, certain, times, top)
            for found in others:
                tally.add(found, times)
        longest = self._reader.fetch(tally.longest())
        return stats.to_stats(tally, times, [found.event for found in longest], top)

    def _refuse_nonsense(self, wanted: Filter) -> None:
        asked = self._reader.question(wanted)
        check_of(asked.left, self._reader)

    def _divided(self, wanted: Filter) -> tuple[_Certain | None, Iterable[Found]]:
        """Returns what the engine counts, and what is counted one by one."""
        asked = self._reader.question(wanted)
        if not asked.chosen or wanted.limit == 0:
            return None, ()
        if wanted.under or (wanted.limit is not None and not asked.is_exact):
            return None, self._reader.find(wanted)
        conditions, condition = asked.conditions.further(), asked.bounds.lower
        if wanted.limit is not None:
            condition = self._newest(asked, wanted.limit, conditions)
        certain = _Certain(conditions, condition, times_of(wanted))
        if asked.is_exact:
            return certain, ()
        return certain, (found for page in self._reader.uncertain(asked) for found in found_of(page))

    def _newest(self, asked: Question, limit: int, conditions: Conditions) -> str:
        """Returns the condition for the newest so many."""
        oldest = self._reader.oldest(asked, Range(), limit)
        if oldest is None:
            return "1 = 0"
        names = ", ".join(f'e."{name}"' for name in asked.order.columns)
        key = ", ".join(map(conditions.bind, oldest))
        return f"({names}) >= ({key}) AND {asked.bounds.lower}"

    def _grouped(
        self, certain: _Certain, columns: str, more: str = TRUE, counted: str = "count(*)"
    ) -> list[Row]:
        """Returns counts of values."""
        conditions = certain.conditions.further()
        source = certain.source(self._engine, conditions, more)
        sql = f"SELECT {columns}, {counted} FROM {source} GROUP BY {columns}"  # noqa: S608  # bound
        return self._engine.rows(sql, conditions.parameters)

    def _add(self, tally: _Tally, certain: _Certain, times: statements.Times, top: int) -> None:
        """Adds what the engine counts."""
        further = certain.conditions.further()
        piece = self._engine.dialect.divided(
            f'e."ts" - {further.bind(times.start_ns)}', further.bind(times.width_ns)
        )
        for kind, at, count in self._by_piece(certain._replace(conditions=further), piece):
            tally.kinds[kind] += count
            tally.pieces[at] += count
        for exe, bits, count in self._grouped(certain, 'e."exe", e."privileged"'):
            if exe is not None:
                tally.programs.add(exe)
            if bits is not None and 0 < bits < len(GAINED_WORDS):
                tally.privileged[exe, Gained(bits)] += count
        for comm, count in self._grouped(certain, 'e."comm"'):
            tally.commands[comm] += count
        for comm, name, uid, count in self._grouped(certain, 'e."parent_comm", e."user", e."uid"'):
            tally.parents[comm] += count
            tally.users[User(None if name is None else exact(name), uid)] += count
        for cgroup, count in self._grouped(certain, 'e."cgroup"', 'e."cgroup" IS NOT NULL'):
            tally.add_cgroup(cgroup, count)
        problem = 'e."errno" IS NOT NULL OR e."status" <> 0'
        for errno, status, count in self._grouped(certain, 'e."errno", e."status"', f"({problem})"):
            tally.add_problems({status if errno is None else -errno: count})
        conditions, late = self._of("exit", certain)
        sql = f'SELECT y."status", count(*) FROM {late} AND y."status" <> 0 GROUP BY y."status"'  # noqa: S608  # bound
        for status, count in self._engine.rows(sql, conditions.parameters):
            tally.add_problems({status: count})
        self._add_longest(tally, certain, top)

    def _by_piece(self, certain: _Certain, piece: str) -> list[Row]:
        conditions = certain.conditions.further()
        source = certain.source(self._engine, conditions)
        inner = f'SELECT e."kind" AS kind, {piece} AS piece FROM {source}'  # noqa: S608  # bound
        sql = f"SELECT kind, piece, count(*) FROM ({inner}) AS q GROUP BY kind, piece"  # noqa: S608  # bound
        return self._engine.rows(sql, conditions.parameters)

    def _of(self, table: str, certain: _Certain) -> tuple[Conditions, str]:
        """Returns what follows FROM, for the rows of execs in another table, as `y`; and its parameters."""
        conditions, dialect = certain.conditions.further(), self._engine.dialect
        keys = f'SELECT e."stream", e."seq" FROM {certain.source(self._engine, conditions)}'  # noqa: S608  # bound
        times = certain.times.said("y", conditions)
        among = f'(y."stream", y."seq") {dialect.among} ({keys})'
        return conditions, f"{dialect.table(table, 'y')} WHERE {times} AND {among}"

    def _add_longest(self, tally: _Tally, certain: _Certain, top: int) -> None:
        conditions = certain.conditions.further()
        own = certain.source(self._engine, conditions, 'e."duration_ns" IS NOT NULL')
        for alias, (parameters, source) in (("e", (conditions, own)), ("y", self._of("exit", certain))):
            columns = [f'{alias}."{name}"' for name in ("duration_ns", "stream", "seq")]
            order = ", ".join(f"{column} DESC" for column in columns)
            sql = f"SELECT {', '.join(columns)} FROM {source} ORDER BY {order} LIMIT {int(top)}"  # noqa: S608  # bound
            tally.add_longest(
                (duration, self._reader.kinship.number(stream, seq))
                for duration, stream, seq in self._engine.rows(sql, parameters.parameters)
            )

    def by_host(self, wanted: Filter) -> list[HostCount]:
        """Counts what is wanted for each host that has some of it: the most first, equal ones by name."""
        counted: dict[str, HostCount] = {}
        certain, others = self._divided(wanted)
        if certain is not None:
            what = (
                f'count(*), sum(CASE WHEN e."kind" = {_FAILED} THEN 1 ELSE 0 END), min(e."ts"), max(e."ts")'
            )
            for host, execs, failed, first, last in self._grouped(certain, 'e."host"', counted=what):
                name = host.decode("utf-8", "surrogateescape")
                counted[name] = HostCount(name, execs, int(failed), Nanoseconds(first), Nanoseconds(last))
        for found in others:
            event = found.event
            one = HostCount(event.host, 1, int(event.kind is Kind.FAILED), event.time_ns, event.time_ns)
            before = counted.get(event.host)
            counted[event.host] = one if before is None else stats.both(before, one)
        return sorted(counted.values(), key=lambda each: (-each.execs, each.host))

    # Hits of rules.

    def hits_of(self, numbers: Iterable[int]) -> dict[int, list[OfRule]]:
        """Returns what rules hit each of some execs while they were recorded; of one without hits nothing."""
        found: dict[int, list[OfRule]] = {}
        for some in pieces(self._reader.kinship.keys(numbers)):
            conditions = Conditions(self._engine.dialect)
            times = Days(self._engine).of_keys(some).said("z", conditions)
            among = self._engine.dialect.keys(('z."stream"', 'z."seq"'), some, conditions.bind)
            said = f"{times} AND {among}"
            hit = self._engine.dialect.table("hit", "z")
            sql = f'SELECT z."stream", z."seq", z."rule", z."left_out" FROM {hit} WHERE {said}'  # noqa: S608  # bound
            rows = self._engine.rows(sql, conditions.parameters)
            rules = self._rules({(row[0], row[2]) for row in rows})
            for stream, seq, rule, left_out in rows:
                number = self._reader.kinship.number(stream, seq)
                its = hits.OfRule(rules[stream, rule], 1 + left_out, left_out)
                found.setdefault(number, []).append(its)
        return {number: sorted(its, key=hits.order) for number, its in found.items()}

    def count_hits(self, wanted: Filter) -> list[OfRule]:
        """Returns the rules that hit what is wanted: those of the highest level first, then by their hits."""
        certain, others = self._divided(wanted)
        some: Counter[tuple[int, int]] = Counter()
        left_out: Counter[tuple[int, int]] = Counter()
        counted: list[OfRule] = []
        if certain is not None:
            conditions, source = self._of("hit", certain)
            sql = (
                'SELECT y."stream", y."rule", count(*), sum(y."left_out")'  # noqa: S608  # bound
                f' FROM {source} GROUP BY y."stream", y."rule"'
            )
            for stream, rule, count, more in self._engine.rows(sql, conditions.parameters):
                some[stream, rule] += count + int(more)
                left_out[stream, rule] += int(more)
            rules = self._rules(set(some))
            counted += [hits.OfRule(rules[key], count, left_out[key]) for key, count in some.items()]
        for numbers in _together(found.number for found in others):
            counted += [each for of_exec in self.hits_of(numbers).values() for each in of_exec]
        return hits.by_rule(counted)

    def _rules(self, wanted: set[tuple[int, int]]) -> dict[tuple[int, int], HuntRule]:
        """Returns rules by stream and id; of one that makes no sense, or is missing, no more than its number.

        Whoever ships what no recorder has does not stop the answers about other hosts.
        """
        if not wanted:
            return {}
        names = ("stream", "id", "uuid", "title", "level", "tags", "file")
        columns = ", ".join(f'"{name}"' for name in names)
        rows = self._engine.rows(f"SELECT {columns} FROM {self._engine.dialect.table('rule')}", {})  # noqa: S608  # ours
        rules = {
            key: HuntRule(None, f"rule {key[1]}, of which nothing is known", None, (), "") for key in wanted
        }
        for row in rows:
            if (row[0], row[1]) in wanted:
                with suppress(DamagedStoreError):
                    rules[row[0], row[1]] = hits.rule_of((row[1], *map(_text, row[2:])))
        return rules


_TOGETHER = 1000


def _together(numbers: Iterable[int]) -> Iterator[list[int]]:
    some: list[int] = []
    for number in numbers:
        some.append(number)
        if len(some) == _TOGETHER:
            yield some
            some = []
    if some:
        yield some


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode("utf-8", "surrogateescape")


class _Tally(Counts):
    """Counts events."""

    def add(self, found: Found, times: statements.Times) -> None:
        """Adds an exec."""
        event = found.event
        launch, end = event.launch, event.end
        self.kinds[KINDS.index(event.kind)] += 1
        self.pieces[(event.time_ns - times.start_ns) // times.width_ns] += 1
        if launch.exe is not None:
            self.programs.add(launch.exe)
        if launch.privileged:
            self.privileged[launch.exe, launch.privileged] += 1
        self.commands[launch.comm] += 1
        self.parents[launch.parent_comm] += 1
        self.users[User(launch.user, launch.uid)] += 1
        if event.origin.cgroup is not None:
            self.add_cgroup(event.origin.cgroup, 1)
        if event.errno is not None:
            self.errors[event.errno] += 1
        elif end is not None and (end.code or end.signal):
            self.ends[End(end.how, end.code, end.signal, Nanoseconds(0))] += 1
        if end is not None and end.duration_ns is not None:
            self.add_longest([(end.duration_ns, found.number)])
