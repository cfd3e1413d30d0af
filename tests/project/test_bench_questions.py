"""The questions that `make bench` asks are questions that there are."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from typing import TYPE_CHECKING

import pytest

from bench import history, questions
from bench.questions import ask
from execaudit.cli import execute
from execaudit.query import find
from execaudit.query.connection import open_history

if TYPE_CHECKING:
    from pathlib import Path

    from bench.history import Known

EXECS = 2000
QUESTIONS = questions.questions(history.Known(0, 10**18, 1, "", "", 0))
NUMBERS = range(len(QUESTIONS))


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Known]:
    """Makes a small history for all tests, which only read it."""
    path = tmp_path_factory.mktemp("bench") / "history.db"
    known, _ = history.write(path, EXECS)
    return path, known


@pytest.mark.parametrize("number", NUMBERS)
def test_each_question_is_understood(
    number: int,
    asked: tuple[Path, Known],
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    """By the command as it is; one that fails would be fast."""
    path, known = asked
    question = questions.questions(known)[number]
    for name, value in (question.environment or {}).items():
        monkeypatch.setenv(name, value)

    try:
        status: object = execute(["--db", str(path), *question.words])
    except SystemExit as exc:  # click's, when it has completed a word
        status = exc.code
    assert 0 == status
    printed = capfdbinary.readouterr().out
    lines = printed.count(b"\n") - printed.count(b'{"kind":"gap",')
    if question.environment:
        assert b"--since" in printed
    elif question.words[0] == "show":
        assert known.exec_id.encode() in printed
    elif "--under" in question.words:
        assert min(known.family, 100) <= lines <= known.family
    elif question.words[0] == "export" and question.words[1] == "--limit":
        assert EXECS <= lines
    elif question.words == ["query", "--args", history.RARE.decode()]:
        assert 11 == lines


@pytest.mark.parametrize("number", [number for number in NUMBERS if QUESTIONS[number].wanted is not None])
def test_the_floor_runs_without_execaudit(number: int, asked: tuple[Path, Known]) -> None:
    """What was traced is SQL that SQLite alone knows, with its values, and reads the answer."""
    path, known = asked
    wanted = questions.questions(known)[number].wanted
    assert wanted is not None
    sql, touched = questions._read(path, wanted)

    assert touched > 0
    if ":p0" in sql:
        pytest.skip("Python 3.10 does not say the values: the floor is left out then")
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        read = {row[0] for statement in sql.split(";\n") for row in connection.execute(statement)}
    with open_history(path) as history_connection:
        assert {found.number for found in find.find(history_connection, wanted)} <= read


def test_what_fails_ends_the_benchmark_and_says_why(tmp_path: Path) -> None:
    """An answer that is none would be the fastest of all."""
    with pytest.raises(SystemExit, match=r"ended with 1: .*no-such-file"):
        ask(["cat", str(tmp_path / "no-such-file")])


def test_what_is_found_is_counted() -> None:
    """Lines, or what was given as a mark, of the last run alone."""
    words = ["printf", "type=SYSCALL a\\ntype=CWD a\\n"]

    assert 2 == ask(words, rounds=3).found
    assert 1 == ask(words, mark=b"type=SYSCALL").found


def test_what_is_given_is_read_in_each_round() -> None:
    """The SQL of a floor is longer than an argument may be."""
    assert 200_000 == ask(["cat"], rounds=2, given="x\n" * 200_000).found


def test_memory_is_the_programs_own() -> None:
    """Not that of who starts it, which getrusage counts too."""
    held = b"x" * 100_000_000
    program = "import time; time.sleep(0.3)"
    resident = ask([sys.executable, "-S", "-c", program]).resident

    assert 1_000_000 < resident < 50_000_000 < len(held)
