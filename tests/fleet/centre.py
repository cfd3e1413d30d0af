"""What tests of forwarding share: make a central database, forward to it, and look at what has arrived."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg

from execaudit.central.tables import (
    EXEC,
    EXIT,
    GAP,
    HIT,
    PRUNED,
    RULE,
    RUN,
    STREAM,
    TABLES,
    Table,
    stream_number,
)
from execaudit.cli.run import central_db
from execaudit.cli.run.forward import Wanted, forward
from execaudit.database.url import Central, location_of
from execaudit.forward.flat import FlatRows
from execaudit.forward.source import Source
from execaudit.query.connection import open_history

if TYPE_CHECKING:
    from pathlib import Path

APPENDED = (EXEC, EXIT, HIT, RULE, RUN, GAP)


def central(url: str) -> Central:
    """Returns where a central database is."""
    location = location_of(url)
    assert isinstance(location, Central)
    return location


def make_central(url: str) -> str:
    """Makes the tables in an empty database. Returns its URL."""
    central_db.upgrade(central(url), None)
    return url


def ship(path: Path, url: str, *, batch: int = 100, state: Path | None = None) -> None:
    """Forwards all that a history has."""
    assert (
        forward(path, url, Wanted(once=True, password_file=None, batch=batch, metrics=None, state_file=state))
        == 0
    )


def forwarding(path: Path, url: str, *, batch: int = 100) -> int:
    """Forwards for ever, in a process of its own. Returns its pid."""
    child = os.fork()
    if child == 0:
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            forward(
                path, url, Wanted(once=False, password_file=None, batch=batch, metrics=None, state_file=None)
            )
        finally:
            os._exit(1)
    return child


class Centre(NamedTuple):
    """A central database in PostgreSQL."""

    url: str

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Returns the rows of a question."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(sql.encode(), values or None).fetchall()

    def empty(self) -> None:
        """Deletes all rows."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for table in TABLES:
                connection.execute(f'DELETE FROM "{table.name}"'.encode())

    def table(self, table: Table) -> list[tuple[Any, ...]]:
        """Returns all rows of a table, in the order of its key."""
        columns, order = (", ".join(f'"{name}"' for name in names) for names in (table.names, table.key))
        return self.rows(f'SELECT {columns} FROM "{table.name}" ORDER BY {order}')

    def pids(self) -> list[int]:
        """Returns the pids of all execs, of each stream in the order of recording."""
        return [pid for (pid,) in self.rows('SELECT "pid" FROM "exec" ORDER BY "stream", "seq"')]

    def missing(self) -> dict[str, int]:
        """Returns how many execs gaps count, by their reasons."""
        sql = 'SELECT convert_from("reason", \'UTF8\'), sum("count")::int FROM "gap" GROUP BY 1'
        return dict(self.rows(sql))

    def await_execs(self, count: int, seconds: float = 60) -> None:
        """Waits until so many execs have arrived."""
        end = time.monotonic() + seconds
        while self.rows('SELECT count(*) FROM "exec"')[0][0] < count:
            assert time.monotonic() < end, "they do not arrive"
            time.sleep(0.02)


def flat(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Returns what a local history has, as rows of the central tables; of STREAM what says how far it is."""
    with open_history(path) as connection:
        source = Source(connection)
        stream = stream_number(source.stream_id(), 0)
        rows = FlatRows(stream)
        execs: list[tuple[Any, ...]] = []
        after = 0
        while (page := source.page(after, source.last(), 1000)) is not None:
            execs += rows.of(page)
            after = page.rows[-1][0]
        most = 10**9
        found: dict[str, list[tuple[Any, ...]]] = {
            "exec": execs,
            "exit": [(stream, end.exec, end.ts, end.number, *end[3:]) for end in source.ends(0, most)],
            "hit": [(stream, *hit) for hit in source.hits(0, most)],
            "rule": [(stream, rule.number, *map(_bytes, rule[1:])) for rule in source.rules(0, most)],
            "run": [(stream, run.number, *map(_bytes, run[1:4]), *run[4:]) for run in source.runs(0, most)],
            "gap": [
                (stream, gap.number, _bytes(gap.host), *gap[2:4], _bytes(gap.reason), *gap[5:])
                for gap in source.gaps(0, most)
            ],
        }
    return {name: sorted(each) for name, each in found.items()}


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def assert_same(path: Path, centre: Centre) -> None:
    """The centre has all that the history has, and nothing else."""
    expected = flat(path)
    for table in APPENDED:
        assert expected[table.name] == sorted(centre.table(table)), table.name
    programs: dict[bytes, int] = {}
    for row in expected["exec"]:
        exe, ts = row[EXEC.names.index("exe")], row[2]
        if exe is not None:
            programs[exe] = min(ts, programs.get(exe, ts))
    assert programs == dict(centre.rows('SELECT "exe", "first_ts" FROM "program"'))
    (stream,) = centre.table(STREAM)
    last = max((row[1] for row in expected["exec"]), default=0)
    assert last == stream[STREAM.names.index("exec_seq")]
    assert 8 == len(centre.table(PRUNED))
