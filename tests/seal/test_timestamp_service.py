"""The service that asks for time stamps, and the recorder that stores them."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from execaudit.cli.run import timestamp as module
from execaudit.cli.run.timestamp import Authority, Following
from execaudit.daemon import stamps as recorder_module
from execaudit.daemon.seals import Seals
from execaudit.daemon.settings import SealSettings
from execaudit.daemon.stamps import Stamps
from execaudit.seal import stamps
from execaudit.seal.chain import Head
from execaudit.seal.stamps import MOST_LEFT, Stamp
from execaudit.store.writer import Store
from tests.commands import PATIENCE, line_of, running
from tests.histories import at, begin_run
from tests.seal.histories import changing, go_on, sealed_history
from tests.seal.stamped import status, verify
from tests.seal.tsa import Server, Tsa, configured

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A history."""
    return sealed_history(tmp_path / "h.db", 3)


def follow(path: Path, config: Path, into: Path) -> tuple[str, ...]:
    """Returns the command of the service."""
    return ("--config", str(config), "--db", str(path), "seal", "timestamp", "--follow", f"--into={into}")


def said(line: bytes) -> dict[str, Any]:
    """Returns what a process logs in a line."""
    found: dict[str, Any] = json.loads(line)
    return found


def test_the_service_leaves_stamps_for_the_recorder(tmp_path: Path, server: Server, tsa: Tsa) -> None:
    """One at once, and one when it is stopped; the recorder stores them."""
    path, into = tmp_path / "h.db", tmp_path / "stamps.json"
    config = configured(tmp_path, server, tsa)
    seals = Seals()
    seals.use(SealSettings(url=server.url, left=into))
    with Store(path) as store:
        begin_run(store)
        go_on(store, 1)
        with running(*follow(path, config, into)) as process:
            assert said(line_of(process.stderr))["event"] == "timestamping"
            first = said(line_of(process.stderr))
            go_on(store, 1, after=1)
            process.send_signal(signal.SIGTERM)
            second = said(line_of(process.stderr))
            assert process.wait(PATIENCE) == 0
        seals.look(store, "host")
        newest = store.sealer.newest()
        assert newest is not None
    code, found = verify(path, "--tsa", tsa.authority)

    assert (first["event"], second["event"]) == ("timestamped", "timestamped")
    assert second["head"] == str(newest.head)
    assert (code, [each["verified"] for each in found["timestamps"]]) == (0, [True, True])
    assert [each["head"] for each in found["timestamps"]] == [first["head"], second["head"]]
    assert seals.stamps.newest_ns is not None


def test_the_service_goes_on_when_the_server_does(tmp_path: Path, server: Server, tsa: Tsa) -> None:
    """It says once that there is no stamp, however often it tries, and once that there is one again."""
    path, into = sealed_history(tmp_path / "h.db", 1), tmp_path / "stamps.json"
    server.status = 500
    following = Following(path, Authority(_settings(server, tsa)), 3600.0, into)
    log = _Log()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "log", log)
        pauses = [following.step() for _ in range(12)]
        server.status = 200
        after = following.step()
        again = following.step()

    assert log.events == ["not_timestamped", "timestamped_again", "timestamped"]
    assert all(5 <= pause <= 900 for pause in pauses)
    assert pauses[-1] > 400
    assert after == again == 10
    assert len(server.asked) == 13
    assert len(stamps.read_left(into)) == 1


def _settings(server: Server, tsa: Tsa) -> SealSettings:
    return SealSettings(url=server.url, authority=tsa.authority)


class _Log:
    """What is logged."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def info(self, event: str, **_: object) -> None:
        """Notes it."""
        self.events.append(event)

    warning = info


def test_a_stamp_is_due_by_time_and_at_a_stop(tmp_path: Path, server: Server, tsa: Tsa) -> None:
    """An hour apart, or when the recorder has stopped; not again for the same head, nor after a restart."""
    path, into = tmp_path / "h.db", tmp_path / "stamps.json"
    authority = Authority(_settings(server, tsa))
    following = Following(path, authority, 3600.0, into)
    with Store(path) as store:
        begin_run(store)
        go_on(store, 1)
        following.step()
        go_on(store, 1, after=1)
        following.step()
        assert len(server.asked) == 1
        restarted = Following(path, authority, 3600.0, into)
        restarted.step()
        assert len(server.asked) == 1
        short = Following(path, authority, 0.0, into)
        short.step()
        short.step()
        assert len(server.asked) == 2
        store.end_run(at(10))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_LEAST_SECONDS", 0.0)
        following.step()
        assert len(server.asked) == 3
        following.step()
        assert len(server.asked) == 3


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[", b"[]x", b"{}", b"[[1,2,3,4]]", b"[" * 100_000, b'[["x", 1, "y", ""]]', b" " * 2_000_000, b"\xff",
        b'[["0000000000000000-1-' + b"0" * 64 + b'", -1, "y", ""]]',
        b'[["0000000000000000-1-' + b"0" * 64 + b'", 1e300, "y", ""]]',
        b'[["0000000000000000-1-' + b"0" * 64 + b'", true, "y", ""]]',
        b'[["0000000000000000-1-' + b"0" * 64 + b'", 1, "\\ud800", ""]]',
        b'[["0000000000000000-1-' + b"0" * 64 + b'", 1, "y", "' + b"A" * 60_000 + b'"]]',
    ],
    ids=range(14),
)  # fmt: skip
def test_what_is_no_stamp_is_not_taken(path: Path, tmp_path: Path, content: bytes) -> None:
    """The file is another user's. The recorder says once what it does not understand, and records."""
    left = tmp_path / "stamps.json"
    left.write_bytes(content)
    log = _looked(path, left)

    assert log.events == ["timestamps_not_taken"]
    assert status(path)["timestamp"] is None


def _looked(path: Path, left: Path) -> _Log:
    """Has a recorder look twice. Returns what it logs."""
    log = _Log()
    with pytest.MonkeyPatch.context() as patch, Store(path) as store:
        patch.setattr(recorder_module, "log", log)
        patch.setattr(recorder_module, "_SECONDS", 0.0)
        found = Stamps()
        found.path = left
        found.look(store)
        found.look(store)
    return log


def test_only_new_stamps_of_this_history_are_taken(path: Path, tmp_path: Path) -> None:
    """None of another history, and none twice, so that nobody fills the history with them."""
    left = tmp_path / "stamps.json"
    head = Head.from_text(status(path)["head"])
    made = [
        head._replace(chain="f" * 16), head, head._replace(epoch=head.epoch - 1), head._replace(hash="0" * 64),
        head._replace(epoch=head.epoch + 1), *[head] * MOST_LEFT,
    ]  # fmt: skip
    left.write_text(json.dumps([[str(each), 5, "CN=x", ""] for each in made]))
    log = _looked(path, left)
    with changing(path) as connection:
        rows = connection.execute("SELECT head FROM seal_timestamp").fetchall()

    assert log.events == ["timestamped"]
    assert [row[0] for row in rows] == [str(head), str(made[4])]


def test_a_pipe_or_a_link_is_not_read(path: Path, tmp_path: Path) -> None:
    """It would never answer, or be another file."""
    pipe, link, target = tmp_path / "pipe", tmp_path / "link", tmp_path / "target"
    os.mkfifo(pipe)
    target.write_text("[]")
    link.symlink_to(target)

    assert [_looked(path, each).events for each in (pipe, link)] == [["timestamps_not_taken"]] * 2
    assert _looked(path, target).events == _looked(path, tmp_path / "none").events == []


def test_the_last_ones_are_left(tmp_path: Path) -> None:
    """As many as the recorder may miss while it is stopped."""
    head = "0" * 16 + "-{}-" + "0" * 64
    made = [Stamp(head.format(number), number, "x", b"\xff" * 32_768) for number in range(20)]
    left = tmp_path / "left"
    left.write_text(stamps.to_json(made))

    assert stamps.read_left(left) == made[-MOST_LEFT:]
