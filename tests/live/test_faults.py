"""What others do to a recorder, its history and its log: everything is stored, or declared in a gap."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import time
from typing import TYPE_CHECKING

from tests.commands import NO_FAILED, PATIENCE
from tests.live.kept import ask_time, await_logged, await_stored, is_sound, lines_of
from tests.live.load import Load, await_said, gaps_of
from tests.live.recording import recording

if TYPE_CHECKING:
    from pathlib import Path


def test_lock_of_another_program_is_waited_for(tmp_path: Path, load: Load) -> None:
    """For as long as it is held, everything waits in memory."""
    with recording(tmp_path, NO_FAILED) as recorded:
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
    with recording(tmp_path, NO_FAILED) as recorded:
        before = load.blow(20)
        await_stored(recorded, before[-1])
        for file in tmp_path.glob("history.db*"):
            file.unlink()
        after = load.blow(20)
        await_said(recorded, "database_replaced")
    assert recorded.status == 0, recorded.stderr()
    assert set(before) == load.missing(recorded.rows())
    assert set(after).isdisjoint(load.missing(recorded.rows()))
    # Programs beside the test may add gaps of other reasons.
    reasons = [gap["reason"] for gap in gaps_of(recorded)]
    assert ["recorder_stopped"] == [reason for reason in reasons if reason == "recorder_stopped"]
    assert set() == load.missing(lines_of(recorded.json_log))


def test_database_that_was_put_back_is_gone_on_with(tmp_path: Path, load: Load) -> None:
    """What was recorded between the backup and its return is a gap in it."""
    with recording(tmp_path, NO_FAILED) as recorded:
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
    times = {
        row["argv"][1]: row["time"] for row in lines_of(recorded.json_log) if row.get("exe") == load.program
    }
    assert 1 == len(gaps)
    from_, to = (ask_time(gaps[0][edge]) for edge in ("from", "to"))
    assert all(from_ <= times[label] <= to for label in between)
    assert is_sound(recorded.db)


def test_reader_with_an_old_view_loses_nothing(tmp_path: Path, load: Load) -> None:
    """It keeps what it sees, and the recorder goes on."""
    with recording(tmp_path, NO_FAILED) as recorded:
        await_stored(recorded, load.blow(20)[-1])
        reader = sqlite3.connect(f"file:{recorded.db}?mode=ro", uri=True, isolation_level=None)
        reader.execute("BEGIN")
        count = "SELECT count(*) FROM exec"
        seen = reader.execute(count).fetchone()
        await_stored(recorded, load.blow(1000)[-1])
        assert seen == reader.execute(count).fetchone()
        reader.close()
    assert recorded.status == 0
    assert set() == load.missing(recorded.rows())


def test_hangups_lose_and_double_nothing(tmp_path: Path, load: Load) -> None:
    """However many come, and whether the log was moved away or not."""
    with recording(tmp_path, NO_FAILED) as recorded:
        job = load.start(2000)
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
        assert job.communicate()[0] == b"2000\n"
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
    with recording(tmp_path / "x", NO_FAILED, config=config) as recorded:
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
