"""What is slow, stands still, or is not the service's own, beside the history."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from typing import TYPE_CHECKING

from tests.commands import NOBODY
from tests.hostile.attacker import NEIGHBOUR, new_word
from tests.hostile.honest import label_of
from tests.hostile.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.hostile.attacker import Attacker
    from tests.hostile.honest import Honest
    from tests.hostile.service import Installed


@contextlib.contextmanager
def slow_reader(pipe: int) -> Iterator[None]:
    """Reads a little of a pipe, again and again, while the body runs: slow, and never still for a second."""
    over = threading.Event()

    def read() -> None:
        while not over.wait(0.1):
            with contextlib.suppress(BlockingIOError):
                os.read(pipe, 65536)

    os.set_blocking(pipe, False)
    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_reader_of_the_stream_is_slow_and_then_stands_still(
    installed: Installed, place: Path, attacker: Attacker, honest: Honest
) -> None:
    """The history has everything; the stop ends, and says what the stream lacks."""
    service = Service(installed, place)
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb"), os.fdopen(write_end, "wb") as stream:
        service.begin("--json-log", "-", stdout=stream)
        stream.close()
        try:
            service.await_said("recording")
            with slow_reader(read_end):
                # 100 MB: more than may wait in memory for the stream.
                storm = (attacker.program("storm"), attacker.noop, "1000", new_word(), "100")
                with attacker.start(*storm) as flood:
                    honest.run(100)
                    assert flood.communicate()[0] == b"1000\n"
                honest.await_stored(service)
            assert service.stop() == 1, service.said()
        finally:
            service.kill()

    assert "execs are not in it" in service.said()
    assert set() == honest.missing_in(service)


def test_old_logs_are_not_pushed_out(
    installed: Installed, place: Path, attacker: Attacker, honest: Honest
) -> None:
    """30 MB of lines become more than seven old logs of a few KB each: what is older stays."""
    service = Service(installed, place, "[json_log]\nmax_size = '500kB'\n")
    with service.recording():
        honest.run(40)
        honest.await_stored(service)
        attacker.run(attacker.program("failing"), "150", "100000", new_word())
        honest.run(40)
        honest.await_stored(service)

    assert 8 < len(list(service.logs.glob("*.gz")))
    assert set() == honest.missing(service.logged())
    assert "old_logs_removed" not in service.said()


def test_log_is_filled(installed: Installed, place: Path, attacker: Attacker, honest: Honest) -> None:
    """40 MB of lines into a log of 8 MB: he loses his own, and the log says how many; others' are there."""
    config = "[json_log]\nmax_total = '8MB'\ncompress = false\n"
    service = Service(installed, place, config)
    word, flood = new_word(), new_word()
    neighbour = (attacker.program("storm"), attacker.noop, "40", word, "0")
    with service.recording():
        honest.run(40)
        attacker.run(*neighbour, user=NEIGHBOUR)
        attacker.run(attacker.program("failing"), "200", "100000", flood)
        attacker.run(*neighbour, user=NEIGHBOUR)
        honest.run(40)
        honest.await_stored(service)

    rows = service.logged()
    lost = [row for row in rows if row["kind"] == "gap"]
    assert set() == honest.missing(rows), lost
    assert 80 == sum(row["kind"] == "exec" and label_of(row).startswith(word) for row in rows), lost
    # The ring refuses some of them first, and perhaps some of yet another user who runs beside the test.
    full = [row for row in rows if row["kind"] == "gap" and row["reason"] in {"store_full", "ring_full"}]
    missing = [row for row in full if row["uid"] in {NOBODY, None}]
    assert NEIGHBOUR not in {row["uid"] for row in full}
    assert {NOBODY} == {row["uid"] for row in full if row["reason"] == "store_full"}
    stored = sum(row["kind"] == "failed" and flood in label_of(row) for row in rows)
    assert 0 < stored < 200 <= stored + sum(row["count"] for row in missing)
    assert sum(each.stat().st_size for each in service.logs.iterdir()) <= 8_000_000
    assert 1 == service.said().count('"event": "log_limit_not_kept"')


def test_log_is_emptied_in_place(service: Service, honest: Honest) -> None:
    """As `: > log` and logrotate's copytruncate do: what is written then begins at the beginning."""
    honest.run(20)
    honest.await_stored(service)
    with service.json_log.open("w"):
        pass
    honest.run(20)
    honest.await_stored(service)
    last = max(service.rows("--comm", "noop", "--args", honest.word), key=lambda row: row["time"])["id"]
    service.await_logged(last)

    content = service.json_log.read_bytes()
    assert 0 == content.count(b"\0")
    labels = {
        label_of(row) for row in map(json.loads, content.splitlines()) if row.get("argv", [])[:1] == ["noop"]
    }
    assert {f"{honest.word}-3-{number}" for number in range(20)} <= labels


def test_log_that_somebody_made_beforehand_is_refused(
    installed: Installed, place: Path, attacker: Attacker
) -> None:
    """In one line: he could read what is written to it."""
    log = attacker.own / f"{new_word()}.jsonl"
    attacker.run("sh", "-c", f"umask 0; : > {log}")
    service = Service(installed, place)
    service.begin("--json-log", str(log))
    try:
        assert service.wait() == 1, service.said()
    finally:
        service.kill()

    assert 1 == service.said().count("\n")
    assert str(log) in service.said()
    assert 0 == log.stat().st_size
