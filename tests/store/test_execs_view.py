"""The view `execs`, read with SQLite alone, against the records of the same history."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import example, given
from hypothesis import strategies as st

from execaudit.database import execs_view
from execaudit.escaping import is_visible
from execaudit.fields import FIELDS
from execaudit.output.record import to_record
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.store.writer import Store
from tests.events import Batch, events, lineages, texts
from tests.examples import examples
from tests.histories import HOST, begin_run, make_event, make_history

if TYPE_CHECKING:
    from execaudit.event import ExecEvent

VERSIONS = Path(__file__).parents[2] / "migrations" / "versions"
NAMES = [field.name for field in FIELDS if field.name not in execs_view.ABSENT]
# What the shell, JSON or UTF-8 treats specially, and bytes that are none.
ALPHABET = [
    b"a",
    b"=",
    b"'",
    b'"',
    b"\\",
    b" ",
    b"\n",
    b"\x1b",
    b"u0000",
    b"\xc3\xa9",
    b"\xff",
    b"\xe2\x80\xae",
    b"\xed\xa0\x80",
]
words = texts | st.lists(st.sampled_from(ALPHABET), max_size=5).map(b"".join)
ID = b"7d1f2ab30c4e5f60718293a4b5c6d7e8f9012a3b4c5d6e7f8091a2b3c4d5e6f7"
CGROUPS = [
    b"/", b"/docker/" + ID, b"/system.slice/docker-" + ID + b".scope", b"/a.slice:cri-containerd:" + ID, b"/x-" + ID,
    b"/docker/" + ID[:-1], b"/machine.slice/machine-web\\x2d1.scope/payload", b"/machine-web.scope/supervisor",
    b"/machine-qemu\\x2d1\\x2dvm.scope", b"/system.slice/systemd-nspawn@web.service/payload", b"/lxc/web/init.scope",
    b"/lxc.payload.web", b"/lxc.monitor.web", b"/lxc/lxc-net.service", b"/docker-" + ID + b".scope/lxc/in",
]  # fmt: skip
HISTORIES = lineages({HOST: events(texts=words, arguments=words, cgroups=st.sampled_from(CGROUPS) | texts)})


def viewed(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of the view, read with Python's SQLite and nothing of ours."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM execs")]


def recorded(path: Path) -> list[tuple[ExecEvent, dict[str, object]]]:
    """Returns each exec and its record."""
    with open_history(path) as connection:
        return [(found.event, to_record(found.event)) for found in find.find(connection, Filter())]


def check(path: Path) -> None:
    """Compares the view with the records: all columns, but how a few characters look in `command`."""
    rows = viewed(path)
    records = recorded(path)
    assert len(rows) == len(records)
    for row, (_, record) in zip(rows, records, strict=True):
        assert NAMES == list(row)
        shown, command = row.pop("command"), record.pop("command")
        for name in ("argv", "argv_missing", "redacted"):
            row[name] = None if row[name] is None else json.loads(row[name])
        record.pop("argv_base64", None)
        assert record == row
        assert is_visible(shown)
        if str(command).isascii():
            # Escaped in both; what the view escapes beyond that has a byte above 127.
            assert shown == command or "\\x" in shown


@examples(40)
@given(HISTORIES)
@example(
    [Batch(HOST, [make_event(b"ls"), make_event(), make_event(b""), make_event(b"A=1", b"a b", b"it's")], [])]
)
@example([Batch(HOST, [make_event(b"x", cgroup=cgroup) for cgroup in CGROUPS], [])])
def test_the_view_has_what_records_have(batches: list[Batch]) -> None:
    """Of any history: what was lost, failed, replaced or ended too."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.db"
        with Store(path) as store:
            for batch in batches:
                begin_run(store, batch.host)
                store.append(batch.events, (), batch.exits)
        check(path)


def test_a_command_line_looks_as_in_the_record(tmp_path: Path) -> None:
    """ASCII, letters of usual scripts, controls, and bytes that are not UTF-8."""
    lines = [
        (b"a",),
        (b"A=b",),
        (b"", b"$x", b"it's"),
        (b"\x1b[2J\n\\'",),
        ("é ü Я 中 한".encode(),),
        (b"caf\xe9", b"\xe2\x80\xae"),
    ]
    path = make_history(tmp_path / "x.db", [make_event(*line, seconds=n) for n, line in enumerate(lines)])

    assert [record["command"] for _, record in recorded(path)] == [row["command"] for row in viewed(path)]


def test_the_newest_migration_makes_it() -> None:
    """What is frozen there is what the table of fields says now."""
    newest = max(VERSIONS.glob("*_execs.sql"))

    assert execs_view.statement() == newest.read_text().rstrip("\n"), "make it anew, in a new migration"


def test_the_command_line_tool_reads_it(tmp_path: Path) -> None:
    """Debian's sqlite3, without anything of ours."""
    path = make_history(tmp_path / "x.db", [make_event(b"ls", b"-l", tty=b"pts/3")])
    question = "SELECT user, tty, command FROM execs WHERE comm = 'true'"
    done = subprocess.run(
        ["sqlite3", "-readonly", path, question], capture_output=True, text=True, check=True
    )

    assert "root|pts/3|ls -l\n" == done.stdout
