"""`execaudit top` where there is too much, or something is missing: it goes on, and says so."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from typing import TYPE_CHECKING

from execaudit.event import Gap, Nanoseconds
from execaudit.store.writer import Store
from tests.histories import begin_run, make_gap, make_history, make_ran
from tests.screen.driving import Screen, commands, driven

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_flood_is_read_in_part(path: Path, store: Store) -> None:
    """The list has the newest, the rates have all, and what is left out is said."""

    async def scenario(screen: Screen) -> None:
        await screen.until_has("no execs yet")
        now = Nanoseconds(time.time_ns() - 2_000_000_000)
        events = [make_ran(b"x", str(n).encode(), time_ns=Nanoseconds(now + n), pid=n) for n in range(5000)]
        store.append(events, seen_ns=now)
        lines = await screen.until_has("x 4999", "4500 execs of the last minute are counted, but")
        assert "commands  5000 true" in lines

    driven(scenario, path)


def test_too_much_at_once_is_not_looked_at(path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """One reading has a bound, and what lies beyond is said."""
    monkeypatch.setattr("execaudit.screen.reader._LOOKED_AT", 10)

    async def scenario(screen: Screen) -> None:
        await screen.until_has("no execs yet")
        now = Nanoseconds(time.time_ns())
        store.append([make_ran(b"x", str(n).encode(), time_ns=now, pid=n) for n in range(25)], seen_ns=now)
        lines = await screen.until_has("x 24", "15 execs of the last minute were not looked at")
        assert 10 == len(commands(lines))

    driven(scenario, path)


def test_gaps_are_said(path: Path, store: Store) -> None:
    """Those of the last minutes, the latest first, and how many more there are."""
    now = time.time_ns()

    def gap(count: int, seconds: int) -> Gap:
        old = make_gap(0, 1, count=count)
        at = Nanoseconds(now - seconds * 1_000_000_000)
        return Gap(old.host, at, at, old.reason, old.count)

    store.append(
        [make_ran(b"x")], [gap(9, 10_000), gap(3, 5), gap(4, 3), gap(5, 2)], seen_ns=Nanoseconds(now)
    )

    async def scenario(screen: Screen) -> None:
        lines = await screen.until_has("gap: 5 execs missed", "and 1 more")
        assert "9 execs" not in "\n".join(lines)

    driven(scenario, path)


def test_a_recorder_that_stops_is_said(path: Path) -> None:
    """Within seconds, without a key."""
    store = Store(path)
    begin_run(store)
    store.append([make_ran(b"x")], seen_ns=Nanoseconds(time.time_ns()))

    async def scenario(screen: Screen) -> None:
        await screen.until_has("web1: recording")
        store.end_run(Nanoseconds(time.time_ns()))
        store.close()
        await screen.until_has("nobody records", "gap: nobody has recorded since")

    driven(scenario, path)


def test_a_history_that_goes_and_comes_back(path: Path, tmp_path: Path) -> None:
    """It is said that it is missing; what takes its place is read from its beginning."""
    other = tmp_path / "other.db"
    shutil.copy(path, other)
    make_history(path, [make_ran(b"old")])
    make_history(other, [make_ran(b"replacement")])

    async def scenario(screen: Screen) -> None:
        await screen.until_has("old")
        os.unlink(path)  # noqa: PTH108  # at once
        await screen.until_has("there is no history at", "old")
        os.replace(other, path)  # noqa: PTH105  # at once
        await screen.until_has("replacement", "the history was replaced", without="there is no history")

    driven(scenario, path)


def test_a_locked_history_is_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said that another program holds it, and reading goes on afterwards."""
    monkeypatch.setattr("execaudit.query.connection._BUSY_SECONDS", 0.1)
    make_history(path, [make_ran(b"old")])
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")

    async def scenario(screen: Screen) -> None:
        await screen.until_has("another program holds the database")
        holder.close()
        await screen.until_has("old", without="another program")

    driven(scenario, path)


def test_long_chains_end(path: Path) -> None:
    """A program that ran itself again and again has its nearest ancestors in the tree."""
    events = [make_ran(b"0", boot_ns=0, pid=5, comm=b"0")]
    for number in range(1, 700):
        parent = events[-1]
        events.append(
            make_ran(str(number).encode(), seconds=number / 1000, pid=5, parent=parent.key, replaces=True)
        )
    make_history(path, events)

    async def scenario(screen: Screen) -> None:
        await screen.press("t")
        await screen.until_has("→ 2")
        await screen.press("end")
        await screen.until_has("→ 699")
        await screen.press("enter")
        await screen.until_has(events[-1].id)
        await screen.press("end")
        await screen.until_has("children: none")

    driven(scenario, path)
