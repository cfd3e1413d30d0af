"""What commands that read say when nobody recorded, and until when an answer is complete."""

from __future__ import annotations

import contextlib
import csv
import json
import sqlite3
from typing import TYPE_CHECKING

import pytest

from execaudit.enums import GapReason
from execaudit.event import Nanoseconds
from execaudit.store.writer import Run, Store
from execaudit.system import clock
from tests.commands import POWERLESS, execaudit, line_of, running
from tests.histories import BOOT_ID, HOST, START, at, make_event, make_gap, make_history

if TYPE_CHECKING:
    from pathlib import Path

_SINCE = f"gap: nobody has recorded since 2026-11-22 18:25:19.000 ({HOST})\n".encode()
_LONG_AGO = f"@{START - 900}"


def start(store: Store, started_ns: int) -> None:
    """Starts a recorder's run."""
    run = Run(boot_id=BOOT_ID, host=HOST, version="0", started_ns=Nanoseconds(started_ns))
    store.begin_run(run)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A history of two recorders, of which the last stopped a thousand seconds after START."""
    path = tmp_path / "history.db"
    with Store(path) as store:
        start(store, at(-1))
        store.append([make_event(b"a", seconds=1, pid=1)], seen_ns=at(2))
        store.end_run(at(5))
        start(store, at(900))
        store.append([make_event(b"b", seconds=901, pid=2)], seen_ns=at(902))
        store.end_run(at(1000))
    return path


@pytest.mark.parametrize("command", ["query", "export", "stats", "tree", "db info"])
def test_each_command_says_that_nobody_records(command: str, path: Path) -> None:
    """After the last recorder stopped, an answer is not to be taken for: nothing ran."""
    done = execaudit("--db", path, *command.split(), silence=True)

    assert 0 == done.status
    assert done.err.count(_SINCE) == 1


@pytest.mark.parametrize(
    ("command", "option"), [("query", "--since"), ("export", "--where"), ("tree", "--since")]
)
def test_each_command_says_that_the_range_is_to_come(command: str, option: str, path: Path) -> None:
    """A clock time is today's, also in the morning; however the beginning is given."""
    since = "2200-01-01 00:00:00.000"
    given = since if option == "--since" else f'time >= "{since}"'
    done = execaudit("--db", path, *command.split(), option, given)

    assert 0 == done.status
    assert done.err.count(f"the range begins in the future, at {since}: it is ".encode()) == 1


def test_nothing_is_said_of_a_range_that_has_begun(path: Path) -> None:
    """Also if it ends later."""
    done = execaudit("--db", path, "query", "--since", "1s", "--until", "2200-01-01", silence=True)

    assert b"future" not in done.err


def test_show_says_it_of_what_ran(path: Path) -> None:
    """Children of an exec whose end is not known may not have been recorded."""
    done = execaudit("--db", path, "show", make_event(seconds=901, pid=2).id, silence=True)

    assert _SINCE in done.err


def test_before_between_and_after(path: Path) -> None:
    """Each is a line on stderr and a record at the end of JSON lines, in order of time."""
    done = execaudit("--db", path, "query", "--since", _LONG_AGO, silence=True)

    assert [
        f"gap: nobody recorded {HOST} before 2026-11-22 18:08:38.000",
        f"gap: nobody recorded {HOST} between 2026-11-22 18:08:44.000 and 2026-11-22 18:23:39.000",
        _SINCE.decode().rstrip(),
    ] == done.err.decode().splitlines()
    assert [1, 2] == done.pids()
    assert [
        ("2026-11-22T17:53:39.000000000Z", "2026-11-22T18:08:38.000000000Z"),
        ("2026-11-22T18:08:44.000000000Z", "2026-11-22T18:23:39.000000000Z"),
        ("2026-11-22T18:25:19.000000000Z", None),
    ] == [(gap["from"], gap["to"]) for gap in done.gaps()]
    assert {("gap", HOST, "recorder_stopped", None, 0, None)} == {
        tuple(gap[name] for name in ("kind", "host", "reason", "count", "exits", "uid"))
        for gap in done.gaps()
    }
    assert done.out.splitlines()[-3:] == [line for line in done.out.splitlines() if b'"gap"' in line]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (f"--since @{START + 2} --until @{START + 4}", 0),
        (f"--until @{START - 2}", 1),
        (f"--since @{START + 6} --until @{START + 8}", 1),
        (f"--since @{START + 2000}", 1),
        ("--host nowhere", 1),
    ],
)
def test_only_what_is_in_the_range(options: str, said: int, path: Path) -> None:
    """Where somebody recorded all the time, nothing is said."""
    done = execaudit("--db", path, "query", *options.split(), silence=True)

    assert said == done.err.count(b"\n") == len(done.gaps())


def test_a_history_that_nobody_wrote(tmp_path: Path) -> None:
    """It has no recorder at all."""
    made = execaudit("--db", tmp_path / "new.db", "db", "upgrade")
    done = execaudit("--db", tmp_path / "new.db", "query", silence=True)

    assert (0, 0) == (made.status, done.status)
    assert b"gap: nobody has ever recorded into this history: start a recorder" in done.err
    assert [(None, None)] == [(gap["from"], gap["host"]) for gap in done.gaps()]


def test_a_flood_of_gaps_hides_no_answer(tmp_path: Path) -> None:
    """Ten lines, of the latest, and how many more there are; JSON lines have all."""
    gaps = [make_gap(number, number + 0.5) for number in range(43)]
    path = make_history(tmp_path / "history.db", [make_event(b"a", seconds=1)], gaps)
    done = execaudit("--db", path, "query", silence=True)
    lines = done.err.splitlines(keepends=True)

    assert 11 == len(lines)
    assert _SINCE == lines[9]
    assert b"gap: and 34 more gaps before these: `execaudit stats` lists all\n" == lines[10]
    assert 44 == len(done.gaps())


def test_csv_has_its_gaps_beside_it(path: Path, tmp_path: Path) -> None:
    """`-o NAME.csv` writes NAME.gaps.csv too, with the records of gaps; without any, its header alone."""
    execaudit("--db", path, "export", "-o", tmp_path / "a.csv")
    whole = execaudit("--db", path, "export", "-o", tmp_path / "b", "--until", f"@{START + 3}", silence=True)

    with (tmp_path / "a.gaps.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert ["2026-11-22T18:08:44.000000000Z", "2026-11-22T18:25:19.000000000Z"] == [
        row["from"] for row in rows
    ]
    assert ["kind,from,to,host,reason,count,exits,uid"] == (tmp_path / "b.gaps.csv").read_text().splitlines()
    complete, written = whole.err.decode().splitlines()
    assert f"complete until 2026-11-22 18:08:42.000: go on with --since @{START + 3}.000000000" == complete
    assert written.startswith(f"wrote 1 exec to {tmp_path}/b, ")
    assert 0o640 & 0o777 == (tmp_path / "a.gaps.csv").stat().st_mode & 0o777 | 0o040


def test_exports_one_after_the_other_lose_and_double_nothing(path: Path) -> None:
    """Each says where the next one goes on, while execs are stored whose times are out of order."""
    now = clock.wall_ns()
    second = 1_000_000_000
    found: list[int] = []
    since = _LONG_AGO
    with Store(path) as store:
        start(store, now - 100 * second)
        for number in range(4):
            seen = now + (10 * number - 60) * second
            # What is stored beyond what is complete belongs to the next one.
            late, early = (
                make_event(b"x", time_ns=Nanoseconds(seen + offset), pid=10 * number + pid)
                for offset, pid in ((second // 20, 12), (-second, 11))
            )
            store.append([late, early], seen_ns=Nanoseconds(seen))
            done = execaudit("--db", path, "export", "--format", "jsonl", "--since", since, silence=True)
            found += done.pids()
            since = done.err.split()[-1].decode()
        store.end_run(Nanoseconds(now))
    done = execaudit("--db", path, "export", "--format", "jsonl", "--since", since)
    found += done.pids()

    assert (
        [1, 2, *(10 * number + pid for number in range(4) for pid in (11, 12))]
        == sorted(found)
        == sorted(set(found))
    )


def test_a_range_that_is_not_complete_ends_where_it_is(path: Path) -> None:
    """A recorder that does not write is waited for, for a second; then it is said, and how to go on."""
    now = clock.wall_ns()
    with Store(path) as store:
        start(store, now - 10**9)
        seen = Nanoseconds(now - 5 * 10**8)
        events = [make_event(b"x", time_ns=Nanoseconds(seen + 10**8 * n), pid=20 + n) for n in (-3, 1)]
        store.append(events, seen_ns=seen)
        done = execaudit("--db", path, "query", "--since", "1h", "--until", "now", silence=True)

    assert [17] == done.pids()
    complete = seen - 10**8
    assert f"go on with --since @{complete // 10**9}.{complete % 10**9:09d}\n".encode() in done.err


def test_a_recorder_that_hangs(path: Path) -> None:
    """One that runs and has written nothing for long is not taken for one that records."""
    now = clock.wall_ns()
    with Store(path) as store:
        start(store, now - 400 * 10**9)
        store.append([], seen_ns=Nanoseconds(now - 300 * 10**9))
        done = execaudit("--db", path, "query", "--limit", "1", silence=True)
        checked = execaudit("--db", path, "doctor", "--format", "json", before=POWERLESS)

    assert b"gap: the recorder has not written since " in done.err
    assert {"recorder_stopped"} == {gap["reason"] for gap in done.gaps()}
    check = json.loads(checked.out)["checks"][-1]
    assert ("recorder", False) == (check["name"], check["ok"])
    assert "has not written since" in check["detail"]


def test_the_doctor_looks_for_a_recorder(path: Path) -> None:
    """Somebody records, or nobody since a time, which is a failure."""
    doctor = ("--db", path, "doctor", "--format", "json")
    gone = json.loads(execaudit(*doctor, before=POWERLESS).out)["checks"][-1]
    with Store(path) as store:
        start(store, clock.wall_ns())
        there = json.loads(execaudit(*doctor, before=POWERLESS).out)["checks"][-1]

    assert ("recorder", False) == (gone["name"], gone["ok"])
    assert "nobody has recorded since 2026-11-22T18:25:19.000000000Z" in gone["detail"]
    assert ("recorder", True) == (there["name"], there["ok"])


def test_following_says_when_the_recorder_stops(path: Path) -> None:
    """While `--follow` waits, silence is not: nothing runs. It is a line of JSON too, once."""
    with (
        running("--db", path, "query", "--follow", "--since", f"@{START + 2000}") as process,
    ):
        assert _SINCE == line_of(process.stderr)
        assert "recorder_stopped" == json.loads(line_of(process.stdout))["reason"]
        with Store(path) as store:
            start(store, at(3000))
            store.append([make_event(b"x", seconds=3001, pid=7)], seen_ns=at(3002))
            assert 7 == json.loads(line_of(process.stdout))["pid"]
            store.end_run(at(3003))
        lines = [line_of(process.stderr)]
        while b"since 2026-11-22 18:58:42.000" not in lines[-1]:
            lines.append(line_of(process.stderr))

    assert 1 == sum(b"18:58:42" in line for line in lines)


def test_following_a_pruned_history(path: Path) -> None:
    """What was pruned is said once; gaps that come after old ones were pruned are said all the same."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO pruned (at_ns, top, ts_from, ts_to, execs, reason, finished) VALUES (?, 0, 0, ?, 5, 'age', 1)",
            (at(1), at(0)),
        )
    with Store(path) as store:
        start(store, clock.wall_ns())
        store.append([], [make_gap(901, 902, count=4)])
        with running("--db", path, "query", "--follow", "--since", f"@{START - 5}") as process:
            said = [line_of(process.stderr)]
            while not said[-1].startswith(b"pruned: "):
                said.append(line_of(process.stderr))
            store.maintain(lambda driver: driver.execute("DELETE FROM gap"))
            # The number of this one is that of the one that was deleted.
            store.append([], [make_gap(903, 904, count=6)])
            said.append(line_of(process.stderr))
            store.append([], [make_gap(905, 906, count=8)])
            said.append(line_of(process.stderr))

    assert 1 == sum(line.startswith(b"pruned: ") for line in said)
    assert [b"4", b"6", b"8"] == [
        line.split()[1] for line in said if GapReason.RING_FULL.value.encode() in line
    ]
