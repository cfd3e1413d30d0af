"""The room on the disk that is kept for closing the database in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from execaudit.daemon.backlog import Finished
from execaudit.daemon.sinks.database import DatabaseSink
from execaudit.errors import FullStoreError
from execaudit.event import Nanoseconds
from execaudit.store.ballast import Ballast
from tests.disks import run_on_small_disk
from tests.histories import HOST, make_event

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from execaudit.daemon.retention import Retention
    from execaudit.store.writer import Store

BATCH = Finished([make_event(b"a", pid=1)], [], [], Nanoseconds(1))

_FULL = """
import os, sys, time
from pathlib import Path
from execaudit.daemon.backlog import Finished
from execaudit.store.ballast import Ballast
from execaudit.event import Nanoseconds
from execaudit.daemon.retention import Retention
from execaudit.daemon.sinks.database import DatabaseSink
from execaudit.store.writer import Store
from tests.histories import HOST, begin_run, make_event

folder = Path(sys.argv[1])
ballast_file = folder / "h.db.ballast"
with Store(folder / "h.db") as store:
    begin_run(store)
    ballast = Ballast(folder / "h.db")
    sink = DatabaseSink(store, host=HOST, ballast=ballast)
    try:
        with (folder / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
    except OSError:
        pass
    for number in range(1, 40):
        sink._next_try = 0.0
        sink.accept(Finished([make_event(b"x" * 60_000, pid=number, seconds=number)], [], [], Nanoseconds(number)))
    print(sink.waits(), ballast_file.stat().st_blocks * 512)
    sink.finish()
    print(sink.waits(), ballast_file.exists())
"""


def test_events_do_not_eat_it_and_the_end_has_it(tmp_path: Path) -> None:
    """On a full disk it stays, however often writing is tried; at the end what waits fits into it."""
    done = run_on_small_disk(tmp_path, "80m", _FULL)

    assert ["True 4194304", "False False"] == [
        line for line in done.stdout.splitlines() if line.startswith(("True", "False"))
    ], (done.stdout, done.stderr)


class _FullStore:
    """Has no room."""

    def is_current(self) -> bool:
        """It is at its place."""
        return True

    def append(self, *_arguments: object, **_more: object) -> None:
        """Says so."""
        raise FullStoreError("full")


class _Retention:
    """Can delete only where there is room for that."""

    def __init__(self, ballast: Path) -> None:
        self._ballast = ballast
        self.saw: list[bool] = []

    def admit(self, batch: Finished) -> Finished:
        """All of it may be stored."""
        return batch

    def make_room(self, _store: object) -> bool:
        """Notes whether the ballast was there."""
        self.saw.append(self._ballast.exists())
        return not self.saw[-1]


def test_it_is_lent_for_deleting_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be deleted without it, once a minute; no event is written meanwhile."""
    ballast = tmp_path / "h.db.ballast"
    monkeypatch.setattr("execaudit.store.ballast._FREE_BYTES", 0)
    retention = _Retention(ballast)
    sink = DatabaseSink(
        cast("Store", _FullStore()),
        host=HOST,
        ballast=Ballast(tmp_path / "h.db"),
        retention=cast("Retention", retention),
    )
    sink.accept(BATCH)
    assert [True, False] == retention.saw
    assert 4 << 20 == ballast.stat().st_size
    sink.accept(BATCH)

    assert [True, False, True] == retention.saw
    assert ballast.exists()


def test_it_goes_through_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is at its place is not ours."""
    monkeypatch.setattr("execaudit.store.ballast._FREE_BYTES", 0)
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "h.db.ballast").symlink_to("victim")
    Ballast(tmp_path / "h.db").give_up()

    assert b"precious" == (tmp_path / "victim").read_bytes()
