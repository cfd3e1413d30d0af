"""A history in an SQLite file: each question has its function, which takes the connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.database import files
from execaudit.database.revision import schema_revision
from execaudit.query import find, globs, id_beginning, lineage, new_programs, recorders, summary, users
from execaudit.query.connection import Connection
from execaudit.query.history import History
from execaudit.query.recorders import Complete

if TYPE_CHECKING:
    import sqlite3
    from array import array
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from execaudit.event import Gap
    from execaudit.exec_id import ExecKey
    from execaudit.query.connection import Reading
    from execaudit.query.filter import Filter
    from execaudit.query.find import Page
    from execaudit.query.history import Likely
    from execaudit.query.hits import OfRule
    from execaudit.query.lineage import Kin
    from execaudit.query.new_programs import NewProgram
    from execaudit.query.recorders import Silence
    from execaudit.query.rows import Found
    from execaudit.query.stats import HostCount, Stats
    from execaudit.query.summary import Pruned

_VERSIONS = "SELECT version, host FROM run GROUP BY version, host ORDER BY min(id)"


class LocalHistory(History):
    """The history of one host, as its recorder writes it, or what was imported."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """The connection is one to the file; see open_history()."""
        self.connection = connection

    @property
    def path(self) -> Path:
        """Returns the file."""
        return recorders.database_of(self.connection)

    @property
    def reading(self) -> Reading | None:
        # Functions that take the connection find it there.
        return self.connection.reading if isinstance(self.connection, Connection) else None

    def pages(
        self, wanted: Filter, *, after: int | None = None, keys: bool = False, likely: Likely | None = None
    ) -> Iterator[Page]:
        del likely  # see hunt.search for what it is there
        return find.pages(self.connection, wanted, after=after, keys=keys)

    def fetch(self, numbers: Sequence[int]) -> list[Found]:
        return find.fetch(self.connection, numbers)

    def count(self, wanted: Filter) -> int:
        return find.count(self.connection, wanted)

    def times(self, wanted: Filter) -> tuple[int, int] | None:
        return find.times(self.connection, wanted)

    def about_how_many(self) -> int:
        return summary.about_how_many(self.connection)

    def size(self) -> int:
        return files.size_of(self.path)

    def schema(self) -> str:
        return str(schema_revision(self.connection))

    def locate(self, key: ExecKey) -> int | None:
        return find.locate(self.connection, key)

    def beginning(self, text: str, first: ExecKey, last: ExecKey) -> Iterator[int]:
        return id_beginning.beginning(self.connection, text, first, last)

    def has_user(self, name: bytes) -> bool:
        return users.has_user(self.connection, name)

    def uids_of(self, name: bytes) -> set[int]:
        return users.uids_of(self.connection, name)

    def has_setuid(self, uids: Iterable[int]) -> bool:
        return users.has_setuid(self.connection, uids)

    def gaps(self, wanted: Filter) -> list[Gap]:
        return find.gaps(self.connection, wanted)

    def silences(self, hosts: Sequence[str], stored: Iterable[Gap], *, now_ns: int) -> list[Silence]:
        return recorders.silences(self.connection, hosts, stored, now_ns=now_ns)

    def complete_until(self, hosts: Sequence[str], *, now_ns: int, patience_ns: int) -> Complete:
        del now_ns, patience_ns  # the recorder is on this host
        return Complete(recorders.complete_until(self.connection, hosts))

    def pruned(self) -> Pruned | None:
        return summary.pruned(self.connection)

    def hosts(self, given: Sequence[str]) -> list[str]:
        is_meant = globs.matching_names(given)
        found = self.connection.execute("SELECT DISTINCT host FROM run ORDER BY host")
        return [host for (host,) in found if not given or is_meant(host)]

    def versions(self, hosts: Sequence[str]) -> list[str]:
        is_meant = globs.matching_names(hosts)
        runs = self.connection.execute(_VERSIONS)
        return [*dict.fromkeys(str(version) for version, host in runs if not hosts or is_meant(host))]

    def lineage(self, numbers: Sequence[int], *, most: int | None = None) -> Iterator[Kin]:
        return lineage.lineage(self.connection, numbers, most=most)

    def descendants(self, numbers: Sequence[int], *, newest: int | None = None) -> array[int]:
        return lineage.descendants(self.connection, numbers, newest=newest)

    def below(
        self, tops: Sequence[int], *, drawn: Sequence[int], until_ns: int | None, most: int
    ) -> dict[int, int]:
        return lineage.below(self.connection, tops, drawn=drawn, until_ns=until_ns, most=most)

    def users_of(self, numbers: Sequence[int]) -> dict[int, tuple[str | None, int | None]]:
        return lineage.users_of(self.connection, numbers)

    def children(self, number: int, *, most: int | None) -> list[int]:
        return lineage.children(self.connection, number, most=most)

    def count_children(self, number: int, *, most: int) -> int:
        return lineage.count_children(self.connection, number, most=most)

    def siblings(self, number: int, *, most: int) -> list[int]:
        return lineage.siblings(self.connection, number, most=most)

    # What few questions need is loaded where it is used.

    def stats(self, wanted: Filter, *, now_ns: int, top: int, offset_ns: int = 0) -> Stats:
        from execaudit.query import stats  # noqa: PLC0415

        return stats.gather(self.connection, wanted, now_ns=now_ns, top=top, offset_ns=offset_ns)

    def by_host(self, wanted: Filter) -> list[HostCount]:
        from execaudit.query import stats  # noqa: PLC0415

        return stats.by_host(self.connection, wanted)

    def hits_of(self, numbers: Iterable[int]) -> dict[int, list[OfRule]]:
        from execaudit.query import hits  # noqa: PLC0415

        return hits.of_execs(self.connection, numbers)

    def count_hits(self, wanted: Filter) -> list[OfRule]:
        from execaudit.query import hits  # noqa: PLC0415

        return hits.count(self.connection, wanted)

    def sightings(self, since_ns: int) -> list[NewProgram]:
        return new_programs.sightings(self.connection, since_ns)
