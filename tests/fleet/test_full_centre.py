"""The disk of a central database is full, and has room again: nothing is lost, and nothing comes twice."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
from typing import IO, TYPE_CHECKING

import pytest

from execaudit.central import clickhouse_admin
from execaudit.store.writer import Store
from tests.commands import line_of
from tests.commands import running as command
from tests.fleet.centre import Centre, assert_same, central, make_central, ship
from tests.fleet.clickhouse_servers import OldClickHouse
from tests.fleet.servers import PostgresServer, folder_of_server, ordinary_user, running
from tests.fleet.test_clickhouse_forward import assert_same as assert_same_in_clickhouse
from tests.fleet.test_clickhouse_forward import await_all
from tests.histories import at, begin_run, make_event

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Only `make test-fleet` runs these: each has a server of its own.
pytestmark = pytest.mark.long_fleet
_MB = 1 << 20
_EXECS, _LINE = 2500, 12_000
"""More than there is room for: execs, and bytes of each command line."""


class Disk:
    """A file system of a server's own, and a file that takes what room there is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, room: int) -> None:
        """Leaves so many bytes."""
        free = shutil.disk_usage(self.folder).free
        with self._ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free - room)

    def make_room(self) -> None:
        """Leaves enough."""
        self._ballast.unlink()


@pytest.fixture
def disk() -> Iterator[Disk]:
    """Returns a file system of 600 MB in memory, of which only what is used is taken."""
    folder = folder_of_server()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={600 * _MB},mode=700", "none", folder], check=True)
    try:
        os.chown(folder, ordinary_user(), -1)
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
        folder.rmdir()


def _append_much(path: Path) -> None:
    """Appends execs whose command lines cannot be compressed."""
    chance = random.Random(1)
    with Store(path) as store:
        begin_run(store)
        for number in range(1, _EXECS + 1):
            line = chance.randbytes(_LINE).replace(b"\0", b"1")
            store.append([make_event(b"a", line, seconds=number, pid=number, tid=number)], ())
        store.end_run(at(_EXECS))


def _await_no_room(log: IO[bytes] | None) -> None:
    """Waits until a forwarder says why nothing arrives."""
    while (said := json.loads(line_of(log)))["event"] != "not_forwarded":
        pass
    assert "has no room left on its disk: make room there" in said["reason"]


# Without room for its log it ends itself, and whoever keeps it starts it again.
@pytest.mark.parametrize("moved", ["data", "data/pg_wal"])
def test_postgresql_without_room(disk: Disk, tmp_path: Path, moved: str) -> None:
    """What was shipped stays, and what could not be comes later."""
    server = PostgresServer("max_wal_size=32MB")
    there = disk.folder / "moved"
    (server.folder / moved).rename(server.folder / "was")
    subprocess.run(["cp", "--archive", server.folder / "was", there], check=True)
    (server.folder / moved).symlink_to(there)
    path = tmp_path / "x.db"
    with running(server):
        centre = Centre(make_central(server.url(server.new_database())))
        _append_much(path)
        disk.fill(2 * _MB)
        with command("--db", path, "forward", "--to", centre.url, "--batch", "50") as forwarder:
            _await_no_room(forwarder.stderr)
            disk.make_room()
            assert server.process is not None
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.process.wait(3)
                server.start()
            centre.await_execs(_EXECS)
        ship(path, centre.url)
        assert_same(path, centre)


def test_clickhouse_without_room(disk: Disk, tmp_path: Path) -> None:
    """As above."""
    server = OldClickHouse()
    (server.folder / "data").symlink_to(disk.folder)
    path = tmp_path / "x.db"
    with running(server):
        url = server.url("one")
        clickhouse_admin.upgrade(central(url), None, None, None)
        _append_much(path)
        disk.fill(2 * _MB)
        with command("--db", path, "forward", "--to", url, "--every=1s", "--batch", "50") as forwarder:
            _await_no_room(forwarder.stderr)
            disk.make_room()
            await_all(server, "one", _EXECS)
        assert_same_in_clickhouse(path, server, "one")
