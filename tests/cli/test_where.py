"""`--where` on the command line: what it finds, how it goes with other filters, and how a mistake ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.commands import execaudit
from tests.families import make_family
from tests.histories import START

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("expression", "pids"),
    [
        ('comm == "curl"', [100]),
        ('user == "alice" and kind != "failed"', [100]),
        ('not (user == "alice" or pid < 2)', [102, 103, 104, 200]),
        ("exit_code == 1", [100]),
        ("exit_code == null", [1, 0, 101, 102, 103, 104, 200]),
        ('exe endswith " (deleted)"', [104]),
        ('argv == "*"', [103]),
        ('errno == "ENOENT"', [101]),
        ("truncated != null", [102]),
        ('container_id startswith "9ec3" or container_id == "web"', [102, 103]),
        ('host == "db1"', [200]),
        ("duration >= 7s", [100]),
        ('command contains "http://x/a b"', [100]),
        (r'command matches "^curl .*\bx/"', [100]),
        (f'time >= "@{START + 6}"', [104, 200]),
    ],
)
def test_what_is_said_is_found(history: Path, expression: str, pids: list[int]) -> None:
    """Fields of every kind; a comparison with null is false, and `not` its opposite."""
    done = execaudit("--db", history, "query", "--where", expression, "--format=jsonl")

    assert (0, pids) == (done.status, done.pids())


def test_it_combines_as_other_filters_do(history: Path) -> None:
    """With others by AND, with another --where by OR."""
    expressions = ["--where", "pid == 100", "--where=pid == 101"]

    assert execaudit("--db", history, "query", *expressions).pids() == [100, 101]
    assert execaudit("--db", history, "query", *expressions, "--failed").pids() == [101]
    assert execaudit("--db", history, "query", *expressions, "--limit=1").pids() == [101]


def test_every_command_with_filters_takes_it(tmp_path: Path) -> None:
    """query, export, tree and stats agree."""
    path = make_family(tmp_path / "history.db").path
    expression = '--where=user == "alice" and comm != "ls"'
    queried = execaudit("--db", path, "query", expression)
    exported = execaudit("--db", path, "export", expression, "--format=jsonl")
    counted = execaudit("--db", path, "stats", expression, "--format=json")
    drawn = execaudit("--db", path, "tree", expression, "--format=jsonl")

    assert queried.pids() == [900, 910, 911, 912, 911, 911, 913]
    assert queried.pids() == exported.pids()
    assert len(queried.pids()) == json.loads(counted.out)["execs"]
    assert sorted(queried.pids()) == sorted(row["pid"] for row in drawn.rows() if row["matched"])


def test_a_time_in_it_is_the_range(history: Path) -> None:
    """Gaps outside of the time that it asks for are not told, as with --since."""
    done = execaudit("--db", history, "query", "--where", f'time >= "@{START + 5}" and pid != 1')

    assert [104, 200] == done.pids()[1:]
    assert [None] == [gap["count"] for gap in done.gaps() if gap["reason"] == "ring_full"]


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("usr == 1", "column 1: the record has no usr: did you mean user?"),
        ("(" * 9000, "column 17: this is too deep: write 16 of these in each other at most"),
        ("", "it is empty: write, for example, 'comm == \"curl\" and exit_code != 0'"),
        ("comm == 1; DROP TABLE exec", "column 10: ; is not understood"),
    ],
    ids=["a name", "depth", "nothing", "SQL"],
)
def test_a_mistake_is_wrong_usage(history: Path, expression: str, said: str) -> None:
    """It ends before the history is opened, without a traceback."""
    done = execaudit("--db", history, "query", "--where", expression)

    assert done.status == 2
    assert f"Invalid value for '--where': {said}" in done.err.decode()
    assert b"Traceback" not in done.err


def test_texts_are_values(history: Path) -> None:
    """What SQL would run is a text, and a byte that is not UTF-8 is one."""
    found = execaudit("--db", history, "query", "--where", """comm == "' OR 1=1 --" """)
    raw = execaudit("--db", history, "query", b"--where=comm == 'cu\xff' or comm == 'cc'")

    assert ([], 0) == (found.pids(), found.status)
    assert [102] == raw.pids()
