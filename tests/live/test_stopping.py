"""A stop of the real recorder ends in bounded time, whatever does not read what it writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.commands import NO_FAILED, PATIENCE, await_found, found, line_of, recorder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.live.load import Load

_LINES = 400  # of 250 bytes at least: more than a pipe holds


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Its ends; nobody reads."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


def patched(**seconds: float) -> tuple[str, ...]:
    """Returns the command with other times to wait for a sink."""
    sets = "".join(f"threaded.{name} = {value}; " for name, value in seconds.items())
    return (
        sys.executable,
        "-c",
        f"from execaudit.daemon.sinks import threaded; {sets}from execaudit.cli import main; main()",
        "--config",
        os.devnull,
    )


def says(process: subprocess.Popen[bytes], event: str) -> None:
    """Returns when the recorder has said it."""
    while json.loads(line_of(process.stderr)).get("event") != event:
        pass


def test_a_stream_that_nobody_reads_costs_only_itself(
    tmp_path: Path, pipe: tuple[int, int], load: Load
) -> None:
    """The history has everything; the stop ends by itself, with what the stream lacks."""
    database = tmp_path / "x.db"
    with recorder(
        "--db",
        database,
        "record",
        NO_FAILED,
        "--json-log",
        "-",
        stdout=pipe[1],
        before=patched(FINISH_SECONDS=1),
    ) as process:
        load.blow(_LINES)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)

    assert 1 == process.returncode, err
    assert b"the json log did not take what waited" in err.splitlines()[-1]
    assert set() == load.missing(found(database))


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path, pipe: tuple[int, int], load: Load) -> None:
    """The recorder says that it is stopping; who asks again does not wait."""
    with recorder(
        "--db",
        tmp_path / "x.db",
        "record",
        NO_FAILED,
        "--json-log",
        "-",
        stdout=pipe[1],
        before=patched(FINISH_SECONDS=3600),
    ) as process:
        last = load.blow(_LINES)[-1]
        # What a busy machine has not stored by the second signal would be lost.
        await_found(tmp_path / "x.db", "--args", last)
        process.send_signal(signal.SIGINT)
        says(process, "stopping")
        process.send_signal(signal.SIGINT)

        assert 130 == process.wait(PATIENCE)
    assert set() == load.missing(found(tmp_path / "x.db"))


def test_talk_that_nobody_reads_stops_nothing(tmp_path: Path, pipe: tuple[int, int]) -> None:
    """Lines of the recorder's log are left out, and nothing waits for their reader."""
    ours, theirs = pipe
    os.set_blocking(theirs, False)
    with_room = 0
    try:
        while True:
            with_room += os.write(theirs, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(theirs, True)
    process = subprocess.Popen(
        [*patched(), "--db", tmp_path / "x.db", "record", NO_FAILED, "--quiet", "--duration", "1s"],
        stderr=theirs,
    )
    try:
        assert 0 == process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()
    assert b"x" * with_room == os.read(ours, with_room)
