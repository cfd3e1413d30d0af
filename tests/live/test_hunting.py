"""`[hunt]` in the configuration: the recorder runs rules on what it records, whatever happens to it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.commands import NO_FAILED, PATIENCE
from tests.hunt.rules import write_rule
from tests.live.load import await_said, gaps_of
from tests.live.recording import execaudit, recording

if TYPE_CHECKING:
    from tests.live.load import Load
    from tests.live.recording import Recorded

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="pySigma needs Python 3.11")


def child_of(recorded: Recorded) -> int:
    """Returns the pid of the process that runs the rules."""
    (child,) = [
        int(pid)
        for task in Path(f"/proc/{recorded.pid}/task").iterdir()
        for pid in (task / "children").read_text().split()
    ]
    return child


def stored(recorded: Recorded, exe: Path, count: int) -> None:
    """Waits until the history has so many execs of a program."""
    deadline = time.monotonic() + PATIENCE
    sql = "SELECT count(*) FROM exec JOIN launch ON launch.id = launch_id JOIN path ON path.id = exe_id WHERE path.v = ?"
    with closing(sqlite3.connect(recorded.db)) as history:
        while history.execute(sql, (bytes(exe),)).fetchone() < (count,):
            assert time.monotonic() < deadline, recorded.stderr()
            time.sleep(0.02)


def hits(recorded: Recorded) -> list[str]:
    """Returns the ids of the execs that the rule hit, as the JSON log has it."""
    # A recorder that is killed may leave half a line, and so may one that is writing.
    whole = [line for line in recorded.json_log.read_text().splitlines(keepends=True) if line.endswith("}\n")]
    rows: list[dict[str, Any]] = [json.loads(line) for line in whole if line.startswith('{"kind":"hit",')]
    return [row["id"] for row in rows if row["rule"]["title"] == "Marked"]


def await_hits(recorded: Recorded, count: int) -> None:
    """Waits until the JSON log has so many hits."""
    deadline = time.monotonic() + PATIENCE
    while len(hits(recorded)) < count:
        assert time.monotonic() < deadline, recorded.stderr()
        time.sleep(0.02)


def test_hits_are_stored_logged_and_said(tmp_path: Path, load: Load) -> None:
    """Each once: also when the rules' process is killed, or the recorder before they were run."""
    marked = Path(shutil.copy("/bin/true", tmp_path / "marked"))
    write_rule(tmp_path / "rules/a/marked.yml", f"{{Image: {marked}}}", title="Marked", level="high")
    write_rule(tmp_path / "rules/bad.yml", "{Nowhere: a}", title="Bad")
    config = tmp_path / "config.toml"
    config.write_text(f'[hunt]\nrules = "{tmp_path}/rules"\n', encoding="utf-8")
    with recording(tmp_path, NO_FAILED, config=config) as recorded:
        await_said(recorded, "hunting")
        subprocess.run([marked, "1"], check=True)
        await_hits(recorded, 1)
        child = child_of(recorded)
        assert "0" * 16 == Path(f"/proc/{child}/status").read_text().partition("CapEff:")[2].split()[0]
        assert 19 == os.getpriority(os.PRIO_PROCESS, child)
        os.kill(child, signal.SIGKILL)
        load.blow(200)
        subprocess.run([marked, "2"], check=True)
        await_hits(recorded, 2)
        # What is not looked at when the recorder is killed is the next one's.
        os.kill(child_of(recorded), signal.SIGSTOP)
        subprocess.run([marked, "3"], check=True)
        stored(recorded, marked, 3)
        os.kill(recorded.pid, signal.SIGKILL)
    said = recorded.said()
    with recording(tmp_path, NO_FAILED, config=config) as recorded:
        await_hits(recorded, 3)
        subprocess.run([marked, "4"], check=True)
    said += recorded.said()

    assert 0 == recorded.status, recorded.stderr()
    rows = recorded.rows()
    ids = [row["id"] for row in rows if row["exe"] == str(marked)]
    assert ["1", "2", "3", "4"] == [row["argv"][1] for row in rows if row["exe"] == str(marked)]
    assert ids == hits(recorded)
    assert ids == [line["id"] for line in said if line["event"] == "rule_hit"]
    assert {"Marked"} == {line["rule"] for line in said if line["event"] == "rule_hit"}
    assert set() == load.missing(rows)
    assert 1 == [gap["reason"] for gap in gaps_of(recorded)].count("recorder_stopped")
    [counted] = json.loads(execaudit("--db", str(recorded.db), "stats", "--format=json").stdout)["hits"]
    assert ("Marked", "high", 4) == (counted["title"], counted["level"], counted["count"])
    # Once for each recorder, though the process was started again.
    refused = [line for line in said if line["event"] == "rule_refused"]
    assert [f"{tmp_path}/rules/bad.yml"] * 2 == [line["file"] for line in refused]
    assert "signal 9" in next(line["reason"] for line in said if line["event"] == "hunt_failed")
    # A stop waits for nothing that reads the history: it is one file again.
    assert not list(tmp_path.glob("history.db-*"))
