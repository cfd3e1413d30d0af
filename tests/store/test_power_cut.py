"""What a power cut leaves: the disk as it was at that moment, and nothing that only memory had."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.store.writer import Run, Store
from tests.histories import at, make_event
from tests.seal.histories import verified

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parents[2]
_DISK_BYTES = 48 << 20
_CUTS = 6

# Stores batches of ten execs, and says the number of each when it is stored.
_WRITER = """
import sys
from execaudit.store.writer import Store
from pathlib import Path
from tests.histories import begin_run, make_event
from tests.seal.histories import make_key
make_key(Path(sys.argv[1]))
with Store(Path(sys.argv[1]), durable=sys.argv[2] == "full") as store:
    begin_run(store)
    for number in range(100_000):
        first = 10 * number
        store.append([make_event(b"%d" % n, bytes(1000), pid=n + 1) for n in range(first, first + 10)])
        print(number, flush=True)
"""


class Cut(NamedTuple):
    """The power went off."""

    image: Path
    acknowledged: int
    """So many batches were stored by then."""


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    """An ext4 in a file."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", image, folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def _copied(image: Path, copy: Path) -> None:
    """Copies a disk as it is at one moment: who would write to it stands still, but for the kernel."""
    before, now = b"", image.read_bytes()
    while before != now:
        before, now = now, image.read_bytes()
    copy.write_bytes(now)


def _cuts(folder: Path, synchronous: str) -> list[Cut]:
    """Cuts the power of a disk that is written to; the writer itself never notices."""
    chance = random.Random(synchronous)
    image = folder / "disk"
    with image.open("wb") as file:
        file.truncate(_DISK_BYTES)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    cuts = []
    with mounted(image, folder / "mounted") as disk:
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, disk / "history.db", synchronous],
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        assert writer.stdout is not None
        try:
            said = writer.stdout.readline()
            os.set_blocking(writer.stdout.fileno(), False)  # its only form
            for number in range(_CUTS):
                time.sleep(chance.uniform(0.05, 0.4))
                writer.send_signal(signal.SIGSTOP)
                os.waitid(os.P_PID, writer.pid, os.WSTOPPED)
                said += writer.stdout.read() or b""
                cuts.append(Cut(folder / f"cut-{number}", said.count(b"\n")))
                _copied(image, cuts[-1].image)
                writer.send_signal(signal.SIGCONT)
        finally:
            writer.kill()
            writer.wait()
            writer.stdout.close()
    return cuts


def _go_on(path: Path) -> None:
    """Records a little more, after the boot that follows a power cut."""
    run = Run(boot_id="99999999-2222-4333-8444-555555555555", host="h", version="0", started_ns=at(10**6))
    with Store(path) as store:
        store.begin_run(run)
        store.append([make_event(b"after", boot_id=run.boot_id, seconds=10**6 + 1)])


@pytest.mark.parametrize("synchronous", ["normal", "full"])
def test_the_history_is_sound_and_has_what_was_promised(tmp_path: Path, synchronous: str) -> None:
    """Whole batches from the first to some last one; with `full`, all that were acknowledged."""
    stored = []
    for cut in (cuts := _cuts(tmp_path, synchronous)):
        with mounted(cut.image, tmp_path / "after") as disk:
            path = disk / "history.db"
            with closing(sqlite3.connect(path)) as connection:
                assert [("ok",)] == connection.execute("PRAGMA integrity_check").fetchall()
            with open_history(path) as connection:
                pids = sorted(found.event.pid for found in find.find(connection, Filter()))
            assert pids == list(range(1, len(pids) + 1))
            assert len(pids) % 10 == 0
            stored.append(len(pids) // 10)
            _go_on(path)
            # What is lost is of a time before a boot, and no alarm.
            assert [] == verified(path).problems
            assert verified(path).is_authentic

    assert len(cuts) == _CUTS
    assert cuts[-1].acknowledged > _CUTS
    if synchronous == "full":
        assert [] == [(n, cut) for n, cut in zip(stored, cuts, strict=True) if n < cut.acknowledged]
    # What is stored may not have been acknowledged yet: one batch.
    assert all(n <= cut.acknowledged + 1 for n, cut in zip(stored, cuts, strict=True))
