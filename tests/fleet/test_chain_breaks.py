"""`execaudit fleet status` tells of hosts whose chain of seals breaks, or begins anew."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import pytest

from execaudit.event import Nanoseconds
from execaudit.fleet.central import open_engine
from execaudit.fleet.heard import heard
from execaudit.fleet.status import Limits, by_trouble, hosts_of
from execaudit.seal.key_file import path_of
from execaudit.seal.keys import VerificationKey
from execaudit.store.writer import Store
from tests.commands import execaudit
from tests.fleet.centre import Centre, central, make_central, ship
from tests.histories import begin_run, make_event
from tests.seal.histories import make_key

if TYPE_CHECKING:
    from pathlib import Path


def _record(path: Path, *numbers: int, host: str = "web1") -> None:
    with Store(path) as store:
        begin_run(store, host=host)
        for number in numbers:
            now = Nanoseconds(time.time_ns())
            store.append([make_event(b"a", pid=number, tid=number, time_ns=now, host=host)])


def _seal_troubles(url: str) -> dict[str, list[str]]:
    now_ns = time.time_ns()
    with open_engine(central(url)) as engine:
        hosts = hosts_of(heard(engine, now_ns - Limits().lately_ns), now_ns=now_ns, limits=Limits())
    found = {kind.value: names for kind, names in by_trouble(hosts).items()}
    return {kind: names for kind, names in found.items() if kind in {"broken_chain", "new_chain"}}


def _copy(one: Path, other: Path) -> None:
    for name in (one, path_of(one)):
        if name.exists():
            shutil.copy(name, other / name.name)


def _is_told(tmp_path: Path, url: str) -> None:
    make_central(url)
    path, old = tmp_path / "x.db", tmp_path / "old"
    old.mkdir()
    make_key(path)
    _record(path, *range(1, 6))
    ship(path, url, batch=2)
    _copy(path, old)
    _record(path, 7, 8, 9)
    ship(path, url)
    assert _seal_troubles(url) == {}

    path_of(path).unlink()
    make_key(path, VerificationKey(bytes(range(1, 17)), bytes(32)))
    _record(path, 10)
    ship(path, url)
    assert _seal_troubles(url) == {"new_chain": ["web1"]}

    _copy(old / "x.db", tmp_path)
    _record(path, 11, 12)
    ship(path, url)
    assert _seal_troubles(url) == {"broken_chain": ["web1"], "new_chain": ["web1"]}
    metrics = tmp_path / "fleet.prom"
    done = execaudit("--db", url, "fleet", "status", "--metrics", metrics)
    assert done.status == 1
    assert b"new_chain: web1 (other_key): a new chain of seals in the last 1d" in done.err
    assert 'execaudit_fleet_trouble_hosts{kind="broken_chain"} 1' in metrics.read_text()


def test_a_chain_that_breaks_is_told(tmp_path: Path, postgres_database: str) -> None:
    """And one that begins anew, with the reason. One that goes on is not."""
    _is_told(tmp_path, postgres_database)


@pytest.mark.long_fleet
def test_a_chain_that_breaks_is_told_of_clickhouse(tmp_path: Path, clickhouse_database: str) -> None:
    """As above."""
    _is_told(tmp_path, clickhouse_database)


def test_a_history_of_another_host_is_told(tmp_path: Path, centre: Centre) -> None:
    """A copy that goes on under another name has the same chain."""
    path, other = tmp_path / "x.db", tmp_path / "other"
    other.mkdir()
    _record(path, 1, 2, 3)
    ship(path, centre.url)
    _copy(path, other)
    _record(path, 4, 5)
    ship(path, centre.url)
    _record(other / "x.db", 14, 15, host="web2")
    ship(other / "x.db", centre.url)

    assert set(_seal_troubles(centre.url)["broken_chain"]) == {"web1", "web2"}
