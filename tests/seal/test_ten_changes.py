"""A large history with ten changes of ten kinds: each is found, and placed among few rows."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from bench import history
from tests.seal.histories import KEY, changing, make_key
from tests.seal.test_verify_command import verify

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

# `make faults` takes a million.
_EXECS = int(os.environ.get("EXECAUDIT_TEST_SEALED_EXECS", "100000"))
# A segment has 4096 rows, and those of its last transaction; an entry of the index of lines 4096 execs.
_MOST_ROWS = 4096 + 500


class Change(NamedTuple):
    """A change, and what `verify` is to say of it."""

    kind: str
    table: str
    sql: str
    row: int | None
    """The number that is in the range that is told. None: the table as a whole."""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a history as a busy host has in a month, sealed with a key."""
    path = tmp_path_factory.mktemp("large") / "h.db"
    make_key(path)
    history.write(path, _EXECS)
    return path


def _alone(connection: sqlite3.Connection, column: str, after: int) -> tuple[int, int]:
    """Returns an exec after another one, and what only it refers to."""
    found: tuple[int, int] = connection.execute(
        f"SELECT id, {column} FROM exec WHERE id > ?1 AND"
        f" (SELECT count(*) FROM exec AS other WHERE other.{column} = exec.{column}) = 1 LIMIT 1",
        (after,),
    ).fetchone()
    return found


def _changes(connection: sqlite3.Connection) -> list[Change]:
    """Returns ten changes, each of execs in another tenth of the history."""
    tenth = _EXECS // 10
    chance = random.Random(17)
    at = [chance.randrange(n * tenth + tenth // 4, n * tenth + tenth // 2) for n in range(10)]
    line_of, line = _alone(connection, "argv_id", at[3])
    launch_of, launch = _alone(connection, "launch_id", at[4])
    (ends,) = connection.execute("SELECT max(id) FROM exit").fetchone()
    (segment,) = connection.execute("SELECT min(id) FROM seal WHERE end_exec > ?", (at[7],)).fetchone()
    (index,) = connection.execute("SELECT max(id_lo) FROM seg WHERE id_lo <= ?", (at[8],)).fetchone()
    (chunk,) = connection.execute("SELECT max(id) FROM argv_used").fetchone()
    return [
        Change("changed", "exec", f"UPDATE exec SET ppid = ifnull(ppid, 0) + 1 WHERE id = {at[1]}", at[1]),
        Change("missing", "exec", f"DELETE FROM exec WHERE id = {at[2]}", at[2]),
        Change("changed", "exec", f"UPDATE argv SET v = CAST('ls' || x'00' AS BLOB) WHERE id = {line}", line_of),
        Change("changed", "exec", f"UPDATE launch SET uid = uid + 1 WHERE id = {launch}", launch_of),
        Change("changed", "exit", f"UPDATE exit SET status = 9 WHERE id = {ends // 2}", ends // 2),
        Change("missing", "exit", f"DELETE FROM exit WHERE id = {ends // 4}", ends // 4),
        Change("changed", "seal", f"UPDATE seal SET hash = zeroblob(32) WHERE id = {segment}", segment),
        Change("changed", "seg", f"UPDATE seg SET ts_max = ts_min - 1 WHERE id_lo = {index}", at[8]),
        Change("missing", "argv_used", f"DELETE FROM argv_used WHERE id = {chunk}", chunk),
        Change("added", "gap", "INSERT INTO gap VALUES (7, 1, 1, 2, 'ring_full', 5, 0, NULL)", 7),
    ]  # fmt: skip


def _fits(problem: dict[str, Any], change: Change) -> bool:
    return (problem["kind"], problem["table"]) == (change.kind, change.table) and (
        problem["first"] <= change.row <= problem["last"]
    )


def test_ten_changes_of_ten_kinds_are_found(path: Path, tmp_path: Path) -> None:
    """Each in its table, among the rows of one seal or of few; and nothing else is said to be wrong."""
    (tmp_path / "key").write_text(KEY.to_text())
    key = f"--key=@{tmp_path / 'key'}"
    assert (found := verify(path, key))["problems"] == []
    assert found["execs"] == _EXECS
    with changing(path) as connection:
        changes = _changes(connection)
        for change in changes:
            assert connection.execute(change.sql).rowcount == 1, change
    problems = verify(path, key, status=4)["problems"]

    assert [] == [change for change in changes if not any(_fits(each, change) for each in problems)]
    assert [] == [each for each in problems if not any(_fits(each, change) for change in changes)]
    assert [] == [each for each in problems if each["last"] - each["first"] > _MOST_ROWS]
