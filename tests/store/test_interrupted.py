"""A killed writer and a full disk cost nothing that was stored."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.disks import run_on_small_disk
from tests.histories import make_event
from tests.store.recording import recording_to, rows, stored

CHECKOUT = Path(__file__).parents[2]
_WRITER = """
import sys
from functools import partial
from pathlib import Path
from execaudit.store.writer import Store
from tests.histories import begin_run, make_event
opened = Store(Path(sys.argv[1]))
begin_run(opened)
number = 0
while True:
    opened.append([make_event(b"%d" % number, b"%d" % n, seconds=number) for n in range(50)])
    number += 1
    print(number, flush=True)
"""


def test_a_killed_writer_loses_nothing_it_acknowledged(path: Path) -> None:
    """After kill -9 the execs of all finished batches are there, no batch in part, and writing goes on."""
    found = 0
    for wanted in (1, 40):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, path], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            acknowledged = [int(writer.stdout.readline()) for _ in range(wanted)]
            writer.send_signal(signal.SIGKILL)
            acknowledged += map(int, writer.stdout.read().split())
        (execs,) = rows(path, "SELECT count(*), count(DISTINCT argv_id) FROM exec")

        assert -signal.SIGKILL == writer.returncode
        assert execs[0] - found in {50 * acknowledged[-1], 50 * acknowledged[-1] + 50}
        found = execs[0]

    with recording_to(path) as opened:
        opened.append([make_event(b"z")])
    assert make_event(b"z") == stored(path)[-1]
    assert [("ok",)] == rows(path, "PRAGMA integrity_check")


_FILLER = """
import sys
from functools import partial
from pathlib import Path
from execaudit.query import connection, find
from execaudit.query.filter import Filter
from execaudit.errors import StoreError
from execaudit.store.writer import Store
from tests.histories import begin_run, make_event
from tests.seal.histories import make_key, verified
path = Path(sys.argv[1]) / "history.db"
make_key(path)
spare = path.with_name("spare")
spare.write_bytes(bytes(300_000))
def count():
    with connection.open_history(path) as history:
        return find.count(history, Filter())
with Store(path) as opened:
    begin_run(opened)
    stored = 0
    try:
        while True:
            batch = [make_event(b"%d" % (stored + n), bytes([65 + n]) * 1000) for n in range(20)]
            opened.append(batch)
            stored += 20
    except StoreError as exc:
        print(type(exc).__name__, exc)
    print(stored, count())
    spare.unlink()
    opened.append(batch)
    print(stored + 20, count())
print(verified(path).problems, verified(path).is_authentic)
"""


def test_a_full_disk_is_said_in_one_line_and_costs_nothing_stored(tmp_path: Path) -> None:
    """When no room is left, committed execs stay, and the same batch is stored once there is some."""
    done = run_on_small_disk(tmp_path, "2m", _FILLER)
    error, full, *more, sealed = done.stdout.splitlines()

    assert not done.stderr
    assert error == (
        f"FullStoreError cannot write {tmp_path}/history.db: database or disk is full: make room on the disk"
    )
    assert sealed == "[] True"
    assert int(full.split()[0]) > 100
    assert {1} == {len(set(line.split())) for line in (full, *more)}
