"""Any one change to a sealed history is found, and nothing is found where there was none."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.enums import Truncated
from execaudit.event import Hit, Hole, HuntRule, Nanoseconds, Redaction
from execaudit.exec_id import ExecKey
from execaudit.seal.chain import Head
from execaudit.store import prune, prune_plan
from execaudit.store.limits import Limits
from execaudit.store.sealing import Sealer
from execaudit.store.writer import Store
from tests.examples import examples
from tests.histories import at, begin_run, make_event, make_exit, make_gap, now_at
from tests.seal.histories import KEY, make_key, verified
from tests.store.recording import from_somewhere

if TYPE_CHECKING:
    from pathlib import Path

# What no record is made of: SQLite's own, Alembic's, what only the writer uses to find long lines again, and
# time stamps, which an authority signs: see test_timestamps.py.
_NOT_SEALED = {"sqlite_sequence", "alembic_version", "long_argv", "meta", "argv_used", "seal_timestamp"}


# Execs to which the time index does not lead.
_HIDDEN = (
    "SELECT count(*) FROM exec WHERE NOT EXISTS"
    " (SELECT 1 FROM seg WHERE exec.id BETWEEN id_lo AND id_hi AND ts BETWEEN ts_min AND ts_max)"
)


def _write(path: Path) -> None:
    """Writes a history with rows in every table."""
    rule = HuntRule("11111111-2222-4333-8444-555555555555", "title", "high", ("tag",), "/rule.yml")
    with Store(path) as store:
        begin_run(store)
        store.begin_hunting()
        second = 0
        # A line of ancestors that is too long to stay whole, with long command lines: a pruning changes both.
        chain = make_event(b"first", seconds=1, pid=50)
        store.append([chain])
        for batch in range(40):
            for n in range(6):
                argv = b"x" * 5000 + b"\0"
                chain = make_event(
                    seconds=second + 22 + n / 10, pid=51, parent=chain.key, argv=argv, argc=1, argv_bytes=5001
                )
                store.append([chain])
            events = [
                from_somewhere(
                    second + n, pid=100 + n, argv=b"word %d\0" % (n % 5) * (60 if n % 9 == 8 else 1)
                )
                for n in range(batch % 11)
            ]
            events += [
                make_event(b"child", seconds=second + 20, pid=99, parent=events[0].key, argv=b"a\0" * 300)
                for _ in events[:1]
            ]
            events += [
                make_event(
                    b"cut", seconds=second + 21, pid=98, argv=b"a\0b\0", argc=None, argv_bytes=None,
                    holes=(Hole(1, None),), truncated=Truncated.FAULT, redacted=(Redaction(0, 1),),
                )
                for _ in events[:1]
            ]  # fmt: skip
            ends = [make_exit(event.key, second + 30) for event in events[::2]]
            if batch % 7 == 6:
                ends.append(make_exit(ExecKey(events[0].key.boot, 1, 77), second + 30))
            gaps = [make_gap(second, second + 1)] if batch % 5 == 4 else []
            store.append(events, gaps, ends[:3], seen_ns=at(second + 40))
            store.append([], (), ends[3:], seen_ns=at(second + 41))
            number = _last(path)
            store.append_hits(
                [Hit(number, rule, 0, "x", at(second), "h", 1, 0, None, None, None)] if events else [], number
            )
            second += 60


def _last(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT coalesce(max(id), 0) FROM exec").fetchone()[0])


def _prune(path: Path, seconds: float) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        limits, now = (
            Limits(max_age_ns=Nanoseconds(1)),
            now_at(seconds, "9" * 8 + "-2222-4333-8444-555555555555"),
        )
        while (plan := prune_plan.plan(connection, limits, now)) is not None:
            list(prune.prune(connection, plan, now, Sealer(path)))


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history, a part of which was pruned."""
    path = tmp_path_factory.mktemp("sealed") / "history.db"
    make_key(path)
    _write(path)
    _prune(path, 60 * 15)
    return path


def test_an_honest_history_is_proved(sealed: Path) -> None:
    """Also after a pruning: its rows that are left have their first seals."""
    found = verified(sealed)

    assert [] == found.problems
    assert found.is_authentic is True
    assert found.is_verified
    assert found.pruned
    assert not verified(sealed, ()).problems
    assert verified(sealed, ()).is_authentic is None


def test_each_table_has_rows(sealed: Path) -> None:
    """So that each is changed below."""
    empty = [table for table in _tables(sealed) if not _rows(sealed, table)]
    assert empty == ["argv_grams"]


def _tables(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        return [name for (name,) in names if name not in _NOT_SEALED]


def _rows(path: Path, table: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(f'SELECT * FROM "{table}"').fetchall()


def _other(value: object, kind: str, chance: random.Random) -> object:
    """Returns another value of a column's type."""
    if value is None:
        return chance.choice([0, 1, -(2**63), 7]) if kind == "INTEGER" else b"x" if kind == "BLOB" else "x"
    if isinstance(value, int):
        return chance.choice([value + 1, value - 1, -value - 1, None])
    if isinstance(value, str):
        return chance.choice([value + "x", value[:-1] + "~", value + "\0"])
    raw = bytearray(value if isinstance(value, bytes) else b"")
    if raw and chance.random() < 0.7:
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
    else:
        raw += b"\0"
    return bytes(raw)


@examples(60)
@given(st.integers(0, 2**32))
def test_one_change_to_a_cell_is_found(
    sealed: Path, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    """Any table, row and column; found with the key and without."""
    chance = random.Random(seed)
    path = tmp_path_factory.mktemp("changed") / "history.db"
    shutil.copy(sealed, path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = 0")
        table = chance.choice([name for name in _tables(path) if _rows(path, name)])
        columns = connection.execute(f'PRAGMA table_info("{table}")').fetchall()
        rows = connection.execute(f'SELECT * FROM "{table}"').fetchall()
        row = chance.choice(rows)
        _, name, kind, not_null, _, _ = column = chance.choice(columns)
        value = _other(row[column[0]], kind, chance)
        if value is None and not_null:
            value = 12345
        where = " AND ".join(f'"{each[1]}" IS ?' for each in columns)
        try:
            connection.execute(f'UPDATE "{table}" SET "{name}" = ? WHERE {where}', (value, *row))
        except sqlite3.IntegrityError:
            return  # SQLite refuses it
        if not _is_used(connection, table, row):
            return
        hidden = connection.execute(_HIDDEN).fetchone()[0]
    if table == "seg" and not hidden:
        return  # it leads to more execs than it must
    assert verified(path).problems, (table, name, row, value)


def _is_used(connection: sqlite3.Connection, table: str, row: tuple[Any, ...]) -> bool:
    """Says whether a record is made of a row: dictionaries keep some that nothing needs any more."""
    users = {
        "clock": "SELECT EXISTS (SELECT 1 FROM exec WHERE clock_id = ?1) OR EXISTS (SELECT 1 FROM stray_exit WHERE clock_id = ?1)",
        "argv": "SELECT EXISTS (SELECT 1 FROM exec WHERE argv_id = ?1)",
        "launch": "SELECT EXISTS (SELECT 1 FROM exec WHERE launch_id = ?1)",
        "origin": "SELECT EXISTS (SELECT 1 FROM exec WHERE origin_id = ?1)",
        "user": "SELECT EXISTS (SELECT 1 FROM launch WHERE user_id = ?1) OR EXISTS (SELECT 1 FROM origin WHERE login_user_id = ?1)",
        "comm": "SELECT EXISTS (SELECT 1 FROM launch WHERE ?1 IN (comm_id, parent_comm_id)) OR EXISTS (SELECT 1 FROM exec WHERE comm_id = ?1)",
        "path": "SELECT EXISTS (SELECT 1 FROM launch WHERE ?1 IN (filename_id, exe_id, cwd_id, interpreter_id, root_id))"
        " OR EXISTS (SELECT 1 FROM origin WHERE cgroup_id = ?1)",
    }
    statement = users.get(table)
    return statement is None or bool(connection.execute(statement, (row[0],)).fetchone()[0])


@examples(50)
@given(st.integers(0, 2**32), st.sampled_from(["delete", "add", "swap", "empty"]))
def test_rows_that_go_come_or_change_places_are_found(
    sealed: Path, tmp_path_factory: pytest.TempPathFactory, seed: int, how: str
) -> None:
    """In each table whose rows are records, or parts of them."""
    chance = random.Random(seed)
    path = tmp_path_factory.mktemp("changed") / "history.db"
    shutil.copy(sealed, path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        table = chance.choice(
            [name for name in _tables(path) if _rows(path, name) and name not in _DICTIONARIES]
        )
        columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]
        key = columns[0]
        rows = connection.execute(f'SELECT * FROM "{table}" ORDER BY 1').fetchall()
        if how == "empty":
            connection.execute(f'DELETE FROM "{table}"')
        elif how == "delete":
            at = chance.choice([0, len(rows) - 1, chance.randrange(len(rows))])
            connection.execute(f'DELETE FROM "{table}" WHERE "{key}" = ?', (rows[at][0],))
        elif how == "add":
            place = chance.choice([rows[-1][0] + 1, rows[-1][0] + 1000, max(rows[0][0] - 1, 0)])
            row = (place, *chance.choice(rows)[1:])
            if place in {each[0] for each in rows} or place == 0:
                return
            with contextlib.suppress(sqlite3.IntegrityError):
                connection.execute(f'INSERT INTO "{table}" VALUES ({", ".join("?" * len(row))})', row)
            if connection.total_changes == 0:
                return
        else:
            first, second = chance.choice(rows), chance.choice(rows)
            if first[1:] == second[1:]:
                return
            names = ", ".join(f'"{name}" = ?' for name in columns[1:])
            # An index may want them to differ.
            with contextlib.suppress(sqlite3.IntegrityError):
                for number, row in ((first[0], second), (second[0], first)):
                    connection.execute(f'UPDATE "{table}" SET {names} WHERE "{key}" = ?', (*row[1:], number))
            if connection.execute(f'SELECT * FROM "{table}" ORDER BY 1').fetchall() == rows:
                return
        if table == "seg" and not connection.execute(_HIDDEN).fetchone()[0]:
            return

    assert verified(path).problems, (table, how)


_DICTIONARIES = {"argv", "comm", "path", "user", "clock", "launch", "origin"}


def test_what_was_put_back_is_told_by_a_head_that_was_noted(tmp_path: Path) -> None:
    """Database and key file together: nothing in them says that they are old."""
    path, old = tmp_path / "history.db", tmp_path / "old"
    make_key(path)
    with Store(path) as store:
        begin_run(store)
        store.append([make_event(seconds=1)])
    old.mkdir()
    for name in ("history.db", "history.db.seal"):
        shutil.copy(tmp_path / name, old / name)
    with Store(path) as store:
        begin_run(store)
        store.append([make_event(seconds=2)])
    noted = Head.from_text(str(verified(path).head))
    assert verified(path, heads=[noted]).is_verified

    for name in ("history.db", "history.db.seal"):
        shutil.copy(old / name, tmp_path / name)
    assert verified(path).is_verified
    assert [problem.kind for problem in verified(path, heads=[noted]).problems] == ["cut"]

    with Store(path) as store:
        begin_run(store)
        for seconds in range(3, 9):
            store.append([make_event(seconds=seconds)])
    assert [problem.kind for problem in verified(path, heads=[noted]).problems] == ["forged"]


def test_an_older_copy_of_the_database_alone_is_told(tmp_path: Path) -> None:
    """The key has moved on: epochs are missing, though no boot came between."""
    path, copy = tmp_path / "history.db", tmp_path / "copy.db"
    make_key(path)
    with Store(path) as store:
        begin_run(store)
        store.append([make_event(seconds=1)])
    shutil.copy(path, copy)
    with Store(path) as store:
        begin_run(store)
        store.append([make_event(seconds=2)])
    shutil.copy(copy, path)
    with Store(path) as store:
        begin_run(store)
        store.append([make_event(seconds=3)])

    assert [problem.kind for problem in verified(path).problems] == ["cut"]


def test_root_cannot_forge_what_was_sealed_before(tmp_path: Path) -> None:
    """With the key file of a moment and the shipped code: rows of before are refused."""
    path, taken = tmp_path / "history.db", tmp_path / "taken.seal"
    make_key(path)
    with Store(path) as store:
        begin_run(store)
        for seconds in range(1, 200):
            store.append([make_event(b"honest", seconds=seconds)])
    shutil.copy(tmp_path / "history.db.seal", taken)
    honest = Head.from_text(str(verified(path).head))
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE argv SET v = ?", (b"forged\0",))
        connection.execute("DELETE FROM seal")
        connection.execute("DELETE FROM seal_chain")
    # The shipped code seals all of it anew, with the key that it finds.
    with Store(path) as store:
        begin_run(store)
    (tmp_path / "history.db.seal").write_bytes(taken.read_bytes())
    with Store(path) as store:
        begin_run(store)

    found = verified(path, heads=[honest])
    assert not found.is_verified
    assert "cut" in {problem.kind for problem in found.problems}


def test_a_forged_seal_is_told(tmp_path: Path) -> None:
    """Whoever computes all hashes anew lacks the key: the codes are wrong."""
    path = tmp_path / "history.db"
    make_key(path)
    with Store(path) as store:
        begin_run(store)
        store.append([make_event(b"honest", seconds=1)])
    (tmp_path / "history.db.seal").unlink()
    make_key(path, KEY._replace(root=b"another key of thirty-two bytes."))
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE argv SET v = ?", (b"forged\0",))
        connection.execute("DELETE FROM seal")
        connection.execute("DELETE FROM seal_chain")
    with Store(path):
        pass

    found = verified(path)
    assert found.is_authentic is not True
    assert not found.is_verified
