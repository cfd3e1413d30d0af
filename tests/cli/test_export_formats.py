"""`export --format`: the format follows the file's ending, and gaps travel with each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from pyarrow import parquet

from execaudit.output.format import Format, format_of
from tests.cli.conftest import CONTAINER
from tests.commands import execaudit, on_terminal
from tests.histories import make_event, make_history

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "fmt"),
    [
        ("x.csv", Format.CSV), ("x.jsonl", Format.JSONL), ("x.ndjson", Format.JSONL), ("x.json", Format.JSONL),
        ("X.PARQUET", Format.PARQUET), ("x.ecs.json", Format.ECS), ("x.ecs.ndjson", Format.ECS), ("x.ocsf", Format.OCSF),
        ("x.ocsf.jsonl", Format.OCSF), ("x.trace", Format.TRACE), ("x.trace.json", Format.TRACE), ("x", None), ("csv", None),
        ("x.gz", None),
    ],
)  # fmt: skip
def test_endings(name: str, fmt: Format | None) -> None:
    """As people name such files."""
    assert fmt is format_of(name)


def exported(history: Path, folder: Path, name: str, *arguments: str) -> bytes:
    """Returns what an export to a file of that name wrote."""
    done = execaudit("--db", history, "export", "-o", folder / name, *arguments)
    assert 0 == done.status
    assert done.err.splitlines()[-1].startswith(b"wrote 8 execs to ")
    return (folder / name).read_bytes()


def test_json_lines_by_their_ending(history: Path, tmp_path: Path) -> None:
    """And --format has the last word."""
    lines = exported(history, tmp_path, "x.json")

    assert execaudit("--db", history, "export", "--format", "jsonl").out == lines
    assert exported(history, tmp_path, "y.json", "--format", "csv").startswith(b"id,parent_id,")


def test_ecs(history: Path, tmp_path: Path) -> None:
    """A document for each exec, and for each gap, and for the seal."""
    documents = [json.loads(line) for line in exported(history, tmp_path, "x.ecs.json").splitlines()]
    kinds = [document["event"]["kind"] for document in documents]

    assert ["state", *["event"] * 7] == kinds[:8]
    assert {"pipeline_error"} == set(kinds[8:-1])
    assert "sealed" == documents[-1]["event"]["action"]
    assert [7, None] == [document["execaudit"]["gap"].get("count") for document in documents[8:10]]
    assert CONTAINER == documents[4]["container"]["id"]


def test_ocsf(history: Path, tmp_path: Path) -> None:
    """Launches, the end of curl, a failure, what ran already, gaps, and the seal."""
    events = [json.loads(line) for line in exported(history, tmp_path, "x.ocsf").splitlines()]
    names = [event["activity_name"] for event in events]

    assert ["Running", "Launch", "Launch", "Terminate", *["Launch"] * 5] == names[:9]
    assert {"Gap"} == set(names[9:-1])
    assert "Sealed" == names[-1]
    assert [2] == [event["status_id"] for event in events if event.get("status_code") == "ENOENT"]


def test_trace(history: Path, tmp_path: Path) -> None:
    """One object of JSON, with a span or a moment for each exec and each gap."""
    events = json.loads(exported(history, tmp_path, "x.trace"))["traceEvents"]
    shown = [event for event in events if event["ph"] != "M"]

    assert 8 == sum(event["cat"] != "gap" for event in shown)
    assert {"gap"} == {event["cat"] for event in shown[8:]}
    assert 0 <= min(event["ts"] for event in shown)
    assert [7_000_000.0] == [event["dur"] for event in shown if event["name"] == "curl"]


def test_parquet(history: Path, tmp_path: Path) -> None:
    """The records, and a file for the gaps beside it; --columns chooses."""
    exported(history, tmp_path, "x.parquet")
    exported(history, tmp_path, "y.parquet", "--columns", "pid,argv")
    rows = execaudit("--db", history, "export", "--format", "jsonl").rows()
    table, gaps = (parquet.read_table(tmp_path / name) for name in ("x.parquet", "x.gaps.parquet"))

    assert [row["argv"] for row in rows] == table.column("argv").to_pylist()
    assert [row["exe"] for row in rows] == table.column("exe").to_pylist()
    assert 7 in gaps.column("count").to_pylist()
    assert ["pid", "argv"] == parquet.read_table(tmp_path / "y.parquet").column_names


@pytest.mark.parametrize("fmt", ["parquet", "ecs", "ocsf", "trace"])
def test_standard_output_gets_the_same(fmt: str, history: Path, tmp_path: Path) -> None:
    """A pipe is as good as a file."""
    piped = execaudit("--db", history, "export", "--format", fmt)

    assert 0 == piped.status
    assert exported(history, tmp_path, "x", "--format", fmt) == piped.out


def test_parquet_is_not_for_a_terminal(history: Path) -> None:
    """One line, and nothing that a terminal would take for a command."""
    shown = on_terminal("--db", history, "export", "--format", "parquet")

    assert 1 == shown.status
    assert b"Parquet is no text for a terminal: name a file with -o" in shown.err
    assert b"" == shown.out


def test_chosen_columns(history: Path, tmp_path: Path) -> None:
    """In CSV and JSON lines as `query --columns` writes them."""
    for fmt in ("csv", "jsonl"):
        options = ("--format", fmt, "--columns", "pid,user,argv")
        asked = execaudit("--db", history, "query", *options)

        assert exported(history, tmp_path, f"x.{fmt}", *options) == asked.out


def test_a_byte_order_mark(history: Path, tmp_path: Path) -> None:
    """Before the header, also in the file of gaps; without --bom there is none."""
    plain = exported(history, tmp_path, "plain.csv")
    marked = exported(history, tmp_path, "x.csv", "--bom")

    assert b"\xef\xbb\xbf" + plain == marked
    assert (tmp_path / "x.gaps.csv").read_bytes().startswith(b"\xef\xbb\xbfkind,from,")


def test_cells_that_spreadsheets_cut_are_said(tmp_path: Path) -> None:
    """With their number; the file has them whole."""
    path = make_history(
        tmp_path / "history.db",
        [make_event(b"x" * 32_767), make_event(b'"' * 32_768), make_event(b"y" * 2_000_000)],
    )
    done = execaudit("--db", path, "export", "-o", tmp_path / "x.csv")

    # The command of the first one has just as many characters as are kept.
    assert b"5 cells have more than the 32767 characters that spreadsheets keep" in done.err
    assert b"x" * 32_767 in (tmp_path / "x.csv").read_bytes()
    assert execaudit("--db", path, "export", "--format", "jsonl").err == b""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--format ecs --columns pid", "--columns is for csv, jsonl and parquet: ecs has fields of its own"),
        ("-o x.trace --columns pid", "--columns is for csv, jsonl and parquet: trace has fields of its own"),
        ("--format jsonl --bom", "--bom is for csv"),
    ],
)
def test_options_that_do_not_go_together(arguments: str, said: str, history: Path, tmp_path: Path) -> None:
    """Wrong usage, and no file."""
    done = execaudit("--db", history, "export", *arguments.split(), folder=tmp_path)

    assert 2 == done.status
    assert said.encode() in done.err
    assert not [*tmp_path.iterdir()]
