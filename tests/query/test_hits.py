"""Hits that were found while it was recorded: in `show` and `stats`, and when their rows make no sense."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import TYPE_CHECKING

import pytest

from execaudit.query import hits
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.store.writer import Store
from tests.commands import execaudit
from tests.histories import at, begin_run, make_event, make_hit
from tests.watching import tables_read_whole, watched

if TYPE_CHECKING:
    from pathlib import Path

EVENTS = [make_event(b"w", seconds=n, pid=n + 1, uid=n % 2, user=("root", "alice")[n % 2]) for n in range(6)]
ODD = "the \x1b[31modd"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A history in which two rules hit, one of them most of it."""
    path = tmp_path / "h.db"
    with Store(path) as store:
        begin_run(store)
        store.begin_hunting()
        store.append(EVENTS)
        every = [make_hit(n + 1, "all", "low") for n in range(5)]
        store.append_hits([*every, make_hit(2, ODD, "critical"), make_hit(4, ODD, "critical", 7)], 6)
        # The same again, something of an exec that is gone, and a number that is lower: nothing changes.
        store.append_hits([make_hit(1, "all", "low"), make_hit(99, "all", "low")], 3)
    return path


def test_it_is_known_up_to_where_rules_were_run(path: Path) -> None:
    """The number never falls, and a recorder that begins to hunt again goes on there."""
    with Store(path) as store:
        store.begin_hunting()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert (b"6",) == connection.execute("SELECT value FROM meta WHERE key = 'hunted'").fetchone()


def test_stats_counts_hits_of_the_range(path: Path) -> None:
    """By rule, the highest level first; those that have no row are counted."""
    done = execaudit("--db", path, "stats", "--format", "json", "--since", f"@{at(1) // 10**9}")
    text = execaudit("--db", path, "stats", "--user", "alice").out.decode()

    assert [(ODD, "critical", 9, 7), ("all", "low", 4, 0)] == [
        (each["title"], each["level"], each["count"], each["left_out"])
        for each in json.loads(done.out)["hits"]
    ]
    assert "\n   HITS  LEVEL     RULE\n      9  critical  the \\x1b[31modd\n      2  low       all\n" in text


def test_hits_are_read_by_number(path: Path) -> None:
    """A range without hits costs nothing, however many there are elsewhere."""
    with contextlib.closing(watched(path)) as connection:
        hits.count(connection, Filter(since_ns=at(1), failed=True))
        read = {table for sql, steps in connection.asked.items() for table in tables_read_whole(sql, steps)}

    assert not read & {"exec", "hit"}


def test_show_names_the_rules(path: Path) -> None:
    """All that hit the exec, and how many hits before this one have no row."""
    hit, other = EVENTS[3].id, EVENTS[5].id
    done = execaudit("--db", path, "show", hit, "--format", "json")
    text = execaudit("--db", path, "show", hit).out.decode()

    assert [(ODD, 7, ["attack.t1059"]), ("all", 0, ["attack.t1059"])] == [
        (each["title"], each["left_out"], each["tags"]) for each in json.loads(done.out)["hits"]
    ]
    odd = "the \\x1b[31modd"
    assert (
        f"\n\nhit by\n  critical {odd} ({odd}.yml; 7 hits before this one were not stored)\n"
        "  low      all (all.yml)\n\nancestors"
    ) in text
    assert [] == json.loads(execaudit("--db", path, "show", other, "--format", "json").out)["hits"]
    assert b"hit by" not in execaudit("--db", path, "show", other).out


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM rule",
        "UPDATE rule SET tags = '['",
        "UPDATE rule SET tags = '[7]'",
        "UPDATE rule SET level = 'x'",
    ],
)
def test_a_hit_that_makes_no_sense_is_damage(path: Path, damage: str) -> None:
    """It is named, with status 4, and is no traceback."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(damage)
    done = execaudit("--db", path, "show", EVENTS[1].id)

    assert 4 == done.status
    assert b"makes no sense" in done.err
    assert done.failed_in_one_line()
    with open_history(path) as opened:
        assert {} == hits.of_execs(opened, [6])
