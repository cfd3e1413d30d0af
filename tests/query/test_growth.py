"""What a question costs when the history grows and its answer does not: instructions of SQLite's machine."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from execaudit.cli import cli
from execaudit.database.trigram_bitmap import CHUNK_LINES
from execaudit.query import find
from execaudit.query.filter import Filter, UserMatch
from execaudit.store.writer import Store
from tests.histories import START, at, begin_run, make_event
from tests.query.test_plans import LARGE
from tests.watching import Counting, counted, tables_read_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from execaudit.event import ExecEvent

# Whole segments, so that the newest part begins with one.
_NEWEST, _OLD, _TENFOLD = 2000, 2000, 38_000
_SINCE_SECONDS = 10 * 86_400
_SINCE = f"--since=@{START + _SINCE_SECONDS}"


def part(seconds: float, count: int, *, texts: tuple[bytes, bytes], lines: int = 100) -> Iterator[ExecEvent]:
    """Yields a mix of execs, of so many different lines; of a few the last argument is one of the texts."""
    root = above = None
    for n in range(count):
        text = texts[0] if n % 400 == 7 else texts[1] if n == 77 else b"n%d" % (n % lines)
        event = make_event(
            b"cc", b"-o", text,
            seconds=seconds + n,
            pid=300 + n % 307,
            uid=33 if n % 20 == 3 else 1000,
            user=None if n % 20 == 3 else "alice",
            comm=b"curl" if n % 40 == 5 else b"c%d" % (n % 50),
            parent=above.key if above is not None and n % 3 == 0 else None,
        )  # fmt: skip
        if n % 500 == 250:
            root = event
        above = event if root is not None and n % 30 == 0 else root
        yield event


def make(path: Path, old: int, *, lines: int = 100) -> Path:
    """Stores so many execs, and what is newest: the same whatever came before it."""
    with Store(path) as store:
        begin_run(store)
        store.append(part(0, old, texts=(b"needle", b"rare-then"), lines=lines))
        store.append(part(_SINCE_SECONDS, _NEWEST, texts=(b"needle", b"rare-now")))
        store.end_run(at(_SINCE_SECONDS + _NEWEST))
        while store.index():
            pass
    return path


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two histories, of which the second is ten times as long."""
    folder = tmp_path_factory.mktemp("histories")
    return make(folder / "short.db", _OLD), make(folder / "long.db", _TENFOLD)


class Answer(NamedTuple):
    """What a command wrote, and what it cost."""

    text: str
    steps: int


def answer(path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> Answer:
    """Runs a command in this process over a connection that counts; it may read no large table whole."""
    opened: list[Counting] = []

    def connect(*given: Any, **more: Any) -> Counting:  # noqa: ANN401  # sqlite3's
        opened.append(original(*given, **{**more, "factory": Counting}))
        return opened[-1]

    original = sqlite3.connect
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sqlite3, "connect", connect)
        cli.main(["--config", os.devnull, "--db", str(path), *arguments], standalone_mode=False)
    (connection,) = opened
    for sql, steps in connection.asked.items():
        assert not tables_read_whole(sql, steps) & LARGE
    # A longer history has a larger file.
    return Answer(re.sub(r'"bytes(_a_day)?":[0-9]+', "", capsys.readouterr().out), connection.steps)


@pytest.fixture(scope="module")
def ancestor() -> str:
    """Returns the id of an exec that has descendants, of the newest."""
    newest = part(_SINCE_SECONDS, _NEWEST, texts=(b"", b""))
    return next(event.id for n, event in enumerate(newest) if n == 750)


_HEAD = re.compile(r'"seals":.*')

QUESTIONS = {
    "a name, of late": ["query", _SINCE, "--comm=curl"],
    "a pid, of late": ["query", _SINCE, "--pid=310"],
    "an exec": ["show", "ID"],
    "the newest": ["query", "--limit=100"],
    "the newest, newest first": ["query", "--limit=100", "--reverse"],
    "a text, of late": ["query", _SINCE, "--args=needle"],
    "a user's newest, of late": ["query", _SINCE, "--user=33", "--limit=50"],
    "descendants": ["query", "--under=ID"],
    "descendants of late": ["query", "--under=ID", _SINCE],
    "a family": ["tree", "--id=ID"],
    "all, of late": ["export", _SINCE],
    "all, of late, counted": ["stats", _SINCE, "--format=json"],
    "what went well, of late": ["query", _SINCE, "--ok", "--kind=exec"],
    "who ran it as whom, of late": ["query", _SINCE, "--euid=0", "--not-user=alice"],
    "failures, of late": ["query", _SINCE, "--errno=ENOENT", "--exit-code=1"],
    "odd programs, of late": ["query", _SINCE, "--deleted", "--privileged"],
    "new programs, of late": ["query", _SINCE, "--new"],
    "opposites, of late": [
        "query",
        _SINCE,
        "--not-comm=curl",
        "--not-args=n1",
        "--not-exe=x",
        "--not-cwd=/x",
        "--interpreter=x",
    ],
    "outside of places, of late": ["query", _SINCE, "--not-cgroup=x", "--not-container=abcd", "--limit=20"],
    "no descendants, of late": ["query", _SINCE, "--not-under=ID"],
    "around an exec": ["query", "--around=ID", "--within=30s"],
    "an exec by the beginning of its id": ["show", "BEGINNING"],
    "an exec by its pid": [
        "query",
        "--under=pid:550",
        f"--around=@{START + _SINCE_SECONDS + 250}",
        "--within=100s",
    ],
    "how many, of late": ["query", _SINCE, "--count", "--user=33"],
    "in another order, of late": ["query", _SINCE, "--sort=uid", "--limit=9", "--columns=pid,uid,command"],
    "an expression, of late": ["query", _SINCE, "--where=comm == 'curl' or not uid in (33, 1000)"],
    "an expression with a time": [
        "query",
        f"--where=time >= '@{START + _SINCE_SECONDS}' and argc == 3 and pid < 320",
    ],
    "ends, of late": ["query", _SINCE, "--where=ended == 'exited' or duration > 1s or argv == 'n7'"],
    "a parent, of late": ["query", _SINCE, "--where=parent_id == 'ID'"],
    "a name's newest": ["query", "--comm=curl", "--limit=20"],
    "a name's newest, newest first": ["query", "--comm=curl", "--limit=20", "--reverse"],
    "a user's newest": ["query", "--user=33", "--limit=20"],
    "a pid's newest": ["query", "--pid=310", "--limit=5"],
}


@pytest.mark.parametrize("question", list(QUESTIONS))
def test_a_question_costs_what_its_answer_costs(
    paths: tuple[Path, Path], ancestor: str, question: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten times the history, the same answer: at most a third more work."""
    arguments = [
        word.replace("ID", ancestor).replace("BEGINNING", ancestor[:20]) for word in QUESTIONS[question]
    ]
    short, long = (answer(path, arguments, capsys) for path in paths)

    # Two histories have two heads.
    assert _HEAD.sub("", short.text) == _HEAD.sub("", long.text) != ""
    assert 0 < long.steps <= 1.3 * short.steps


def test_counting_costs_what_is_counted(paths: tuple[Path, Path]) -> None:
    """How many execs a user had of late does not depend on what was before."""
    wanted = Filter(since_ns=at(_SINCE_SECONDS), users=(UserMatch(None, 33),))
    costs = []
    for path in paths:
        with contextlib.closing(counted(path)) as connection:
            assert find.count(connection, wanted) == _NEWEST / 20
            costs.append(connection.steps)

    assert 0 < costs[1] <= 1.3 * costs[0]


def test_a_rare_text_costs_a_fraction_of_what_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of all time, the index of command lines leaves less than a tenth of a step for each older exec."""
    monkeypatch.setattr(find, "_NEAR", 1000)
    costs = []
    for chunks in (1, 6):
        # Some lines more, so that both have few in a chunk that is not complete and thus not in the index.
        old = chunks * CHUNK_LINES + 500
        made = make(tmp_path / f"{chunks}.db", old, lines=old)
        text, steps = answer(made, ["query", "--args=rare-now"], capsys)
        assert (1, 1) == (text.count('{"id":'), text.count('{"kind":"gap",'))
        costs.append(steps)

    assert costs[1] - costs[0] < 0.1 * 5 * CHUNK_LINES
