"""tools/verify_history.py, written from docs/seals.md alone, agrees with the project's own verifier."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.seal import test_changes, vectors
from tests.seal.histories import KEY, make_key, verified

if TYPE_CHECKING:
    from collections.abc import Iterable

_TOOL = Path(__file__).parents[2] / "tools/verify_history.py"
_MOST_LINES = 200
# What it leaves out, because no hash has it.
_LEFT_OUT = {"seg", "meta", "argv_used", "long_argv"}
_LEFT_OUT_COLUMNS = {("exec", "uid"), ("exec", "comm_id")}


def _tool() -> Any:  # noqa: ANN401  # a module
    spec = importlib.util.spec_from_file_location("verify_history", _TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tool = _tool()
_GIVEN = json.loads(vectors.PATH.read_text())


def _value(value: Any) -> Any:  # noqa: ANN401  # of JSON
    return bytes.fromhex(value["bytes"]) if isinstance(value, dict) else value


def _row(row: Iterable[object]) -> list[Any]:
    return [_value(value) for value in row]


def test_the_vectors_are_what_the_project_makes() -> None:
    """Whoever changes what is hashed breaks the proof of every history that there is."""
    assert json.loads(json.dumps(vectors.make())) == _GIVEN


def test_the_independent_verifier_makes_the_same_keys_and_hashes() -> None:
    """Of keys, rows, execs and roots."""
    chain, root = tool.parse_key(_GIVEN["key"]["text"])
    assert (chain.hex(), root.hex()) == (_GIVEN["key"]["chain"], _GIVEN["key"]["root"])
    for epoch, key in _GIVEN["epochs"].items():
        assert key == tool.key_of(root, int(epoch)).hex()
    for each in _GIVEN["rows"]:
        raw = tool.values(_row(each["row"]))
        assert (each["bytes"], each["hash"]) == (raw.hex(), tool.hashed(b"row", raw).hex())
    for each in _GIVEN["execs"]:
        cut = None if each["cut"] is None else _row(each["cut"])
        line = tool.line_of(bytes.fromhex(each["argv"]), cut)
        assert each["line"] == line.hex()
        launch, origin = _row(each["launch"]), _row(each["origin"])
        assert each["hash"] == tool.exec_hash(each["numbers"], launch, origin, line).hex()
    for each in _GIVEN["roots"]:
        leaves = [bytes([at]) * 32 for at in range(each["leaves"])]
        assert each["root"] == tool.root(len(leaves), leaves, {}).hex()


def test_the_independent_verifier_reads_the_same_entries() -> None:
    """And makes the same hashes and codes of them."""
    first, *entries = _GIVEN["entries"]
    begin = tool.values([1, *_row(first["chain"]), -1, 0, *first["ends"]])
    digest, code = tool.hashed(b"segm", tool.NOTHING + begin), tool.NOTHING
    assert first["hash"] == digest.hex()
    raw = bytes.fromhex("".join(each["bytes"] for each in entries))
    found = list(tool.entries(raw, -1, 0, dict.fromkeys(tool.STREAMS, 0)))
    assert len(entries) == len(found)
    for each, (part, epoch, at_us, runs, added) in zip(entries, found, strict=True):
        assert [each["bytes"], each["epoch"], each["at_us"]] == [part.hex(), epoch, at_us]
        assert each["runs"] == [[run, *times] for run, times in runs.items()]
        assert each["added"] == [[*rows] for rows in added]
        roots = bytes.fromhex("".join(each["roots"]))
        digest = tool.hashed(b"entry", digest + tool.values([part]) + roots)
        code = tool.hashed(b"mac", code + digest, tool.key_of(KEY.root, epoch))
        assert (each["hash"], each["code"]) == (digest.hex(), code.hex())


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history of which a part was pruned, and then more, so that segments were stripped."""
    path = tmp_path_factory.mktemp("sealed") / "history.db"
    make_key(path)
    test_changes._write(path)
    for minutes in (15, 32):
        test_changes._prune(path, 60 * minutes)
    return path


def _agree(path: Path, *, is_proved: bool | None = None) -> bool:
    ours = verified(path).is_verified
    with contextlib.closing(
        sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    ) as connection:
        theirs = tool.problems(connection, (KEY.chain, KEY.root))
    assert ours is not bool(theirs), (verified(path).problems, theirs)
    assert is_proved in {None, ours}
    return ours


def test_both_prove_an_honest_history(tmp_path: Path) -> None:
    """Before a pruning and after one of nearly all of it."""
    path = tmp_path / "history.db"
    make_key(path)
    test_changes._write(path)
    assert _agree(path, is_proved=True)
    for seconds in (60 * 15, 60 * 30, 60 * 50):
        test_changes._prune(path, seconds)
        assert _agree(path, is_proved=True)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM seal WHERE length(entries) = 0").fetchone()[0]


@examples(40)
@given(st.integers(0, 2**32))
def test_both_find_the_same_changes(
    pruned: Path, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    """To any cell, and rows that go or change places."""
    chance = random.Random(seed)
    path = tmp_path_factory.mktemp("changed") / "history.db"
    shutil.copy(pruned, path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = 0")
        tables = [table for table in test_changes._tables(path) if test_changes._rows(path, table)]
        table = chance.choice([name for name in tables if name not in _LEFT_OUT])
        columns = connection.execute(f'PRAGMA table_info("{table}")').fetchall()
        rows = connection.execute(f'SELECT * FROM "{table}"').fetchall()
        row, column = chance.choice(rows), chance.choice(columns)
        where = " AND ".join(f'"{each[1]}" IS ?' for each in columns)
        with contextlib.suppress(sqlite3.IntegrityError):
            if chance.random() < 0.2:
                connection.execute(f'DELETE FROM "{table}" WHERE {where}', row)
            elif (table, column[1]) not in _LEFT_OUT_COLUMNS:
                value = test_changes._other(row[column[0]], column[2], chance)
                value = 12345 if value is None and column[3] else value
                connection.execute(f'UPDATE "{table}" SET "{column[1]}" = ? WHERE {where}', (value, *row))

    _agree(path)


def test_the_number_that_stands_for_null_is_none(pruned: Path, tmp_path: Path) -> None:
    """Else a column could be said to be known."""
    path = tmp_path / "history.db"
    shutil.copy(pruned, path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        changed = connection.execute(
            f"UPDATE exec SET errno = {-(2**63)} WHERE id = (SELECT max(id) FROM exec WHERE errno IS NULL)"  # a number
        )
        assert 1 == changed.rowcount

    assert not _agree(path)


@pytest.mark.parametrize("place", ["1000", "(SELECT max(id) FROM seal)"])
def test_what_a_pruning_left_of_nothing_is_told(pruned: Path, tmp_path: Path, place: str) -> None:
    """Of a segment that is not there, and of a stream of which it sealed nothing."""
    path = tmp_path / "history.db"
    shutil.copy(pruned, path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            f"INSERT INTO seal_gone (seal_id, stream, act_id, parts) SELECT {place}, 3, act_id, parts"
            " FROM seal_gone LIMIT 1"
        )

    assert not _agree(path)


def test_it_is_a_program_for_strangers(pruned: Path) -> None:
    """Of at most 200 lines, that needs nothing but Python, with an exit status."""
    assert len(_TOOL.read_text().splitlines()) <= _MOST_LINES

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "-S", str(_TOOL), str(pruned), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = run(KEY.to_text())
    assert (0, "proved\n") == (done.returncode, done.stdout)
    assert "unbroken" in run().stdout
    wrong = run(KEY._replace(root=bytes(32)).to_text())
    assert wrong.returncode == 4
    assert wrong.stdout.endswith("not proved\n")
