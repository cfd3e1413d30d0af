"""The JSON log's file: whole batches, whatever others do to it, and put aside when it is time."""

from __future__ import annotations

import gzip
import json
import os
import time
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from execaudit.daemon import log_limit, old_logs
from execaudit.daemon.log_file import LogFile, Rotation
from execaudit.errors import ExecauditError
from execaudit.times import utc_text
from tests.disks import run_on_small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from execaudit.event import Nanoseconds

DAY_NS: Nanoseconds = 86_400 * 10**9  # type: ignore[assignment]  # it is some


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the log is."""
    return tmp_path / "log" / "x.jsonl"


@pytest.fixture
def log(path: Path) -> Iterator[LogFile]:
    """A log that nobody rotates."""
    path.parent.mkdir()
    log = LogFile(path)
    yield log
    log.close()


def line(number: int, *, age_ns: int = 0) -> bytes:
    """Returns a line as the log has them."""
    when = utc_text(time.time_ns() - age_ns)
    return json.dumps({"id": str(number), "time": when}, separators=(",", ":")).encode() + b"\n"


def test_lines_are_appended_and_not_for_everybody(path: Path, log: LogFile) -> None:
    """Command lines hold secrets."""
    log.write(b"a\n")
    log.prepare()
    log.write(b"b\nc\n")

    assert b"a\nb\nc\n" == path.read_bytes()
    assert 0o640 == path.stat().st_mode & 0o777


def test_half_a_line_of_a_dead_recorder_is_ended(path: Path) -> None:
    """What comes next begins a line of its own."""
    path.parent.mkdir()
    path.write_bytes(b'{"id')
    log = LogFile(path)
    log.write(b"b\n")
    log.close()

    assert b'{"id\nb\n' == path.read_bytes()


def test_a_log_that_was_moved_away_is_begun_anew(path: Path, log: LogFile) -> None:
    """As logrotate does it, told or not; nothing is lost, and nothing is in both."""
    log.write(b"a\n")
    path.rename(path.with_name("old"))
    log.prepare()
    log.write(b"b\n")
    path.unlink()
    log.prepare()
    log.write(b"c\n")

    assert (b"a\n", b"c\n") == (path.with_name("old").read_bytes(), path.read_bytes())


def test_reopening_is_asked_for(path: Path, log: LogFile) -> None:
    """Until prepare() the old file is written, and when there is no new one, the old one is kept."""
    log.reopen_soon()
    log.write(b"a\n")
    path.parent.rename(path.parent.with_name("away"))
    with pytest.raises(ExecauditError, match="cannot write the JSON log"):
        log.prepare()
    log.write(b"b\n")
    path.parent.mkdir()
    log.prepare()
    log.write(b"c\n")

    assert b"a\nb\n" == (path.parent.with_name("away") / path.name).read_bytes()
    assert b"c\n" == path.read_bytes()


def rotated(path: Path, rotation: Rotation, *batches: bytes) -> list[bytes]:
    """Writes batches; returns the contents of the log and of what was put aside, the newest first."""
    path.parent.mkdir(exist_ok=True)
    log = LogFile(path, rotation)
    for batch in batches:
        log.prepare()
        log.write(batch)
    log.close()
    read = gzip.decompress if rotation.compress else bytes
    ending = ".gz" if rotation.compress else ""
    old = [path.with_name(f"{path.name}.{n}{ending}") for n in range(1, len(batches) + 1)]
    assert {path, *(each for each in old if each.exists())} == set(path.parent.iterdir())
    assert {0o640} == {each.stat().st_mode & 0o777 for each in path.parent.iterdir()}
    return [path.read_bytes(), *(read(each.read_bytes()) for each in old if each.exists())]


@pytest.mark.parametrize("compress", [True, False])
def test_a_large_log_is_put_aside(path: Path, *, compress: bool) -> None:
    """When it has reached its size; the oldest beyond so many are gone."""
    batches = [line(n) * 3 for n in range(5)]
    rotation = Rotation(max_bytes=2 * len(batches[0]), keep=1, compress=compress)

    assert [batches[4], batches[2] + batches[3]] == rotated(path, rotation, *batches)


def test_an_old_log_is_put_aside(path: Path) -> None:
    """By the time of its first line, which a restart does not forget."""
    old, new = line(1, age_ns=DAY_NS), line(2)

    assert [new + line(3)[:0] + new, old] == rotated(path, Rotation(max_age_ns=DAY_NS), old, new, new)


def test_an_old_log_of_an_earlier_recorder_is_put_aside(path: Path) -> None:
    """It is found at the start."""
    path.parent.mkdir()
    path.write_bytes(line(1, age_ns=DAY_NS))
    path.chmod(0o640)

    assert [line(2)[:10], line(1, age_ns=DAY_NS)[:10]] == [
        each[:10] for each in rotated(path, Rotation(max_age_ns=DAY_NS), line(2))
    ]


def test_none_is_kept_where_none_is_wanted(path: Path) -> None:
    """Keep = 0 begins anew."""
    assert [b"b\n"] == rotated(path, Rotation(max_bytes=1, keep=0), b"a\n", b"b\n")


def test_a_log_that_cannot_be_put_aside_goes_on(path: Path, log: LogFile) -> None:
    """A folder stands where the old one is made."""
    log.rotation = Rotation(max_bytes=1)
    (path.parent / "x.jsonl.1.gz.tmp").mkdir()
    for number in range(3):
        log.prepare()
        log.write(b"%d\n" % number)

    assert b"0\n1\n2\n" == path.read_bytes()
    assert {path.name, "x.jsonl.1.gz.tmp"} == {each.name for each in path.parent.iterdir()}


_FILLER = """
import os, sys
from pathlib import Path
from execaudit.daemon.log_file import LogFile
folder = Path(sys.argv[1])
spare = folder / "spare"
spare.write_bytes(bytes(100_000))
log = LogFile(folder / "x.jsonl")
batch = b"x" * 999 + b"\\n"
written = 0
try:
    while True:
        log.prepare()
        log.write(batch * 7)
        written += 7
except OSError as exc:
    print(exc.strerror)
whole = (folder / "x.jsonl").read_bytes() == batch * written
spare.unlink()
log.prepare()
log.write(batch)
print(whole, (folder / "x.jsonl").read_bytes() == batch * (written + 1), written > 100)
"""


def test_a_full_disk_takes_whole_batches_or_none(tmp_path: Path) -> None:
    """What a failed write has left is taken back, so that it does not come twice."""
    done = run_on_small_disk(tmp_path, "1m", _FILLER)

    assert ["No space left on device", "True True True"] == done.stdout.splitlines(), done.stderr


def test_a_log_that_was_truncated_in_place_gets_no_nuls(tmp_path: Path) -> None:
    """As `: > log` and logrotate's copytruncate do it, before a disk that is full."""
    program = """
import sys
from pathlib import Path
from execaudit.daemon.log_file import LogFile
path = Path(sys.argv[1]) / "x.jsonl"
log = LogFile(path)
log.write(b"x" * 499_999 + b"\\n")
path.write_bytes(b"")
log.prepare()
log.write(b"short\\n")
path.write_bytes(b"")
try:
    log.write(b"y" * 2_000_000 + b"\\n")
except OSError as exc:
    print(exc.strerror)
print(path.read_bytes())
log.write(b"after\\n")
print(path.read_bytes())
"""
    done = run_on_small_disk(tmp_path, "1m", program)

    assert ["No space left on device", "b''", r"b'after\n'"] == done.stdout.splitlines(), done.stderr


def test_rotation_by_size_counts_what_is_there(path: Path, log: LogFile) -> None:
    """Neither what was truncated away, nor only what we wrote."""
    log.rotation = Rotation(max_bytes=100, compress=False)
    log.write(b"x" * 99 + b"\n")
    path.write_bytes(b"")
    log.prepare()
    assert [path] == list(path.parent.iterdir())
    with path.open("ab") as file:
        file.write(b"y" * 100 + b"\n")
    log.prepare()

    assert b"y" * 100 + b"\n" == path.with_name("x.jsonl.1").read_bytes()


def test_all_logs_together_have_a_limit(path: Path, log: LogFile) -> None:
    """Old ones go first, whoever has put them aside; what has another name stays."""
    for age, name in enumerate(
        ("x.jsonl.9", "x.jsonl.8.gz", "x.jsonl-20260101.xz", "x.jsonl.bak", "xx.jsonl.1")
    ):
        other = path.with_name(name)
        other.write_bytes(bytes(1000))
        os.utime(other, (age + 1, age + 1))
    log.rotation = Rotation(max_bytes=500, max_total=4000, compress=False)
    for _ in range(2):
        log.write(b"z" * 599 + b"\n")
        log.prepare()

    assert {"x.jsonl", "x.jsonl.1", "x.jsonl.2", "x.jsonl-20260101.xz", "x.jsonl.bak", "xx.jsonl.1"} == {
        each.name for each in path.parent.iterdir()
    }


def test_many_small_logs_are_kept(path: Path, log: LogFile) -> None:
    """Only their bytes count: a flood compresses so well that seven of its logs are nothing."""
    log.rotation = Rotation(max_bytes=1000, max_total=100_000)
    with capture_logs() as said:
        for number in range(30):
            log.write(line(number) * 30)
            log.prepare()

    assert 30 == len(list(path.parent.glob("x.jsonl.*.gz")))
    assert [] == said


def test_what_a_number_of_logs_removes_is_said(log: LogFile) -> None:
    """With the times of its lines, once a minute at most."""
    log.rotation = Rotation(max_bytes=10, keep=1)
    with capture_logs() as said:
        for number in range(4):
            log.write(line(number, age_ns=DAY_NS))
            log.prepare()

    [told] = said
    assert ("old_logs_removed", "warning", 1) == (told["event"], told["log_level"], told["files"])
    assert told["since"][:13] == utc_text(time.time_ns() - DAY_NS)[:13]
    assert told["since"] < told["until"]


def test_logs_with_young_lines_are_not_removed(path: Path, log: LogFile) -> None:
    """They are too much: it says so once, and says how far above its limit it is."""
    log.rotation = Rotation(max_bytes=500, max_total=4000, compress=False)
    pressures = []
    with capture_logs() as said:
        for _ in range(7):
            log.write(b"z" * 499 + b"\n")
            log.prepare()
            pressures.append(log.room().pressure)
    assert 7 == len(list(path.parent.glob("x.jsonl.*")))
    assert ["log_limit_not_kept"] == [each["event"] for each in said]
    assert [None] * 5 + [0.0, 1.0] == pressures

    for old in path.parent.glob("x.jsonl.*"):
        os.utime(old, (1, 1))
    log._next_look = 0
    log.prepare()
    assert (None, 5) == (log.room().pressure, len(list(path.parent.glob("x.jsonl.*"))))


def test_what_cannot_be_removed_keeps_nothing_else(path: Path, log: LogFile) -> None:
    """Folders have the names of the oldest logs: others go. What is left is too much."""
    for number in (8, 9):
        path.with_name(f"x.jsonl.{number}").mkdir()
        os.utime(path.with_name(f"x.jsonl.{number}"), (1, 1))
    old = path.with_name("x.jsonl.7")
    old.write_bytes(bytes(1000))
    os.utime(old, (2, 2))
    log.rotation = Rotation(max_bytes=500, max_total=4000, compress=False)
    with capture_logs() as said:
        log.write(b"z" * 499 + b"\n")
        log.prepare()

    assert ["old_logs_not_removed"] == [
        each["event"] for each in said if each["event"] != "log_limit_not_kept"
    ][:1]
    assert not old.exists()
    assert log.room().pressure is not None


def test_too_many_logs_are_too_much(log: LogFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever their size: each is renamed for each new one."""
    monkeypatch.setattr(old_logs, "_MOST_FILES", 10)
    monkeypatch.setattr(old_logs, "_MARGIN_FILES", 2)
    log.rotation = Rotation(max_bytes=10, max_total=10**9)
    pressures = []
    for number in range(12):
        log.write(line(number))
        log.prepare()
        pressures.append(log.room().pressure)

    assert [None] * 10 + [0.5, 1.0] == pressures


def test_a_log_that_cannot_be_rotated_ends_at_its_limit(path: Path, log: LogFile) -> None:
    """It does not fill the disk; it waits, and says why."""
    (path.parent / "x.jsonl.1.gz.tmp").mkdir()
    log.rotation = Rotation(max_bytes=100, max_total=1000)
    log.write(b"x" * 1000)
    with pytest.raises(ExecauditError, match="limit of 1000 bytes and cannot be rotated: see"):
        log.prepare()


def test_the_default_limit_is_a_tenth_of_the_disk(tmp_path: Path) -> None:
    """At most 4 GB; what the configuration says comes first."""
    disk = os.statvfs(tmp_path)
    size = disk.f_blocks * disk.f_frsize
    total = log_limit.default_bytes(tmp_path)
    by_default = log_limit.completed(Rotation(), tmp_path / "x")

    assert min(size // 10, 4 * 10**9) <= total <= min(size // 2, 4 * 10**9)
    assert (total, min(total // 8, 2**28)) == (by_default.max_total, by_default.max_bytes)
    by_number = Rotation(max_bytes=10**12, keep=7)
    assert by_number == log_limit.completed(by_number, tmp_path / "x")
    assert by_default == log_limit.completed(Rotation(max_bytes=10**12), tmp_path / "x")
    assert 337 == log_limit.completed(Rotation(max_total=2700), tmp_path / "x").max_bytes
