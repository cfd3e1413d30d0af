"""The sinks: who gets execs, gaps and ends, and what of them is shown."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

from execaudit.daemon.backlog import Finished
from execaudit.daemon.log_file import LogFile
from execaudit.daemon.sinks.database import DatabaseSink
from execaudit.daemon.sinks.json_log import JsonLogSink
from execaudit.daemon.sinks.terminal import TerminalSink
from execaudit.enums import Ended, Kind
from execaudit.event import End, Nanoseconds
from execaudit.output.record import gap_record, to_record
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.find import Filter
from execaudit.store.writer import Store
from tests.histories import HOST, begin_run, make_event, make_exit, make_gap

if TYPE_CHECKING:
    from pathlib import Path

RAN = make_event(b"init", pid=1, kind=Kind.SNAPSHOT)
EXEC = make_event(b"a", pid=2, seconds=1, parent=RAN.key)
GAP = make_gap(2, 3)
EXIT = make_exit(EXEC.key, 4)
ALL = Finished([RAN, EXEC], [GAP], [EXIT], Nanoseconds(1))


def test_the_history_gets_everything(tmp_path: Path) -> None:
    """Execs, gaps and ends are in the history when the sink returns."""
    path = tmp_path / "h.db"
    with Store(path) as store:
        begin_run(store)
        DatabaseSink(store, host=HOST).accept(ALL)

    with open_history(path) as connection:
        assert [End(Ended.UNKNOWN), End(Ended.EXITED, code=0, duration_ns=3_000_000_000)] == [
            found.event.end for found in find.find(connection, Filter())
        ]
        assert [GAP] == find.gaps(connection, Filter())


def test_the_log_has_a_line_for_each_exec(tmp_path: Path) -> None:
    """What ran already has a line too; an end has none, because no line is written twice."""
    path = tmp_path / "x.jsonl"
    sink = JsonLogSink(LogFile(path))
    sink.accept(ALL)
    sink.accept(Finished([], [], [EXIT], Nanoseconds(2)))
    sink.close()

    expected = [to_record(RAN), to_record(EXEC), gap_record(GAP)]
    assert expected == [json.loads(line) for line in path.read_text().splitlines()]


def test_the_terminal_shows_what_happens() -> None:
    """A header, once, then execs and gaps; neither what ran already nor ends."""
    file = io.BytesIO()
    sink = TerminalSink(file.write)
    sink.accept(ALL)
    sink.accept(Finished([], [], [EXIT], Nanoseconds(2)))
    header, row, gap = file.getvalue().decode().splitlines()

    assert header.startswith("TIME ")
    assert "2" == row.split()[2]
    assert gap.startswith("gap: 7 execs")
