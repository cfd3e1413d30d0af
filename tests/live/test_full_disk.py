"""Disks that are full, refuse or are gone: everything is stored in the end, or declared in a gap."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.commands import NO_FAILED
from tests.disks import small_disk
from tests.live.kept import (
    await_logged,
    await_passed,
    await_stored,
    counted,
    is_logged,
    is_sound,
    is_stored,
    lines_of,
)
from tests.live.load import Load, await_said, gaps_of
from tests.live.recording import execaudit as ask
from tests.live.recording import recording

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live.recording import Row

_DISK_BYTES = 400 << 20  # room for all that runs here, in the database and in the log
_PADDING = 100  # arguments of 1000 bytes, which make memory and disks full


class Disk(NamedTuple):
    """A small file system, and how to fill it."""

    folder: Path
    talk: Path
    """A file elsewhere, for what the recorder says."""

    def fill(self) -> None:
        """Leaves no room."""
        with (self.folder / "filler").open("wb") as file:
            # Blocks that are not written: it takes no time.
            for size in (1 << bit for bit in range(28, 11, -1)):
                with contextlib.suppress(OSError):
                    while True:
                        os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, size)
        with (self.folder / "filler-2").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(512))

    def break_(self) -> None:
        """Has ext4 find an error: it refuses all writes from then on."""
        device = subprocess.check_output(["findmnt", "-no", "SOURCE", self.folder], text=True).strip()
        subprocess.run(["mount", "-o", "remount,errors=remount-ro", self.folder], check=True)
        Path("/sys/fs/ext4", Path(device).name, "trigger_fs_error").write_text("1", encoding="ascii")
        with pytest.raises(OSError, match="Read-only"):
            (self.folder / "refused").touch()

    def empty(self) -> None:
        """Gives the room back."""
        for file in self.folder.glob("filler*"):
            file.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """An ext4 in a file."""
    with small_disk(tmp_path, _DISK_BYTES) as folder:
        yield Disk(folder, tmp_path / "talk")


def test_full_disk_costs_nothing_that_fits_into_memory(disk: Disk, load: Load) -> None:
    """Neither in the history nor in the log; both go on when there is room."""
    with recording(disk.folder / "x", NO_FAILED, talk=disk.talk) as recorded:
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
    assert load.word not in recorded.stderr()
    assert is_sound(recorded.db)


def test_full_disk_costs_the_history_what_memory_cannot_hold_and_says_how_much(
    disk: Disk, tmp_path: Path, load: Load
) -> None:
    """What is stored and what the gaps count is all that ran."""
    log = tmp_path / "elsewhere.jsonl"
    with recording(disk.folder / "x", NO_FAILED, "--json-log", str(log), talk=disk.talk) as recorded:
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
    with recording(tmp_path / "db", NO_FAILED, "--json-log", str(log), config=config) as recorded:
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
    with recording(disk.folder / "x", NO_FAILED, talk=disk.talk) as recorded:
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
    with recording(disk.folder / "x", NO_FAILED) as again:
        pass
    assert ["recorder_stopped"] == [
        gap["reason"] for gap in gaps_of(again) if gap["reason"] == "recorder_stopped"
    ]
    assert [] == list(recorded.db.parent.glob("*.ballast"))


def test_talk_that_cannot_be_written_stops_nothing(disk: Disk, tmp_path: Path, load: Load) -> None:
    """What the recorder has to say of a full disk finds no room there itself."""
    log = tmp_path / "elsewhere.jsonl"
    with recording(disk.folder / "x", NO_FAILED, "--json-log", str(log)) as recorded:
        recorded.json_log = log
        load.blow(20)
        disk.fill()
        load.blow(30, _PADDING)
        await_passed(recorded, load, is_logged)
        disk.empty()
        load.blow(20)
    assert recorded.status == 0
    assert set() == load.missing(recorded.rows())


def test_disk_that_refuses_writes_is_said_and_waited_for(disk: Disk, tmp_path: Path, load: Load) -> None:
    """The recorder does not end by itself; when it is told to, it says what is missing."""
    log = tmp_path / "elsewhere.jsonl"
    with recording(disk.folder / "x", NO_FAILED, "--json-log", str(log), talk=disk.talk) as recorded:
        recorded.json_log = log
        stored = load.blow(20)
        await_stored(recorded, stored[-1])
        disk.break_()
        load.blow(50, _PADDING)
        await_said(recorded, "database_waits")
        await_passed(recorded, load, is_logged)
    assert recorded.status == 1
    assert "execs are not in the history)" in recorded.stderr()
    assert set() == load.missing(lines_of(log))


def test_log_whose_disk_is_gone_does_not_harm_the_history(disk: Disk, tmp_path: Path, load: Load) -> None:
    """The log goes on where its path leads then."""
    log = disk.folder / "x.jsonl"
    with recording(tmp_path / "db", NO_FAILED, "--json-log", str(log)) as recorded:
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
