"""Whatever strangers put into a command line, and users into options, is safe to show."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from typing import TYPE_CHECKING

import pytest

from execaudit.output.record import FIELDS
from tests.commands import execaudit, on_terminal
from tests.histories import make_event, make_history

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = {
    "escape": b"\x1b[31mred\x1b[0m",
    "title": b"\x1b]0;owned\x07",
    "clipboard": b"\x1b]52;c;Y3VybCBldmlsfHNo\x07",
    "overprint": b"rm -rf /\rls",
    "newline": b"ls\n2026-11-22 18:08:39.000       1       0 root       ok      /bin/true true",
    "backspace": b"evil\x08\x08\x08\x08good",
    "c1-csi": b"\xc2\x9b31m",
    "raw-csi": b"\x9b31m",
    "bidi": "\u202egnp.exe\u2066".encode(),
    "zero-width": "l\u200bs\ufeff".encode(),
    "line-separator": "a\u2028b".encode(),
    "invalid": b"\xff\xfe\x80\xc0\xaf",
    "delete": b"a\x7fb",
    "formula": b'=HYPERLINK("http://x","y")',
    "quotes": b"a\"b'c,d;e\tf",
    "every-byte": bytes(range(1, 256)),
}


def unsafe(shown: bytes) -> list[str]:
    """Returns what a terminal would do more than show, line ends excepted."""
    text = shown.decode("utf-8")  # invalid bytes are unsafe too: this raises
    return [
        char for char in text if char != "\n" and unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp", "Cs")
    ]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history in which every text of every exec is hostile."""
    events = [
        make_event(
            b"true", value, seconds=number, pid=number,
            comm=value[:15], filename=value, exe=value, cwd=value,
            user=value.decode("utf-8", "surrogateescape"), host=value.decode("utf-8", "replace"),
        )
        for number, value in enumerate(HOSTILE.values())
    ]  # fmt: skip
    return make_history(tmp_path_factory.mktemp("hostile") / "history.db", events)


@pytest.mark.parametrize("fmt", ["table", "jsonl", "csv"])
@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
def test_output_is_safe(fmt: str, hostile: Path, terminal: bool) -> None:  # noqa: FBT001  # pytest's
    """No control, invisible or reordering character gets out, and an exec stays on its line."""
    run = on_terminal if terminal else execaudit
    done = run("--db", hostile, "query", "--format", fmt, env={"NO_COLOR": "1"})
    header = 0 if fmt == "jsonl" else 1

    gaps = done.out.count(b'{"kind":"gap",')
    assert [] == unsafe(done.out)
    assert [] == unsafe(done.err)
    assert len(HOSTILE) + header == done.out.count(b"\n") - gaps
    assert (len(HOSTILE) if fmt == "jsonl" else 0) == gaps  # nobody records on any of these hosts
    counted = [b"%d execs" % len(HOSTILE)] * (fmt == "table")
    assert counted == [line for line in done.err.splitlines() if not line.startswith(b"gap: ")]


def test_json_lines_are_exact(hostile: Path) -> None:
    """Safe as they are, JSON lines carry the very characters."""
    rows = execaudit("--db", hostile, "query").rows()

    assert [value.decode("utf-8", "backslashreplace") for value in HOSTILE.values()] == [
        row["argv"][1] for row in rows
    ]


def test_raw_csv_is_what_json_lines_are(hostile: Path) -> None:
    """With --raw, csv.reader reads back exactly the texts of the JSON lines."""
    rows = execaudit("--db", hostile, "export", "--format", "jsonl").rows()
    text = execaudit("--db", hostile, "export", "--raw").out.decode()
    records = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    names = ("host", "comm", "filename", "exe", "cwd", "command")

    assert [[row[name] for name in names] for row in rows] == [
        [record[name] for name in names] for record in records
    ]


def test_csv_has_no_formula(hostile: Path) -> None:
    """Without --raw no cell begins as a formula does."""
    text = execaudit("--db", hostile, "export").out.decode()
    records = list(csv.reader(io.StringIO(text, newline=""), strict=True))

    assert {len(FIELDS)} == {len(record) for record in records}
    assert not [cell for record in records for cell in record if re.match(r"[=+\-@\t\r]", cell)]


@pytest.mark.parametrize(
    "arguments",
    [
        ["query", "--since"],
        ["query", "--until"],
        ["query", "--pid"],
        ["query", "--limit"],
        ["query", "--format"],
        ["query", "--args-regex", "["],
        ["query", "--user"],
        ["query"],
        ["export", "-o", "/nonexistent/", "--format"],
        ["record", "--duration"],
        ["record", "--max-argv"],
        ["record", "--ring-size"],
        ["record", "--probe"],
        ["record", "--json-log", "/nonexistent/x", "--"],
        ["--config"],
        ["--db", "/nonexistent", "query", "--host", "x"],
        ["doctor", "--format"],
        ["db"],
        [],
    ],
    ids=" ".join,
)
def test_errors_are_safe(arguments: list[str], history: Path) -> None:
    """A value that is refused is not repeated as it is: one safe line."""
    bad = b"\x1b]0;x\x07\n\xff\xe2\x80\xae"
    done = execaudit("--db", history, *arguments, bad)

    assert done.status in (1, 2, 127)
    assert done.failed_in_one_line()
    assert [] == unsafe(done.err)


def test_a_hostile_path_is_shown_safely(tmp_path: Path) -> None:
    """The database's own name is escaped too: when it is made, described and missed."""
    path = tmp_path / "a\x1b[31m\nb\u202e.db"
    made = execaudit("--db", path, "db", "upgrade")
    again = execaudit("--db", path, "db", "upgrade")
    info = execaudit("--db", path, "db", "info")
    as_json = execaudit("--db", path, "db", "info", "--format", "json")
    missed = execaudit("--db", f"{path}2", "query")

    assert [0, 0, 0, 0, 1] == [done.status for done in (made, again, info, as_json, missed)]
    assert [] == unsafe(b"".join(done.out + done.err for done in (made, again, info, as_json, missed)))
    assert [1, 1, 1] == [done.err.count(b"\n") for done in (made, again, missed)]
    assert str(path) == as_json.rows()[0]["path"]


def test_a_long_value_does_not_flood_the_terminal(history: Path) -> None:
    """An error repeats no more of a value than one can read."""
    done = execaudit("--db", history, "query", "--pid", "9" * 100_000)

    assert 2 == done.status
    assert done.failed_in_one_line()
    assert 2000 > len(done.err)
