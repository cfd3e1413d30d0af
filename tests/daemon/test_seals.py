"""What the recorder says of seals: a head each minute, a key that is lost, and what it found at its start."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from execaudit.daemon import seals as module
from execaudit.daemon.backlog import Backlog, Finished
from execaudit.daemon.seals import Seals, check_last
from execaudit.daemon.settings import SealSettings
from execaudit.daemon.sinks.database import DatabaseSink
from execaudit.daemon.sinks.json_log import JsonStreamSink
from execaudit.daemon.sinks.threaded import ThreadedSink
from execaudit.event import Nanoseconds, Sealed
from execaudit.importing.items import Other
from execaudit.importing.json_log import JsonReader
from execaudit.seal.key_file import path_of
from execaudit.seal.keys import VerificationKey
from execaudit.store.writer import Store
from tests.commands import PATIENCE
from tests.daemon.recording import opened_store, record
from tests.fakes import FakeRing, exec_record
from tests.histories import HOST, begin_run, make_event
from tests.seal.histories import KEY, change, go_on, make_key, sealed_history

if TYPE_CHECKING:
    from pathlib import Path

OTHER = VerificationKey(b"o" * 16, b"k" * 32)
SEALED = Sealed(Nanoseconds(10**18), HOST, "a head", 7, is_keyed=True)

Said = list[tuple[str, str, dict[str, Any]]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Said:
    """What is logged: level, event and facts."""
    words: Said = []

    class Log:
        def info(self, event: str, **facts: Any) -> None:  # noqa: ANN401  # structlog's
            words.append(("info", event, facts))

        def error(self, event: str, **facts: Any) -> None:  # noqa: ANN401  # structlog's
            words.append(("error", event, facts))

    monkeypatch.setattr(module, "log", Log())
    return words


def often() -> Seals:
    """Returns what says a head after each commit."""
    seals = Seals()
    seals.use(SealSettings(say_every_s=0.0))
    return seals


def store_batch(sink: DatabaseSink, number: int) -> None:
    """Stores an exec."""
    sink.accept(
        Finished([make_event(b"a", seconds=number, pid=1 + number)], [], [], Nanoseconds(number), HOST)
    )


def test_the_log_has_a_head_that_verify_finds(path: Path, told: Said) -> None:
    """And the JSON log has the same, and what metrics need is there."""
    make_key(path)
    seals = often()
    with Store(path) as store:
        begin_run(store)
        sink = DatabaseSink(store, host=HOST, seals=seals)
        store_batch(sink, 1)
        ((level, event, facts),) = told
        (sealed,) = seals.take()
        newest = store.sealer.newest()
    lines: list[bytes] = []
    JsonStreamSink(lines.append).accept(Finished([], [], [], Nanoseconds(1), sealed=[sealed]))
    record_ = json.loads(b"".join(lines))

    assert newest is not None
    assert (level, event, facts["head"], facts["keyed"]) == ("info", "sealed", str(newest.head), True)
    assert record_ == {
        "kind": "sealed", "time": facts["until"], "host": HOST, "head": str(newest.head),
        "epoch": newest.head.epoch, "keyed": True,
    }  # fmt: skip
    assert not seals.take()


def test_a_head_is_said_once(path: Path, told: Said) -> None:
    """Where nothing was sealed since, there is nothing new to say."""
    seals = often()
    with Store(path) as store:
        begin_run(store)
        for _ in range(3):
            seals.look(store, HOST)

    assert [event for _, event, _ in told] == ["sealed"]


def test_a_minute_passes_between_two(path: Path, told: Said) -> None:
    """Metrics are newer."""
    seals = Seals()
    with Store(path) as store:
        begin_run(store)
        sink = DatabaseSink(store, host=HOST, seals=seals)
        for number in range(3):
            store_batch(sink, number)
        newest = store.sealer.newest()

    assert told == []
    assert newest is not None
    assert seals.newest is not None
    assert seals.newest.head == str(newest.head)


def test_a_lost_key_is_an_error_with_what_to_do(path: Path, told: Said) -> None:
    """And again when the next recorder starts. One that runs makes its file again."""
    make_key(path)
    with Store(path) as store:
        begin_run(store)
    path_of(path).unlink()
    for _ in range(2):
        with Store(path) as store:
            begin_run(store)
            often().look(store, HOST)

    errors = [facts for level, event, facts in told if (level, event) == ("error", "sealing_key_lost")]
    assert len(errors) == 2
    assert "execaudit seal setup --new-key" in errors[0]["todo"]


def test_another_key_is_an_error_once(path: Path, told: Said) -> None:
    """Somebody of the house made it, or somebody else."""
    make_key(path)
    with Store(path) as store:
        begin_run(store)
        seals = often()
        seals.look(store, HOST)
        make_key(path, OTHER)
        go_on(store, 1)
        seals.look(store, HOST)
        often().look(store, HOST)

    assert [event for level, event, _ in told if level == "error"] == ["sealing_key_replaced"]


def test_what_is_as_it_was_sealed_is_said_in_a_word(path: Path, told: Said) -> None:
    """Nothing is wrong with a new history, and none with one that goes on."""
    with Store(path) as store:
        assert check_last(store).word == "nothing"
        begin_run(store)
        go_on(store, 2)
    with Store(path) as store:
        found = check_last(store)
        found.say()

    assert found.word == "verified"
    assert found.sealed_until_ns is not None
    assert told == []


@pytest.mark.parametrize(
    ("sql", "table"),
    [
        ("UPDATE exec SET pid = 7 WHERE id = 4", "exec"),
        ("DELETE FROM exec WHERE id = 4", "exec"),
        ("INSERT INTO exec (id, ts, clock_id, kind, pid, argv_id) SELECT 99, ts, 1, 0, 7, 1 FROM exec LIMIT 1", "exec"),
        ("UPDATE seal SET entries = x'ff'", "seal"),
    ],
)  # fmt: skip
def test_what_is_not_is_an_error_and_is_recorded_over(path: Path, told: Said, sql: str, table: str) -> None:
    """The recorder goes on."""
    sealed_history(path, 4)
    change(path, sql)
    with Store(path) as store:
        found = check_last(store)
        found.say()
        begin_run(store)

    assert found.word == "broken"
    assert {(level, event, facts["table"]) for level, event, facts in told} == {
        ("error", "seal_broken", table)
    }


def test_a_batch_with_a_seal_alone_reaches_the_log() -> None:
    """Through its thread; and of several that wait, the newest is kept."""
    lines: list[bytes] = []
    sink = ThreadedSink(JsonStreamSink(lines.append), host=HOST, patient=False)
    sink.accept(Finished([], [], [], Nanoseconds(1), sealed=[SEALED]))
    sink.finish()
    backlog = Backlog(HOST, 1000)
    for epoch in range(9):
        backlog.add(Finished([], [], [], Nanoseconds(epoch), sealed=[SEALED._replace(epoch=epoch)]))
    waiting: list[Sealed] = []
    while (batch := backlog.first()) is not None:
        waiting += batch.sealed
        backlog.written()

    assert json.loads(b"".join(lines))["head"] == "a head"
    assert waiting[-1].epoch == 8


def test_an_import_of_the_log_leaves_seals_out() -> None:
    """They are about the history that was there."""
    line = json.dumps({"kind": "sealed", "time": "x", "host": HOST, "head": "h", "epoch": 1, "keyed": True})

    assert [Other(1)] == [*JsonReader(HOST).feed(1, line.encode())]


def test_the_recorder_hands_seals_to_the_log(path: Path, told: Said) -> None:
    """With the next batch."""
    kinds: list[str] = []

    def write(lines: bytes) -> None:
        kinds.extend(json.loads(line)["kind"] for line in lines.splitlines())

    ring, seals = FakeRing(100_000), often()
    deadline = time.monotonic() + PATIENCE

    def has_seal() -> bool:
        ring.emit(exec_record(len(kinds) + 1))
        return "sealed" in kinds or time.monotonic() > deadline

    with opened_store(path) as store:
        log = ThreadedSink(JsonStreamSink(write), host="host", patient=False)
        sinks = DatabaseSink(store, host="host", seals=seals), log
        record(ring, *sinks, should_stop=has_seal, seals=seals)

    assert "sealed" in [event for _, event, _ in told]
    assert "sealed" in kinds


def test_a_key_is_what_the_store_uses(path: Path) -> None:
    """Else these tests would say nothing of keys."""
    sealed_history(path, 1, key=KEY)
    with Store(path) as store:
        begin_run(store)
        newest = store.sealer.newest()

    assert newest is not None
    assert newest.chain.id == KEY.chain
