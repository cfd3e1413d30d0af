"""A history in a central database: of all hosts that ship to it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from execaudit.database.imports import VERSION_BEGINNING
from execaudit.enums import GapReason
from execaudit.event import Gap, Nanoseconds
from execaudit.fleet import arrival
from execaudit.fleet.conditions import Conditions
from execaudit.fleet.heads import newest_head
from execaudit.fleet.ids import Ids
from execaudit.fleet.reading import Reader
from execaudit.fleet.retired import retired
from execaudit.fleet.streams import Streams
from execaudit.fleet.totals import Totals
from execaudit.query import globs, recorders
from execaudit.query.history import History
from execaudit.query.new_programs import NewProgram
from execaudit.query.recorders import Silence

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable, Iterator, Sequence

    from execaudit.exec_id import ExecKey
    from execaudit.fleet.engine import Engine, Row
    from execaudit.query.connection import Reading
    from execaudit.query.filter import Filter
    from execaudit.query.find import Page
    from execaudit.query.history import Likely
    from execaudit.query.hits import OfRule
    from execaudit.query.lineage import Kin
    from execaudit.query.recorders import Complete
    from execaudit.query.rows import Found
    from execaudit.query.stats import HostCount, Stats
    from execaudit.query.summary import Pruned
    from execaudit.seal.chain import Head

_MOST_PROGRAMS, _MOST_HEADS = 1000, 100


class CentralHistory(History):
    """Answers from a central database."""

    def __init__(self, engine: Engine, reading: Reading | None = None) -> None:
        """Raises StoreError."""
        self._engine, self._reading = engine, reading
        self._streams = Streams(engine)
        self._reader = Reader(engine, self._streams, reading)
        self._kinship = self._reader.kinship
        self._ids = Ids(engine, self._streams, self._kinship)
        self._totals = Totals(self._reader)

    @property
    def reading(self) -> Reading | None:
        """Is told how far a search is, if somebody wants to know."""
        return self._reading

    def schema(self) -> str:
        """Returns the revision of its schema."""
        return self._engine.schema()

    # Execs.

    def pages(
        self, wanted: Filter, *, after: int | None = None, keys: bool = False, likely: Likely | None = None
    ) -> Iterator[Page]:
        """Yields the rows of what is wanted; see Reader.pages()."""
        del keys  # all is known anyway
        return self._reader.pages(wanted, after=after, likely=likely)

    def fetch(self, numbers: Sequence[int]) -> list[Found]:
        """Returns the execs of these numbers, in their order, but for those that are not there."""
        return self._reader.fetch(numbers)

    def count(self, wanted: Filter) -> int:
        """Returns how many execs there are of what is wanted."""
        return self._reader.count(wanted)

    def times(self, wanted: Filter) -> tuple[int, int] | None:
        """Returns the times of the first and the last exec in the range of a filter; None: there is none."""
        return self._totals.times(wanted)

    def about_how_many(self) -> int:
        """Returns about how many execs there are."""
        return self._engine.about_how_many()

    def size(self) -> int:
        """Returns how many bytes the tables have on the server's disks."""
        return self._engine.size()

    def locate(self, key: ExecKey) -> int | None:
        """Returns the number of the exec with this id, or None if it is not there."""
        return self._ids.locate(key)

    def beginning(self, text: str, first: ExecKey, last: ExecKey) -> Iterator[int]:
        """Yields numbers of execs whose ids begin with a text, and are between two."""
        return self._ids.beginning(text, first, last)

    # Users.

    def has_user(self, name: bytes) -> bool:
        """Says whether somebody has this name."""
        return bool(self._engine.accounts(name))

    def uids_of(self, name: bytes) -> set[int]:
        """Returns the uids that a name has."""
        return {uid for uid in self._engine.accounts(name) if uid is not None}

    def has_setuid(self, uids: Iterable[int]) -> bool:
        """Returns True: to know it would take a look at all execs. Who asks looks for one himself."""
        del uids
        return True

    # What is missing.

    def gaps(self, wanted: Filter) -> list[Gap]:
        """Returns when execs were missed, in the filter's range or overlapping it, on its hosts."""
        conditions = Conditions(self._engine.dialect)
        said = ["1 = 1"]
        if wanted.since_ns is not None:
            said.append(f'g."ts_to" >= {conditions.bind(wanted.since_ns)}')
        if wanted.until_ns is not None:
            said.append(f'g."ts_from" < {conditions.bind(wanted.until_ns)}')
        sql = (
            'SELECT g."stream", g."id", g."host", g."ts_from", g."ts_to", g."reason", g."count", g."exits", g."uid"'  # noqa: S608  # bound
            f" FROM {self._engine.dialect.table('gap', 'g')} WHERE {' AND '.join(said)}"
        )
        rows = [
            row for row in self._engine.rows(sql, conditions.parameters) if row[0] in self._streams.places
        ]
        rows.sort(key=lambda row: (self._streams.places[row[0]], row[1]))
        is_wanted = globs.matching_names(wanted.hosts)
        found = []
        for _, _, host, start, end, reason, count, exits, uid in rows:
            name = host.decode("utf-8", "surrogateescape")
            if wanted.hosts and not is_wanted(name):
                continue
            # What a forwarder that means harm sent is no gap.
            with contextlib.suppress(ValueError):
                found.append(Gap(name, start, end, GapReason(reason.decode()), count, exits, uid))
        return found

    def silences(self, hosts: Sequence[str], stored: Iterable[Gap], *, now_ns: int) -> list[Silence]:
        """Returns when nobody recorded these hosts (all, if none is named), without stored gaps."""
        runs: list[tuple[str, Nanoseconds, Nanoseconds, object]] = []
        recorded = set()
        for stream, number, host, version, started, stopped, seen in self._runs():
            until = next(each for each in (stopped, seen, started) if each is not None)
            name = host.decode("utf-8", "surrogateescape")
            runs.append(
                (
                    name,
                    Nanoseconds(started),
                    Nanoseconds(until),
                    version.startswith(VERSION_BEGINNING.encode()),
                )
            )
            if self._streams.live[stream].run == number:
                recorded.add(name)
        found = recorders.silences_of(runs, hosts, stored, recorded=recorded, now_ns=now_ns)
        return [*self._told(found, hosts)]

    def _told(self, found: Iterable[Silence], hosts: Sequence[str]) -> Iterator[Silence]:
        """Yields what is to be told of silences: that of a retired host ends when it was retired.

        Unless somebody names it: then it goes on.
        """
        gone = {
            name.decode("utf-8", "surrogateescape"): at_ns
            for name, at_ns in retired(
                self._engine, ((each.number, each.host, each.contact_ns) for each in self._streams.all)
            ).items()
        }
        for silence in found:
            at_ns = None if silence.host is None or silence.host in hosts else gone.get(silence.host)
            if silence.to_ns is not None or at_ns is None:
                yield silence._replace(is_central=True)
            elif silence.from_ns is not None and silence.from_ns < at_ns:
                yield Silence(silence.host, silence.from_ns, Nanoseconds(at_ns), is_central=True)

    def complete_until(self, hosts: Sequence[str], *, now_ns: int, patience_ns: int) -> Complete:
        """Returns until when everything of hosts is here; see arrival.complete_until()."""
        streams = Streams(self._engine)
        chosen = streams.of_hosts(self._engine, hosts) if hosts else streams.all
        numbers = {each.number for each in chosen}
        return arrival.complete_until(self._engine, numbers, now_ns=now_ns, patience_ns=patience_ns)

    def _runs(self) -> list[Row]:
        """Returns all runs of recorders and imports, in the order of streams, and as they began."""
        names = ("stream", "id", "host", "version", "started_ns", "stopped_ns", "seen_ns")
        columns = ", ".join(f'"{name}"' for name in names)
        rows = self._engine.rows(f"SELECT {columns} FROM {self._engine.dialect.table('run')}", {})  # noqa: S608  # ours
        places = self._streams.places
        return sorted((row for row in rows if row[0] in places), key=lambda row: (places[row[0]], row[1]))

    def pruned(self) -> Pruned | None:
        """Returns None: what hosts deleted is still here, and what was not shipped is a gap."""
        return None

    def hosts(self, given: Sequence[str]) -> list[str]:
        """Returns the names of the hosts that were recorded; with globs, of those that one of them names."""
        is_meant = globs.matching_names(given)
        names = sorted({row[2].decode("utf-8", "surrogateescape") for row in self._runs()})
        return [name for name in names if not given or is_meant(name)]

    def heads(self, hosts: Sequence[str]) -> tuple[list[tuple[str, Head | None, int]], int]:
        """Returns of each host the newest head that has arrived, and when it was sealed; None: none has.

        Hosts are as in a filter. Of very many, the first by name, and how many there are besides.
        """
        chosen = self._streams.of_hosts(self._engine, hosts) if hosts else self._streams.all
        by_host: dict[bytes, list[int]] = {}
        for stream in chosen:
            by_host.setdefault(stream.host, []).append(stream.number)
        found = []
        for host in sorted(by_host)[:_MOST_HEADS]:
            heads = [*filter(None, (newest_head(self._engine, stream) for stream in by_host[host]))]
            head, at_ns = max(heads, key=lambda each: each[1], default=(None, 0))
            found.append((host.decode("utf-8", "surrogateescape"), head, at_ns))
        return found, max(0, len(by_host) - _MOST_HEADS)

    def versions(self, hosts: Sequence[str]) -> list[str]:
        """Returns which versions recorded these hosts, in the order in which they first did."""
        is_meant = globs.matching_names(hosts)
        return [
            *dict.fromkeys(
                row[3].decode("utf-8", "backslashreplace")
                for row in self._runs()
                if not hosts or is_meant(row[2].decode("utf-8", "surrogateescape"))
            )
        ]

    # Relatives.

    def lineage(self, numbers: Sequence[int], *, most: int | None = None) -> Iterator[Kin]:
        """Yields the execs of these numbers and all of their ancestors, each once, by number."""
        return self._kinship.lineage(numbers, most)

    def descendants(self, numbers: Sequence[int], *, newest: int | None = None) -> array[int]:
        """Returns the numbers of these execs and all of their descendants, each once, in order."""
        return self._kinship.descendants(numbers, newest)

    def below(
        self, tops: Sequence[int], *, drawn: Sequence[int], until_ns: int | None, most: int
    ) -> dict[int, int]:
        """Returns descendants of `tops` before a time, and of which of these; at most so many."""
        return self._kinship.below(tops, drawn, until_ns, most)

    def users_of(self, numbers: Sequence[int]) -> dict[int, tuple[str | None, int | None]]:
        """Returns the name and the uid of who ran each of these execs."""
        return self._kinship.users_of(numbers)

    def children(self, number: int, *, most: int | None) -> list[int]:
        """Returns the numbers of an exec's first `most` children; None: of all of them."""
        return self._kinship.children(number, most)

    def count_children(self, number: int, *, most: int) -> int:
        """Returns how many children an exec has, or `most` if it has more."""
        return self._kinship.count_children(number, most)

    def siblings(self, number: int, *, most: int) -> list[int]:
        """Returns the numbers of the last `most` siblings before an exec, then of the first after it."""
        return self._kinship.siblings(number, most)

    # Counts.

    def stats(self, wanted: Filter, *, now_ns: int, top: int, offset_ns: int = 0) -> Stats:
        """Counts what is wanted, and returns the `top` most frequent of each kind."""
        return self._totals.stats(wanted, now_ns=now_ns, top=top, offset_ns=offset_ns)

    def by_host(self, wanted: Filter) -> list[HostCount]:
        """Counts what is wanted for each host that has some of it: the most first, equal ones by name."""
        return self._totals.by_host(wanted)

    def hits_of(self, numbers: Iterable[int]) -> dict[int, list[OfRule]]:
        """Returns what rules hit each of some execs while they were recorded; of one without hits nothing."""
        return self._totals.hits_of(numbers)

    def count_hits(self, wanted: Filter) -> list[OfRule]:
        """Returns the rules that hit what is wanted: those of the highest level first, then by their hits."""
        return self._totals.count_hits(wanted)

    def sightings(self, since_ns: int) -> list[NewProgram]:
        """Returns the programs that ran since this time, and not before on any host. The first first."""
        new = sorted(self._reader.new_since(since_ns))
        found = []
        for start in range(0, len(new), _MOST_PROGRAMS):
            conditions = Conditions(self._engine.dialect)
            among = conditions.one_of('e."exe"', new[start : start + _MOST_PROGRAMS])
            said = f'{among} AND e."errno" IS NULL AND e."ts" >= {conditions.bind(since_ns)}'
            sql = (
                'SELECT e."exe", min(e."ts"), count(*)'  # noqa: S608  # bound
                f' FROM {self._engine.dialect.table("exec", "e")} WHERE {said} GROUP BY e."exe"'
            )
            rows = self._engine.rows(sql, conditions.parameters)
            found += [NewProgram(exe, Nanoseconds(first), execs) for exe, first, execs in rows]
        return sorted(found, key=lambda each: (each.first_ns, each.exe))
