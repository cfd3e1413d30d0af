"""Days in PostgreSQL: what came before its day was made is moved there, and nobody can hold that up."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import psycopg
import pytest

from execaudit.central import postgresql
from execaudit.central.postgresql_functions import DAY_NS
from execaudit.central.tables import EXEC, NEWEST_DAYS
from execaudit.errors import StoreError
from execaudit.fleet.postgresql_reader import PostgresReader
from tests.commands import execaudit
from tests.fleet.centre import Centre, central, ship
from tests.fleet.test_central_database import CHECKOUT, history_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TODAY = time.time_ns() // DAY_NS
_DEFAULT = 'SELECT "ts" FROM "exec_default" ORDER BY 1'


@pytest.fixture
def owner(centre: Centre) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Returns a connection of the owner's."""
    with psycopg.connect(centre.url, autocommit=True) as connection:
        yield connection


def name_of(day: int) -> str:
    """Returns the name of the partition with the execs of a day."""
    return time.strftime("exec_%Y%m%d", time.gmtime(day * 86_400))


def is_there(centre: Centre, day: int) -> bool:
    """Says whether a day has its partition."""
    return bool(centre.rows("SELECT to_regclass(%s) IS NOT NULL", name_of(day))[0][0])


def undone(owner: psycopg.Connection[tuple[object, ...]], day: int) -> None:
    """Puts the execs of a day where they are if they came before it was made."""
    name = name_of(day)
    owner.execute(f"ALTER TABLE exec DETACH PARTITION {name}".encode())
    owner.execute(f"INSERT INTO exec SELECT * FROM {name}".encode())
    for table in ("exec", "exit", "hit"):
        owner.execute(f"DROP TABLE {name.replace('exec', table)}".encode())


def flooded(owner: psycopg.Connection[tuple[object, ...]], ts: int, rows: int, *, size: int = 1) -> None:
    """Has many execs beside one that is there, as somebody may ship them."""
    columns = ", ".join(f'e."{name}"' for name in EXEC.names)
    shown = columns.replace('e."seq"', "1000 + n").replace('e."argv"', f"decode(repeat('61', {size}), 'hex')")
    owner.execute(
        f"INSERT INTO exec SELECT {shown} FROM generate_series(1, {rows}) AS n, exec AS e WHERE e.ts = {ts} AND e.seq < 1000".encode()
    )


def test_what_came_before_its_day_is_moved_when_that_is_made(
    centre: Centre, owner: psycopg.Connection[tuple[object, ...]], tmp_path: Path
) -> None:
    """By the next host that ships something of it; an exec that was dated ahead is dropped with its day."""
    day = TODAY - 20
    times = [day * DAY_NS, day * DAY_NS + 5, (day + 1) * DAY_NS - 1]
    ship(history_of(tmp_path / "x.db", times), centre.url)
    undone(owner, day)
    assert times == [ts for (ts,) in centre.rows(_DEFAULT)]
    ship(history_of(tmp_path / "y.db", [day * DAY_NS + 2]), centre.url)

    assert [] == centre.rows(_DEFAULT)
    assert 4 == centre.rows(f"SELECT count(*) FROM {name_of(day)}")[0][0]
    done = execaudit(f"--db={centre.url}", "db", "prune", "--older-than=10d")
    assert b": 4 execs of 1 days deleted" in done.err


def test_days_are_made_ahead_by_whoever_ships(
    centre: Centre, owner: psycopg.Connection[tuple[object, ...]], tmp_path: Path
) -> None:
    """So that nobody waits at midnight, and nothing is of a day that is not there."""
    for day in range(TODAY, TODAY + NEWEST_DAYS):
        owner.execute(f"DROP TABLE {name_of(day)}".encode())
    ship(history_of(tmp_path / "x.db", [time.time_ns()]), centre.url)

    today = time.time_ns() // DAY_NS
    assert all(is_there(centre, day) for day in range(today, today + NEWEST_DAYS))


def test_a_flood_into_a_day_that_is_not_there_holds_up_nobody(
    centre: Centre, owner: psycopg.Connection[tuple[object, ...]], tmp_path: Path
) -> None:
    """A few thousand are moved by a forwarder; more stay, and are moved by the owner's next `db prune`."""
    day = TODAY - 20
    ts = day * DAY_NS + 7
    ship(history_of(tmp_path / "x.db", [ts]), centre.url)
    undone(owner, day)
    flooded(owner, ts, 10_000)
    ship(history_of(tmp_path / "y.db", [ts + 1]), centre.url)
    assert not is_there(centre, day)
    assert 10_002 == len(centre.rows(_DEFAULT))
    for word in ("prune", "upgrade"):
        more = ("--older-than=90d",) if word == "prune" else ()
        assert 0 == execaudit(f"--db={centre.url}", "db", word, *more).status
        assert is_there(centre, day)
        assert [] == centre.rows(_DEFAULT)
        undone(owner, day)


def test_a_default_partition_that_is_too_large_is_not_looked_at(
    centre: Centre, owner: psycopg.Connection[tuple[object, ...]], tmp_path: Path
) -> None:
    """To attach a day takes a look at all of it, while nobody writes there: the owner does that."""
    ts = 7
    ship(history_of(tmp_path / "x.db", [ts]), centre.url)
    owner.execute("ALTER TABLE exec_default ALTER COLUMN argv SET STORAGE PLAIN")
    flooded(owner, ts, 9000, size=7900)
    days = TODAY - 20, TODAY - 21
    ship(history_of(tmp_path / "y.db", [day * DAY_NS for day in days]), centre.url)
    assert not any(is_there(centre, day) for day in days)
    assert 0 == execaudit(f"--db={centre.url}", "db", "prune", "--older-than=90d").status

    assert all(is_there(centre, day) for day in days)
    assert 3 == len(centre.rows('SELECT FROM "exec" WHERE "seq" < 1000'))


def test_a_day_that_is_held_up_is_asked_for_again(
    centre: Centre, owner: psycopg.Connection[tuple[object, ...]], tmp_path: Path
) -> None:
    """A reader of the default partition is not waited for long, and what came meanwhile is moved later."""
    ship(history_of(tmp_path / "x.db", [5 * DAY_NS]), centre.url)
    day = TODAY - 20
    with psycopg.connect(centre.url) as reader:
        reader.execute("SELECT FROM exec_default").fetchall()
        start = time.monotonic()
        assert [(False,)] == owner.execute(
            "SELECT execaudit_add_day(%s)", (time.strftime("%F", time.gmtime(day * 86_400)),)
        ).fetchall()
        assert time.monotonic() - start < 10
    ship(history_of(tmp_path / "y.db", [day * DAY_NS]), centre.url)
    assert is_there(centre, day)


def test_a_host_that_went_silent_while_it_made_a_day_is_given_up(centre: Centre, tmp_path: Path) -> None:
    """Meanwhile it holds up who ships what is of no day: as long as the page has the database wait."""
    text = (CHECKOUT / "docs" / "fleet.md").read_text()
    (setting,) = re.findall(
        r"ALTER DATABASE execaudit SET (idle_in_transaction_session_timeout) = '1min';", text
    )
    database = centre.url.rpartition("/")[2]
    with psycopg.connect(centre.url, autocommit=True) as owner_:
        owner_.execute(f"ALTER DATABASE {database} SET {setting} = '1s'".encode())
    with psycopg.connect(centre.url) as silent:
        day = time.strftime("%F", time.gmtime((TODAY - 30) * 86_400))
        assert [(True,)] == silent.execute("SELECT execaudit_add_day(%s)", (day,)).fetchall()
        ship(history_of(tmp_path / "x.db", [7]), centre.url)
        assert [(7,)] == centre.rows(_DEFAULT)
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            silent.execute("SELECT 1")


def test_who_waits_for_a_lock_says_so(
    centre: Centre,
    owner: psycopg.Connection[tuple[object, ...]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A forwarder and a reader, in one line; and not for ever."""
    path = history_of(tmp_path / "x.db", [time.time_ns()])
    monkeypatch.setattr(postgresql, "LOCK_SECONDS", 1)
    with owner.transaction():
        owner.execute('LOCK TABLE "stream" IN ACCESS EXCLUSIVE MODE')
        with pytest.raises(StoreError, match="somebody holds a lock"):
            ship(path, centre.url)
        location = central(centre.url)
        with (
            pytest.raises(StoreError, match="somebody holds a lock"),
            postgresql.connected(location, reads=True) as connection,
        ):
            PostgresReader(connection, location).rows('SELECT FROM "stream"', {})
    ship(path, centre.url)
    assert 1 == len(centre.table(EXEC))
