"""How the recorder is, as systemd and Prometheus read it."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from execaudit.daemon import metrics, monitor
from execaudit.daemon.metrics import Health, SealHealth
from execaudit.daemon.monitor import Monitor, watchdog_seconds
from execaudit.system import systemd
from tests.commands import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

WELL = Health(execs=10, exits=9, missed=0, gaps=0, queued_bytes=0, most_queued_bytes=9, waiting=())
UNWELL = Health(
    execs=10, exits=9, missed=7, gaps=2, queued_bytes=512, most_queued_bytes=600, waiting=("json log",)
)
SINKS = ("database", "json log")


def test_the_status_line() -> None:
    """What a person wants to know, in one line."""
    assert "10 execs, 2.5/s; no gaps" == metrics.status(WELL, 2.5)
    assert (
        "10 execs, 0.0/s; 2 gaps with 7 execs missed; 512 bytes queued; the json log cannot be written"
        == metrics.status(UNWELL, 0)
    )


def test_prometheus_reads_the_metrics() -> None:
    """Its own parser finds every number under its name, with its type."""
    seal = SealHealth(age_s=2.25, is_keyed=True, epoch=17, stamped_s=1_764_000_000.4)
    text = metrics.metrics(UNWELL._replace(seal=seal), started_s=1.5, sinks=SINKS)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    values = {
        (sample.name, sample.labels.get("sink")): sample.value
        for family in families.values()
        for sample in family.samples
    }

    assert values == {
        ("execaudit_execs_total", None): 10,
        ("execaudit_exits_total", None): 9,
        ("execaudit_missed_execs_total", None): 7,
        ("execaudit_gaps_total", None): 2,
        ("execaudit_queued_bytes", None): 512,
        ("execaudit_queued_bytes_max", None): 600,
        ("execaudit_start_time_seconds", None): 1.5,
        ("execaudit_sink_waiting", "database"): 0,
        ("execaudit_sink_waiting", "json log"): 1,
        ("execaudit_seal_age_seconds", None): 2.25,
        ("execaudit_seal_keyed", None): 1,
        ("execaudit_seal_epoch", None): 17,
        ("execaudit_seal_timestamp_seconds", None): 1_764_000_000,
    }
    assert {"counter", "gauge"} == {family.type for family in families.values()}
    assert all(family.documentation for family in families.values())


def test_the_textfile_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others may read it, nothing unfinished stays beside it, and it is written again."""
    monkeypatch.setattr(monitor, "_METRICS_SECONDS", 0)
    path = tmp_path / "execaudit.prom"
    told = Monitor(SINKS, path)
    for execs in (10, 11):
        told.beat(WELL._replace(execs=execs))
        deadline = time.monotonic() + PATIENCE
        while not path.exists() or f"execaudit_execs_total {execs}\n" not in path.read_text():
            assert time.monotonic() < deadline
            told.beat(WELL._replace(execs=execs))

    assert 0o644 == path.stat().st_mode & 0o777
    assert {path.name} >= {file.name for file in tmp_path.iterdir() if not file.name.startswith(".")}


def test_a_folder_that_is_not_there_stops_nothing(tmp_path: Path) -> None:
    """Metrics that cannot be written are said once, and recording goes on."""
    Monitor(SINKS, tmp_path / "missing" / "x.prom").beat(WELL)

    assert [] == list(tmp_path.iterdir())


def test_the_watchdog_is_fed_as_often_as_it_wants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice in its time, and not at all unless systemd asks this very process."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "20000")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        told = Monitor(SINKS, None)
        heard: list[bytes] = []
        channel.setblocking(False)  # noqa: FBT003  # its only form
        while heard.count(b"WATCHDOG=1") < 3:
            told.beat(WELL)
            try:
                heard.append(channel.recv(200))
            except BlockingIOError:
                time.sleep(0.001)

    assert heard[:2] == [b"WATCHDOG=1", b"STATUS=10 execs, 0.0/s; no gaps"]
    assert 0.01 == watchdog_seconds({"WATCHDOG_USEC": "20000"})
    assert watchdog_seconds({"WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"}) is None
    assert watchdog_seconds({}) is None
    assert watchdog_seconds({"WATCHDOG_USEC": "0"}) is None


def test_a_manager_that_does_not_read_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its socket is full; what has to arrive is sent again when it reads."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.setblocking(False)  # noqa: FBT003  # its only form
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "2")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        told = Monitor(SINKS, None)
        for _ in range(1000):  # Linux keeps 10 datagrams if nobody says otherwise
            told.beat(WELL)
        systemd.notify("READY=1", must_arrive=True)
        heard: list[bytes] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                heard.append(channel.recv(200))
        assert b"READY=1" not in heard
        told.beat(WELL)

        assert b"READY=1" == channel.recv(200)


def test_metrics_follow_no_link(tmp_path: Path) -> None:
    """In a folder of somebody else's the name of the unfinished file may be taken."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    folder = tmp_path / "metrics"
    folder.mkdir()
    (folder / ".x.prom.new").symlink_to(victim)
    Monitor(SINKS, folder / "x.prom").beat(WELL)
    deadline = time.monotonic() + PATIENCE
    while not (folder / "x.prom").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)

    assert b"precious" == victim.read_bytes()
    assert 0o644 == (folder / "x.prom").stat().st_mode & 0o777
    assert not (folder / "x.prom").is_symlink()
