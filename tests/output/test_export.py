"""Large answers as text: rows become the CSV that their events become, by one process or by several."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.enums import Kind
from execaudit.errors import DamagedStoreError
from execaudit.output import csv_lines, csv_pages, export, json_lines, pages
from execaudit.output.format import Format
from execaudit.query import find, lookups
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.query.local_history import LocalHistory
from execaudit.store import inserts
from execaudit.store.writer import Store
from tests.events import Batch, events, lineages
from tests.examples import examples
from tests.histories import at, begin_run, make_event, make_exit, make_history

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from execaudit.event import ExecEvent, ExitEvent

SPECIAL = st.text("=+-@'\"\t\r\n,;\x1b\x7f\u202e\uff1d aé/", max_size=4).map(str.encode) | st.binary(
    max_size=3
)
TEXTS = SPECIAL.map(lambda raw: raw.replace(b"\0", b"")) | st.sampled_from(
    (b"/usr/bin/ls", b"-l", b"a=b", b"a")
)
HOSTS = ("web1", "=db\n")
histories = lineages({host: events(host=host, texts=TEXTS, arguments=TEXTS) for host in HOSTS})
MANY = 300


def text_of(connection: sqlite3.Connection, wanted: Filter, fmt: Format, *, raw: bool = False) -> str:
    """Returns what an export writes."""
    blocks = list(
        export.blocks(LocalHistory(connection), wanted, export.maker(fmt, raw=raw, encoding="utf-8"))
    )
    text = b"".join(block.text for block in blocks).decode()

    assert sum(block.items for block in blocks) == find.count(connection, wanted)
    return text


def slowly(connection: sqlite3.Connection, wanted: Filter, fmt: Format, *, raw: bool = False) -> str:
    """Returns the same, from events."""
    found = (each.event for each in find.find(connection, wanted))
    text = "".join(csv_lines.csv_text(found, raw=raw) if fmt is Format.CSV else json_lines.jsonl(found))
    return text.encode("utf-8", "backslashreplace").decode()


@examples(15)
@given(histories, st.booleans(), st.booleans())
def test_rows_become_what_their_events_become(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[Batch],
    raw: bool,  # noqa: FBT001  # drawn
    forgetful: bool,  # noqa: FBT001  # drawn
) -> None:
    """Whatever they hold, however they ended, and with memory for nothing as for everything."""
    path = tmp_path_factory.mktemp("history") / "history.db"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(inserts, "BATCH_EVENTS", 4)
        patched.setattr(find, "PAGE_ROWS", 3)
        if forgetful:
            for module, name in (
                (csv_pages, "_MOST_SHARED"), (csv_pages, "_MOST_IDS"), (csv_pages, "_LINES_BYTES"),
                (lookups, "_MOST_KEYS"), (lookups, "_MOST_REMEMBERED"), (lookups, "_LINE_BYTES"),
            ):  # fmt: skip
                patched.setattr(module, name, 0)
        with Store(path) as opened:
            for batch in batches:
                begin_run(opened, batch.host)
                opened.append(batch.events, (), batch.exits)
        with open_history(path) as connection:
            for wanted in (Filter(), Filter(reverse=True), Filter(failed=True), Filter(limit=5)):
                assert slowly(connection, wanted, Format.CSV, raw=raw) == text_of(
                    connection, wanted, Format.CSV, raw=raw
                )


def family() -> Iterator[tuple[ExecEvent, list[ExitEvent]]]:
    """Yields execs of a shell that starts programs, and with some of them the end of the one before."""
    started = shell = make_event(b"sh", pid=10, comm=b"sh")
    yield shell, []
    for number in range(1, MANY):
        end = [make_exit(started.key, number, 1 << 8)] if number % 3 == 0 else []
        started = make_event(
            b"tool", b"%d" % number, seconds=number, pid=100 + number, parent=shell.key, comm=b"c%d" % (number % 7),
            kind=Kind.FAILED if number % 10 == 5 else Kind.EXEC, errno=2 if number % 10 == 5 else None,
        )  # fmt: skip
        yield started, end


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some hundred execs."""
    path = tmp_path_factory.mktemp("history") / "history.db"
    with Store(path) as opened:
        begin_run(opened)
        for event, exits in family():
            opened.append([event], (), exits)
    return path


WANTED = [
    Filter(), Filter(comms=(b"c3",)), Filter(limit=77), Filter(limit=5, comms=(b"c3",)), Filter(limit=0),
    Filter(since_ns=at(100), until_ns=at(200)), Filter(since_ns=at(500)), Filter(failed=True),
    Filter(args=(b"7",)), Filter(under=(1,)), Filter(reverse=True, limit=50),
]  # fmt: skip


@pytest.mark.parametrize("fmt", [Format.CSV, Format.JSONL])
@pytest.mark.parametrize("wanted", WANTED, ids=str)
def test_several_processes_write_what_one_does(
    wanted: Filter, fmt: Format, history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every filter, each format: the same bytes."""
    monkeypatch.setattr(export, "_LARGE", 1)
    monkeypatch.setattr(export, "_PART", 7)
    monkeypatch.setattr(export, "_SPARSE_PART", 50)
    with open_history(history) as connection:
        assert slowly(connection, wanted, fmt) == text_of(connection, wanted, fmt)


def test_two_processes_share_a_large_answer(history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And none of a small one."""
    pids = set()
    monkeypatch.setattr(export, "_LARGE", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})
    monkeypatch.setattr(export, "_PART", 7)
    monkeypatch.setattr(pages.Pages, "encoded", lambda *_args: b"%d\n" % os.getpid())
    with open_history(history) as connection:
        blocks = export.blocks(
            LocalHistory(connection), Filter(), export.maker(Format.CSV, raw=False, encoding="utf-8")
        )
        pids = {block.text for block in blocks if block.items}
        monkeypatch.setattr(export, "_LARGE", MANY)
        alone = export.blocks(
            LocalHistory(connection), Filter(), export.maker(Format.CSV, raw=False, encoding="utf-8")
        )

        assert {b"%d\n" % os.getpid()} == {block.text for block in alone if block.items}
    assert len(pids) == 2  # as said
    assert b"%d\n" % os.getpid() not in pids


def test_what_comes_meanwhile_is_written_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by one process: after all that was there."""
    path = tmp_path / "history.db"
    monkeypatch.setattr(export, "_LARGE", 1)
    monkeypatch.setattr(export, "_PART", 2)
    with Store(path) as opened:
        begin_run(opened)
        opened.append([make_event(b"%d" % number, seconds=number) for number in range(9)])
        with open_history(path) as connection:
            blocks = export.blocks(
                LocalHistory(connection), Filter(), export.maker(Format.CSV, raw=False, encoding="utf-8")
            )
            header, first = next(blocks), next(blocks)
            opened.append([make_event(b"late", seconds=10)])
            rest = b"".join(block.text for block in blocks)

    assert (0, 2) == (header.items, first.items)
    assert b",late," in rest
    assert rest.count(b"\n") == 8  # seven, and the late one


@pytest.mark.parametrize("damage", ["argv_id = 999", "clock_id = 999", "kind = 7"])
@pytest.mark.parametrize("large", [1, 1000])
@pytest.mark.parametrize("fmt", [Format.CSV, Format.JSONL])
def test_an_exec_that_makes_no_sense_is_named(
    fmt: Format, large: int, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one process and by several, in each format: one line that says which."""
    path = make_history(tmp_path / "history.db", [make_event(b"%d" % number) for number in range(20)])
    monkeypatch.setattr(export, "_LARGE", large)
    monkeypatch.setattr(export, "_PART", 2)
    with contextlib.closing(sqlite3.connect(path)) as damaged:
        damaged.execute(f"UPDATE exec SET {damage} WHERE id = 13")
        damaged.commit()
    with open_history(path) as connection, pytest.raises(DamagedStoreError, match="exec number 13"):
        list(
            export.blocks(LocalHistory(connection), Filter(), export.maker(fmt, raw=False, encoding="utf-8"))
        )
