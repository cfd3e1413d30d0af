"""What goes wrong under a recorder: everything is stored in the end, or declared in a gap."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.commands import PATIENCE
from tests.disks import small_disk
from tests.live.load import Load, await_said, gaps_of
from tests.live.recording import execaudit as ask
from tests.live.recording import paused, recording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.live.recording import Recorded, Row
    from tests.truth.programs import Programs

_DISK_BYTES = 400 << 20  # room for all that runs here, in the database and in the log
_PADDING = 100  # arguments of 1000 bytes, which make memory and disks full
_DAY = 86_400


class Disk(NamedTuple):
    """A small file system, and how to fill it."""

    folder: Path
    talk: Path
    """A file elsewhere, for what the recorder says."""

    def fill(self) -> None:
        """Leaves no room."""
        with (self.folder / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 20))
        with (self.folder / "filler-2").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(512))

    def empty(self) -> None:
        """Gives the room back."""
        for file in self.folder.glob("filler*"):
            file.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """An ext4 in a file."""
    with small_disk(tmp_path, _DISK_BYTES) as folder:
        yield Disk(folder, tmp_path / "talk")


@pytest.fixture
def load(built: Programs) -> Load:
    """Nothing has run yet."""
    return Load(built)


def await_logged(recorded: Recorded, label: str) -> None:
    """Returns when the JSON log has an exec, rotated since or not."""
    deadline = time.monotonic() + PATIENCE
    while not is_logged(recorded, label):
        assert time.monotonic() < deadline, recorded.stderr()
        time.sleep(0.1)


def is_logged(recorded: Recorded, label: str) -> bool:
    """Says whether a JSON log has an exec; it may be large, and not there yet."""
    with contextlib.suppress(FileNotFoundError), recorded.json_log.open("rb") as file:
        return any(f'"{label}"'.encode() in line for line in file)
    return False


def await_stored(recorded: Recorded, label: str) -> None:
    """Returns when the history has an exec, and so all before it."""
    deadline = time.monotonic() + PATIENCE
    while not is_stored(recorded, label):
        assert time.monotonic() < deadline, recorded.stderr()
        time.sleep(0.1)


def is_stored(recorded: Recorded, label: str) -> bool:
    """Says whether the history has an exec."""
    there = "SELECT 1 FROM argv WHERE instr(v, ?)"
    with contextlib.closing(sqlite3.connect(f"file:{recorded.db}?mode=ro", uri=True)) as connection:
        return connection.execute(there, (b"\0" + label.encode() + b"\0",)).fetchone() is not None


def await_passed(recorded: Recorded, load: Load, is_there: Callable[[Recorded, str], bool]) -> None:
    """Returns when the recorder has passed on all that ran until now, to the sink that can be written.

    The same thread gives each batch to one sink after the other. If the ring was full, the first of these
    programs are lost.
    """
    deadline = time.monotonic() + PATIENCE
    labels = load.blow(1)
    while not any(is_there(recorded, label) for label in labels):
        assert time.monotonic() < deadline, recorded.stderr()
        time.sleep(0.5)
        labels += load.blow(1)


def lines_of(*logs: Path) -> list[Row]:
    """Returns the lines of JSON logs; each is whole."""
    return [json.loads(line) for log in logs for line in log.read_text().splitlines()]


def counted(rows: list[Row], reason: str) -> int:
    """Returns how many execs gaps of a reason count."""
    return sum(row["count"] or 0 for row in rows if row["kind"] == "gap" and row["reason"] == reason)


def is_sound(database: Path) -> bool:
    """Says whether SQLite finds nothing wrong."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_full_disk_costs_nothing_that_fits_into_memory(disk: Disk, load: Load) -> None:
    """Neither in the history nor in the log; both go on when there is room."""
    with recording(disk.folder / "x", talk=disk.talk) as recorded:
        load.blow(20)
        disk.fill()
        load.blow(30, _PADDING)
        await_said(recorded, "database_waits")
        await_said(recorded, "sink_waits")
        disk.empty()
        await_said(recorded, "database_goes_on")
        await_said(recorded, "sink_goes_on")
        load.blow(20)
    assert recorded.status == 0, recorded.stderr()
    assert set() == load.missing(recorded.rows())
    assert set() == load.missing(lines_of(recorded.json_log))
    assert 0 == counted(gaps_of(recorded), "store_full") == counted(recorded.gaps(), "store_full")
    # One line when it began, one when it was over; never an argument.
    assert [1, 1] == [recorded.stderr().count(word) for word in ("database_waits", "database_goes_on")]
    assert "job1-" not in recorded.stderr()
    assert is_sound(recorded.db)


def test_full_disk_costs_the_history_what_memory_cannot_hold_and_says_how_much(
    disk: Disk, tmp_path: Path, load: Load
) -> None:
    """What is stored and what the gaps count is all that ran."""
    log = tmp_path / "elsewhere.jsonl"
    with recording(disk.folder / "x", "--json-log", str(log), talk=disk.talk) as recorded:
        recorded.json_log = log
        disk.fill()
        load.blow(10, _PADDING)
        await_said(recorded, "database_waits")
        lost = load.blow(700, _PADDING)  # 70 MB, twice of what may wait
        await_passed(recorded, load, is_logged)
        disk.empty()
        await_said(recorded, "database_goes_on")
        await_passed(recorded, load, is_stored)
    assert recorded.status == 0, recorded.stderr()
    check_declared(load.missing(recorded.rows()), set(lost), gaps_of(recorded))
    assert b"store_full" in ask("--db", str(recorded.db), "query", "--limit", "1").stderr.encode()


def test_full_disk_costs_the_log_what_memory_cannot_hold_and_says_how_much(
    disk: Disk, tmp_path: Path, load: Load
) -> None:
    """The same, where the history is elsewhere."""
    log = disk.folder / "x.jsonl"
    config = tmp_path / "config.toml"
    # What is rotated away, or refused at a limit, is no loss of this kind.
    config.write_text("[json_log]\nmax_size = '10GB'\nkeep = 1\n")
    with recording(tmp_path / "db", "--json-log", str(log), config=config) as recorded:
        recorded.json_log = log
        disk.fill()
        load.blow(10, _PADDING)
        await_said(recorded, "sink_waits")
        lost = load.blow(700, _PADDING)
        await_passed(recorded, load, is_stored)
        disk.empty()
        await_said(recorded, "sink_goes_on")
        # Until half of what waited is written, it drops what comes.
        await_passed(recorded, load, is_logged)
    assert recorded.status == 0, recorded.stderr()
    check_declared(load.missing(lines_of(log)), set(lost), recorded.gaps())


def check_declared(missing: set[str], lost: set[str], gaps: list[Row]) -> None:
    """Some of the execs are missing, but not all, and gaps count them."""
    assert missing & lost
    assert lost - missing
    # Others start programs here as well.
    assert len(missing) <= counted(gaps, "store_full") + counted(gaps, "ring_full")
    assert 0 < counted(gaps, "store_full")


def test_full_disk_at_the_end_is_said_with_what_is_lost(disk: Disk, load: Load) -> None:
    """The history stays sound, the exit status is 1, and the next recorder declares the time."""
    with recording(disk.folder / "x", talk=disk.talk) as recorded:
        stored = load.blow(20)
        await_stored(recorded, stored[-1])
        disk.fill()
        load.blow(80, _PADDING)
        await_said(recorded, "database_waits")
    assert recorded.status == 1
    assert "make room on the disk" in recorded.stderr().splitlines()[-1]
    assert "execs are not in the history)" in recorded.stderr().splitlines()[-1]
    disk.empty()
    assert is_sound(recorded.db)
    missing = load.missing(recorded.rows())
    assert not missing & set(stored)
    with recording(disk.folder / "x") as again:
        pass
    assert ["recorder_stopped"] == [
        gap["reason"] for gap in gaps_of(again) if gap["reason"] == "recorder_stopped"
    ]
    assert [] == list(recorded.db.parent.glob("*.ballast"))


def test_talk_that_cannot_be_written_stops_nothing(disk: Disk, tmp_path: Path, load: Load) -> None:
    """What the recorder has to say of a full disk finds no room there itself."""
    log = tmp_path / "elsewhere.jsonl"
    with recording(disk.folder / "x", "--json-log", str(log)) as recorded:
        recorded.json_log = log
        load.blow(20)
        disk.fill()
        load.blow(30, _PADDING)
        await_passed(recorded, load, is_logged)
        disk.empty()
        load.blow(20)
    assert recorded.status == 0
    assert set() == load.missing(recorded.rows())


def test_lock_of_another_program_is_waited_for(tmp_path: Path, load: Load) -> None:
    """For as long as it is held, everything waits in memory."""
    with recording(tmp_path) as recorded:
        load.blow(20)
        other = sqlite3.connect(recorded.db, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        load.blow(200)
        await_said(recorded, "database_waits")
        load.blow(200)
        # Nobody waits for the database but itself.
        deadline = time.monotonic() + PATIENCE
        while load.missing(lines_of(recorded.json_log)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert set() == load.missing(lines_of(recorded.json_log))
        other.execute("COMMIT")
        other.close()
        await_said(recorded, "database_goes_on")
        load.blow(20)
    assert recorded.status == 0
    assert "another program holds the database" in recorded.stderr()
    assert set() == load.missing(recorded.rows())


def test_deleted_database_is_begun_anew(tmp_path: Path, load: Load) -> None:
    """What comes after is in a new file at the same place, which knows since when."""
    with recording(tmp_path) as recorded:
        before = load.blow(20)
        await_stored(recorded, before[-1])
        for file in tmp_path.glob("history.db*"):
            file.unlink()
        after = load.blow(20)
        await_said(recorded, "database_replaced")
    assert recorded.status == 0, recorded.stderr()
    assert set(before) == load.missing(recorded.rows())
    assert set(after).isdisjoint(load.missing(recorded.rows()))
    assert ["recorder_stopped"] == [gap["reason"] for gap in gaps_of(recorded)]
    assert set() == load.missing(lines_of(recorded.json_log))


def test_database_that_was_put_back_is_gone_on_with(tmp_path: Path, load: Load) -> None:
    """What was recorded between the backup and its return is a gap in it."""
    with recording(tmp_path) as recorded:
        await_stored(recorded, load.blow(20)[-1])
        backup = tmp_path / "backup.db"
        with (
            contextlib.closing(sqlite3.connect(recorded.db)) as ours,
            contextlib.closing(sqlite3.connect(backup)) as theirs,
        ):
            ours.backup(theirs)
        between = load.blow(20)
        await_stored(recorded, between[-1])
        for name in ("-wal", "-shm"):
            (tmp_path / f"history.db{name}").unlink()
        backup.rename(recorded.db)
        load.blow(20)
        await_said(recorded, "database_replaced")
        load.blow(20)
    assert recorded.status == 0, recorded.stderr()
    assert set(between) == load.missing(recorded.rows())
    gaps = [gap for gap in gaps_of(recorded) if gap["reason"] == "recorder_stopped"]
    times = {row["argv"][1]: row["time"] for row in lines_of(recorded.json_log) if row["argv"][1:]}
    assert 1 == len(gaps)
    from_, to = (ask_time(gaps[0][edge]) for edge in ("from", "to"))
    assert all(from_ <= times[label] <= to for label in between)
    assert is_sound(recorded.db)


def ask_time(time_ns: int) -> str:
    """Returns a moment as records have it."""
    second, fraction = divmod(time_ns, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)) + f".{fraction:09d}Z"


def test_disk_that_refuses_writes_is_said_and_waited_for(disk: Disk, load: Load) -> None:
    """The recorder does not end by itself; when it is told to, it says what is missing."""
    device = subprocess.check_output(["findmnt", "-no", "SOURCE", disk.folder], text=True).strip()
    with contextlib.ExitStack() as afterwards, recording(disk.folder / "x", talk=disk.talk) as recorded:
        await_stored(recorded, load.blow(20)[-1])
        subprocess.run(["blockdev", "--setro", device], check=True)
        # Not before the recorder has ended: it would write what it has.
        afterwards.callback(subprocess.run, ["blockdev", "--setrw", device], check=True)
        deadline = time.monotonic() + PATIENCE
        while not recorded.has_said("database_waits"):
            load.blow(50, _PADDING)
            os.sync()
            assert time.monotonic() < deadline, recorded.stderr()
    assert recorded.status == 1
    assert "execs are not in the history)" in recorded.stderr()


def test_reader_with_an_old_view_loses_nothing(tmp_path: Path, load: Load) -> None:
    """It keeps what it sees, and the recorder goes on."""
    with recording(tmp_path) as recorded:
        await_stored(recorded, load.blow(20)[-1])
        reader = sqlite3.connect(f"file:{recorded.db}?mode=ro", uri=True, isolation_level=None)
        reader.execute("BEGIN")
        count = "SELECT count(*) FROM exec"
        seen = reader.execute(count).fetchone()
        await_stored(recorded, load.blow(3000)[-1])
        assert seen == reader.execute(count).fetchone()
        reader.close()
    assert recorded.status == 0
    assert set() == load.missing(recorded.rows())


def test_log_whose_disk_is_gone_does_not_harm_the_history(disk: Disk, tmp_path: Path, load: Load) -> None:
    """The log goes on where its path leads then."""
    log = disk.folder / "x.jsonl"
    with recording(tmp_path / "db", "--json-log", str(log)) as recorded:
        recorded.json_log = log
        await_logged(recorded, load.blow(20)[-1])
        shutil.copy(log, tmp_path / "seen.jsonl")
        subprocess.run(["umount", "--lazy", disk.folder], check=True)
        load.blow(200)
    # For the fixture, which takes it away.
    subprocess.run(["mount", "-t", "tmpfs", "none", disk.folder], check=True)
    assert recorded.status == 0, recorded.stderr()
    assert set() == load.missing(recorded.rows())
    subprocess.run(["umount", disk.folder], check=True)
    assert set() == load.missing(lines_of(tmp_path / "seen.jsonl", log))
    subprocess.run(["mount", "-t", "tmpfs", "none", disk.folder], check=True)


def test_hangups_lose_and_double_nothing(tmp_path: Path, load: Load) -> None:
    """However many come, and whether the log was moved away or not."""
    with recording(tmp_path) as recorded:
        job = load.start(5000)
        moved = 0
        deadline = time.monotonic() + PATIENCE
        while job.poll() is None or moved < 3:
            assert time.monotonic() < deadline, recorded.stderr()
            if moved < 10 and recorded.json_log.exists():
                recorded.json_log.rename(tmp_path / f"old-{moved}.jsonl")
                moved += 1
            for _ in range(20):
                os.kill(recorded.pid, signal.SIGHUP)
            time.sleep(0.05)
        assert job.communicate()[0] == b"5000\n"
        await_said(recorded, "reloaded")
    assert recorded.status == 0, recorded.stderr()
    assert set() == load.missing(recorded.rows())
    logs = [recorded.json_log, *tmp_path.glob("old-*.jsonl")]
    assert set() == load.missing(lines_of(*logs))


def test_settings_are_read_again(tmp_path: Path, load: Load) -> None:
    """What they may change while recording, they change; a mistake in them is said, and changes nothing."""
    config = tmp_path / "config.toml"
    config.write_text("[json_log]\nmax_size = '10GB'\n")
    metrics = tmp_path / "execaudit.prom"
    with recording(tmp_path / "x", config=config) as recorded:
        load.blow(20)
        config.write_text("[json_logg]\n")
        os.kill(recorded.pid, signal.SIGHUP)
        await_said(recorded, "configuration_refused")
        config.write_text(f"[json_log]\nmax_size = '1'\nkeep = 1000\n[metrics]\ntextfile = '{metrics}'\n")
        os.kill(recorded.pid, signal.SIGHUP)
        await_said(recorded, "reloaded", 2)
        for _ in range(2):
            label = load.blow(20)[-1]
            await_logged(recorded, label)
        deadline = time.monotonic() + PATIENCE
        while not metrics.exists():
            assert time.monotonic() < deadline, recorded.stderr()
            time.sleep(0.1)
    assert "did you mean json_log?" in recorded.stderr()
    assert recorded.json_log.with_name(f"{recorded.json_log.name}.1.gz").exists()
    assert "execaudit_execs_total" in metrics.read_text()


# `make faults` has more of them, and stops it for longer.
_KILLS = int(os.environ.get("EXECAUDIT_TEST_KILLS", "3"))
_STOPPED_SECONDS = float(os.environ.get("EXECAUDIT_TEST_STOPPED", "0"))
_SMALL_RING = 1 << 20  # of 2800 execs of the load


def await_another(recorded: Recorded) -> None:
    """Returns when the recorder has stored one more command line of the load."""
    deadline = time.monotonic() + PATIENCE
    newest = "SELECT max(id) FROM argv WHERE instr(v, CAST('job1-' AS BLOB))"
    with contextlib.closing(sqlite3.connect(f"file:{recorded.db}?mode=ro", uri=True)) as connection:
        before = connection.execute(newest).fetchone()
        while connection.execute(newest).fetchone() == before:
            assert time.monotonic() < deadline, recorded.stderr()
            time.sleep(0.1)


def test_killed_recorders_leave_what_they_stored_and_the_next_declares_the_rest(
    tmp_path: Path, load: Load
) -> None:
    """At whatever moment; between the neighbours of what is missing lies a gap."""
    chance = random.Random(4)
    job = load.start(10_000_000)
    try:
        # The first and the last store something for sure; those between are killed at any moment.
        with recording(tmp_path) as recorded:
            await_another(recorded)
            os.kill(recorded.pid, signal.SIGKILL)
        for _ in range(_KILLS):
            with recording(tmp_path) as recorded:
                time.sleep(chance.uniform(0, 1.5))
                os.kill(recorded.pid, signal.SIGKILL)
        with recording(tmp_path) as recorded:
            await_another(recorded)
        assert job.poll() is None
    finally:
        job.kill()
        job.communicate()
    assert is_sound(recorded.db)
    rows = sorted(
        (int(row["argv"][1].rpartition("-")[2]), row["time"])
        for row in recorded.rows()
        if row["argv"][1:] and row["argv"][1].startswith("job1-")
    )
    gaps = [(ask_time(gap["from"]), ask_time(gap["to"])) for gap in gaps_of(recorded)]
    holes = [(before[1], after[1]) for before, after in pairwise(rows) if after[0] != before[0] + 1]
    assert len(rows) == len({number for number, _ in rows})
    # One that was killed before it stored anything is in the gap of the next one.
    assert holes
    # The time between the two that are there is a time of which nobody claims to know everything.
    assert [] == [hole for hole in holes if not any(low <= hole[1] and hole[0] <= high for low, high in gaps)]


def test_stopped_recorder_costs_what_its_ring_cannot_hold_and_says_how_much(
    tmp_path: Path, load: Load
) -> None:
    """It goes on where it was; what the kernel had to refuse meanwhile is counted, and lies in a gap."""
    with recording(tmp_path, "--ring-size", str(_SMALL_RING)) as recorded:
        load.blow(20)
        with paused(recorded):
            until = time.monotonic() + _STOPPED_SECONDS
            meanwhile = load.blow(5000)
            while time.monotonic() < until:
                meanwhile += load.blow(5000)
        await_said(recorded, "execs_missed")
        load.blow(20)
    assert recorded.status == 0, recorded.stderr()
    for missing, gaps in (
        (load.missing(recorded.rows()), gaps_of(recorded)),
        (load.missing(lines_of(recorded.json_log)), recorded.gaps()),
    ):
        assert missing
        assert missing < set(meanwhile)
        # Others start programs here as well, but not as many.
        assert 0 <= counted(gaps, "ring_full") - len(missing) < len(missing)
    assert is_sound(recorded.db)
