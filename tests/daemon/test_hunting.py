"""The process that runs detection rules beside the recorder: whatever happens to it, execs are stored."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from execaudit.cli.run import hunter_command
from execaudit.daemon import hunt_reports, hunting
from execaudit.daemon.backlog import Backlog, Finished
from execaudit.daemon.hunting import Hunting
from execaudit.daemon.settings import HuntSettings
from execaudit.daemon.sinks.database import DatabaseSink
from execaudit.daemon.sinks.json_log import JsonStreamSink
from execaudit.store.writer import Store
from tests.commands import PATIENCE
from tests.histories import HOST, at, begin_run, make_event, make_hit
from tests.hunt.rules import write_rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from execaudit.event import ExecEvent, Hit

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="pySigma needs Python 3.11")


class Said(list[tuple[str, dict[str, Any]]]):
    """What the recorder logged."""

    def info(self, event: str, **facts: Any) -> None:  # noqa: ANN401  # structlog's
        """Takes an event."""
        self.append((event, facts))

    warning = error = info

    def of(self, event: str) -> list[dict[str, Any]]:
        """Returns the facts of all events of this name."""
        return [facts for each, facts in [*self] if each == event]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    """What is logged. Nobody waits long for the next child."""
    words = Said()
    monkeypatch.setattr(hunting, "log", words)
    monkeypatch.setattr(hunting, "_FIRST_PAUSE", 0.01)
    return words


class Recording:
    """The part of a recorder that stores."""

    def __init__(self, path: Path, first: str = "") -> None:
        """`first` is what the child does first, in Python."""

        def command(wanted: HuntSettings, is_careful: bool) -> list[str]:  # noqa: FBT001  # as Hunting calls it
            *start, code, given = hunter_command.command(path, wanted, is_careful)
            return [*start, code.replace(" main(given)", f" {first}; main(given)") if first else code, given]

        self.path = path
        self.hunting = Hunting(command)
        self.store = Store(path)
        begin_run(self.store)
        self.sink = DatabaseSink(self.store, host=HOST, hunting=self.hunting)
        self.lines: list[bytes] = []
        self._log = JsonStreamSink(self.lines.append)

    def take(self, *events: ExecEvent) -> None:
        """Stores, and writes to the JSON log."""
        batch = Finished(events, [], [], at(0), HOST, self.hunting.take_stored())
        self.sink.accept(batch)
        self._log.accept(batch)

    def until(self, is_so: Callable[[], object]) -> None:
        """Goes on without new execs until something is so."""
        deadline = time.monotonic() + PATIENCE / 3
        while not is_so():
            assert time.monotonic() < deadline
            self.take()
            time.sleep(0.01)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Asks the database."""
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(sql).fetchall()

    def is_hunted(self, number: int) -> bool:
        """Says whether all execs up to this one were looked at."""
        return [(b"%d" % number,)] == self.rows("SELECT value FROM meta WHERE key = 'hunted'")


@contextlib.contextmanager
def recording(path: Path, first: str = "") -> Iterator[Recording]:
    """A store that is open while the body runs."""
    found = Recording(path, first)
    try:
        yield found
    finally:
        found.hunting.close()
        found.store.close()


def execs(count: int, *arguments: bytes, first: int = 0, uid: int = 1000) -> list[ExecEvent]:
    """Returns execs of different moments of one minute."""
    return [
        make_event(*arguments, seconds=n / 1e6, pid=n + 1, uid=uid, exe=b"/bin/\x1b" + arguments[0])
        for n in range(first, first + count)
    ]


def test_a_slow_rule_is_put_aside_and_a_flood_is_bounded(path: Path, tmp_path: Path, said: Said) -> None:
    """All execs are stored meanwhile; each user has a share of the hits, and the rest is counted."""
    write_rule(tmp_path / "r/all.yml", "{Image|endswith: noise}", title="A\u202ell", level="high")
    write_rule(tmp_path / "r/slow.yml", "{CommandLine|re: '(a|aa)+$'}")
    write_rule(tmp_path / "r/bad.yml", "{Nowhere: a}")
    impatient = "import execaudit.query.timelimit as limit; limit.SECONDS = 0.2"
    with recording(path, impatient) as recorded:
        recorded.hunting.use(HuntSettings((str(tmp_path / "r"),), None))
        recorded.take(*execs(1, b"slow", b"a" * 200 + b"b"))
        recorded.take(*execs(300, b"noise", first=1), *execs(1, b"noise", first=301, uid=7))

        assert [(302,)] == recorded.rows("SELECT count(*) FROM exec")
        recorded.until(lambda: recorded.is_hunted(302))
        recorded.until(lambda: said.of("rule_put_aside") and not recorded.hunting.is_waiting())
        stored = recorded.rows("SELECT count(*), sum(left_out), max(left_out) FROM hit")
        lines = [json.loads(line) for line in b"".join(recorded.lines).splitlines()]
    hits = [line for line in lines if line["kind"] == "hit"]
    of_seven = [line for line in hits if line["uid"] == 7]

    assert [(102, 199, 199)] == stored
    assert (102, 199) == (len(hits), sum(hit["left_out"] for hit in hits))
    assert [("A\u202ell", "high", "/bin/\x1bnoise")] == [
        (hit["rule"]["title"], hit["rule"]["level"], hit["exe"]) for hit in of_seven
    ]
    assert of_seven[0]["id"] in [line["id"] for line in lines if line["kind"] == "exec"]
    assert 102 == len(said.of("rule_hit"))
    assert {"A\\u202ell"} == {facts["rule"] for facts in said.of("rule_hit")}
    assert [str(tmp_path / "r/bad.yml")] == [facts["file"] for facts in said.of("rule_refused")]


def test_what_cannot_be_run_is_said_once_and_tried_again(path: Path, tmp_path: Path, said: Said) -> None:
    """A folder that is not there, and packages that are not installed; other settings are read at once."""
    write_rule(tmp_path / "r/all.yml", "{Image|endswith: noise}")
    lacking = "sys.modules.update({'ahocorasick_rs': None} if 'without' in given['db'] else {})"
    without = tmp_path / "without.db"
    with recording(without, lacking) as recorded:
        recorded.hunting.use(HuntSettings((str(tmp_path / "r"),), None))
        recorded.take(*execs(1, b"noise"))
        recorded.until(lambda: said.of("hunt_failed"))

        assert "pip install 'execaudit[hunt]'" in said.of("hunt_failed")[0]["todo"]
    with recording(path) as recorded:
        recorded.hunting.use(HuntSettings((str(tmp_path / "nowhere"),), None))
        recorded.take(*execs(1, b"noise"))
        recorded.until(lambda: len(said.of("hunt_failed")) == 2)
        recorded.until(lambda: not (tmp_path / "nowhere").exists() and recorded.hunting._thread)
        recorded.hunting.use(HuntSettings((str(tmp_path / "r"),), "medium"))
        recorded.until(lambda: said.of("rule_hit"))
        recorded.take(*execs(1, b"noise", first=1))
        # As a recorder stops: with what was stored last.
        while recorded.hunting.await_last():
            recorded.take()

        assert 2 == len(said.of("rule_hit")) == recorded.rows("SELECT count(*) FROM hit")[0][0]
        assert 2 == len(said.of("hunt_failed"))


def test_an_exec_that_ends_the_process_is_left_out(
    path: Path, tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named, and rules are run on all others, each once."""
    monkeypatch.setattr(hunting, "_STUCK", 1)
    write_rule(tmp_path / "r/all.yml", "{Image|endswith: noise}")
    deadly = (
        "import os; from execaudit.hunt.search import Hunt as H; hits = H.hits;"
        " H.hits = lambda s, after, until: os.abort() if after < 1 <= until else hits(s, after=after, until=until)"
    )
    with recording(path, deadly) as recorded:
        recorded.hunting.use(HuntSettings((str(tmp_path / "r"),), None))
        recorded.take(*execs(3, b"noise"))
        recorded.until(lambda: recorded.is_hunted(3))

        assert [(2,), (3,)] == recorded.rows("SELECT exec_id FROM hit ORDER BY 1")
    assert [1] == [facts["number"] for facts in said.of("exec_not_hunted")]


def test_another_file_is_hunted_from_its_beginning(path: Path, tmp_path: Path, said: Said) -> None:
    """A database that was replaced has its own hits."""
    write_rule(tmp_path / "r/all.yml", "{Image|endswith: noise}")
    with recording(path) as recorded:
        recorded.hunting.use(HuntSettings((str(tmp_path / "r"),), None))
        recorded.take(*execs(3, b"noise"))
        recorded.until(lambda: recorded.is_hunted(3))
        for end in ("", "-wal", "-shm"):
            path.with_name(path.name + end).rename(tmp_path / f"old.db{end}")
        recorded.take(*execs(2, b"noise", first=3))
        recorded.until(lambda: recorded.is_hunted(2))

        assert [(1,), (2,)] == recorded.rows("SELECT exec_id FROM hit ORDER BY 1")
    assert 5 == len(said.of("rule_hit"))
    assert [] == said.of("hunt_failed")


@pytest.mark.parametrize(
    "line",
    [b"[]", b"{}", b"7", b"[[]]", b'["hunted"]', b'["hunted",-1]', b'["hunted",true]', b'["hunted",1e3]',
     b'["hunted",9223372036854775808]', b'["failed",null,null]', b'["rule",1,"a"]', b"[" * 20_000, b"\xff"],
)  # fmt: skip
def test_nonsense_is_refused(line: bytes) -> None:
    """Whatever the child was made to say, it is an error of this one kind."""
    with pytest.raises(hunt_reports.WrongReportError):
        hunt_reports.read(line)


def test_hits_that_wait_too_long_are_counted() -> None:
    """A JSON log that hangs costs a bounded memory: the last hit of each rule says how many there were."""
    hits = [make_hit(n + 1, f"rule {n % 2}") for n in range(100)]
    backlog = Backlog(HOST, 20_000)
    make = partial(Finished, [], [], [], at(0), HOST)
    for hit in hits:
        backlog.add(make([hit]))
    kept: list[Hit] = []
    while (batch := backlog.first()) is not None:
        kept += batch.hits
        backlog.written()

    assert len(hits) == sum(1 + hit.left_out for hit in kept)
    assert len(kept) < 50
    assert {hit.rule for hit in hits[-2:]} == {hit.rule for hit in kept[-2:]}
