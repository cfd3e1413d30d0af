"""A recorder that waits for the forwarder: what has not arrived is not deleted for its age, up to a share."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from execaudit.config import load
from execaudit.daemon import wait_for
from execaudit.daemon.settings import upkeep
from execaudit.daemon.wait_for import WaitFor
from execaudit.errors import ConfigError
from execaudit.store.limits import Limits
from execaudit.store.writer import Store
from tests.daemon.retaining import DAY, days, ended, opened, pids, stored, worked
from tests.histories import set_clock

if TYPE_CHECKING:
    from pathlib import Path

YOUNG = range(8_000_000, 8_000_110)
"""Execs of this number of seconds after the start, which are some days old."""


def stream_id(path: Path) -> bytes:
    """Returns the identity of a history."""
    with opened(path) as connection:
        value: bytes = connection.execute("SELECT value FROM meta WHERE key = 'stream_id'").fetchone()[0]
    return value


def arrived(file: Path, path: Path, seq: object) -> None:
    """Writes what a forwarder writes."""
    file.write_text(json.dumps({"stream": stream_id(path).hex(), "seq": seq}))


def test_what_has_not_arrived_stays(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too old goes when all that is indexed with it has arrived."""
    file = tmp_path / "arrived.json"
    stored(path, ended(range(1, 301)))
    stored(path, ended(YOUNG))
    set_clock(monkeypatch, 100 * DAY)
    limits = Limits(max_age_ns=days(30), max_bytes=10**9)

    def left(seq: object) -> list[int]:
        arrived(file, path, seq)
        worked(path, limits, waits=WaitFor(file, 0.5))
        return pids(path)

    assert [*range(1, 301), *YOUNG] == left(0)
    assert [*range(1, 301), *YOUNG] == left(299)
    assert [*YOUNG] == left(300 + len(YOUNG))


def test_a_share_of_the_limit_waits_and_no_more(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When what waits takes more, it is deleted as if nobody waited."""
    stored(path, ended(range(1, 300), text=b"x" * 1000))
    stored(path, ended(YOUNG))
    set_clock(monkeypatch, 100 * DAY)
    worked(path, Limits(max_age_ns=days(30), max_bytes=10**9), waits=WaitFor(tmp_path / "none", 0.5))
    assert [*range(1, 300), *YOUNG] == pids(path)
    with opened(path) as connection:
        assert wait_for.may_go(connection, WaitFor(tmp_path / "none", 0.5), 10**9) == 0
        assert wait_for.may_go(connection, WaitFor(tmp_path / "none", 0.5), 10**5) is None
    worked(path, Limits(max_age_ns=days(30), max_bytes=2_000_000), waits=WaitFor(tmp_path / "none", 0.01))

    assert [*YOUNG] == pids(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"nonsense", b"[" * 900, b'{"stream": 1, "seq": 5}', b'{"stream": "ID", "seq": null}',
     b'{"stream": "ID", "seq": -5}', b'{"stream": "other", "seq": 5}', b"\xff"],
)  # fmt: skip
def test_a_file_that_makes_no_sense_says_that_nothing_has_arrived(
    path: Path, tmp_path: Path, content: bytes
) -> None:
    """It is another user's."""
    Store(path).close()
    identity = stream_id(path)
    file = tmp_path / "arrived.json"
    file.write_bytes(content.replace(b"ID", identity.hex().encode()))

    assert 0 == wait_for.arrived(file, identity)


def test_a_pipe_or_a_link_is_not_read(path: Path, tmp_path: Path) -> None:
    """Neither makes the recorder wait."""
    Store(path).close()
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    arrived(tmp_path / "file", path, 5)
    link.symlink_to(tmp_path / "file")

    assert [0, 0, 5] == [wait_for.arrived(file, stream_id(path)) for file in (pipe, link, tmp_path / "file")]


@pytest.mark.parametrize("share", ["0%", "101%", "half", "0.5"])
def test_a_share_is_a_percentage(tmp_path: Path, share: str) -> None:
    """Of the limit."""
    config = tmp_path / "c.toml"
    config.write_text(f'[retention]\nwait_for_forward = "/a"\nwait_share = "{share}"\n')
    with pytest.raises(ConfigError, match="wait_share"):
        upkeep(load(config))
    config.write_text('[retention]\nwait_for_forward = "/a"\nwait_share = "25%"\n')
    found = upkeep(load(config)).wait_for
    assert found is not None
    assert 0.25 == found.share
    config.write_text('[retention]\nwait_share = "25%"\n')
    with pytest.raises(ConfigError, match="needs wait_for_forward"):
        upkeep(load(config))
