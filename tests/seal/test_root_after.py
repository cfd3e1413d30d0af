"""Whoever takes the key file at a time T, and knows the code, cannot change unnoticed what was sealed before.

The forgers here use the shipped code, and change what it would not do.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest

from execaudit.cli.run import verify_text
from execaudit.database.sealed_streams import Stream
from execaudit.seal import codec
from execaudit.seal.keys import VerificationKey
from execaudit.store import sealing, writer
from execaudit.store.removal import Removal
from execaudit.store.sealing import Sealer
from execaudit.store.writer import Run, Store
from tests.histories import BOOT_ID, at, begin_run, make_event
from tests.seal.histories import make_key, verified

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from execaudit.seal.keys import SealingKey

_ENTRIES = 200  # of which 64 make a segment
_OTHER_BOOT = "99999999-2222-4333-8444-555555555555"


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """A history whose key file is at a later epoch."""
    path = tmp_path / "history.db"
    make_key(path)
    with Store(path) as store:
        begin_run(store)
        for seconds in range(1, _ENTRIES):
            store.append([make_event(b"honest", seconds=seconds, argv=b"word %d\0" % seconds)])
    assert verified(path).is_verified
    return path


@contextlib.contextmanager
def _forging(path: Path) -> Iterator[sqlite3.Connection]:
    """A transaction that is sealed with the key of now."""
    with (
        contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection,
        Sealer(path).transaction(connection),
    ):
        yield connection


def _edit(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def _kinds(path: Path) -> set[tuple[str, str]]:
    return {(problem.kind, problem.table) for problem in verified(path).problems}


def _forge(monkeypatch: pytest.MonkeyPatch, epoch_of: Callable[[int], int]) -> None:
    """Has the next segment follow the epoch that the forger says, given the key's."""
    forged: list[int] = []

    class _Forger(Sealer):
        def _key_for(self, connection: sqlite3.Connection, state: sealing._State) -> SealingKey | None:
            key = super()._key_for(connection, state)
            if key is not None and not forged:
                forged.append(epoch_of(key.epoch))
                state.last = state.last._replace(epoch=forged[0])
                if not state.count:
                    state.begins = state.begins._replace(epoch=forged[0])
            return key

    monkeypatch.setattr(writer, "Sealer", _Forger)


def test_a_chain_cannot_be_begun_anew_with_a_later_key(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the epochs before had been lost at a boot."""
    _edit(sealed, *(f"DELETE FROM {table}" for table in ("seal", "seal_chain", "exec", "exit", "run", "seg")))
    _forge(monkeypatch, lambda _: -1)
    with Store(sealed) as store:
        begin_run(store)
        store.append([make_event(b"forged", seconds=1)])

    assert ("cut", "seal") in _kinds(sealed)


@pytest.mark.parametrize("boot_id", [BOOT_ID, _OTHER_BOOT])
def test_segments_cannot_be_cut_off_and_others_put_there(
    sealed: Path, monkeypatch: pytest.MonkeyPatch, boot_id: str
) -> None:
    """As if they followed the last one that is left."""
    _edit(
        sealed,
        "DELETE FROM seal WHERE id > 2",
        "DELETE FROM exec WHERE id > (SELECT end_exec FROM seal WHERE id = 2)",
        "DELETE FROM argv_cut WHERE exec_id NOT IN (SELECT id FROM exec)",
        "DELETE FROM seg",
        "INSERT INTO seg SELECT id, id, ts, ts FROM exec",
    )
    _forge(monkeypatch, lambda epoch: epoch - 1)
    with Store(sealed) as store:
        store.begin_run(Run(boot_id=boot_id, host="h", version="0", started_ns=at(-1)))
        store.append([make_event(b"forged", seconds=1)])

    assert ("cut", "seal") in _kinds(sealed)


def test_a_pruning_that_does_not_say_how_many_execs_went_is_found(sealed: Path) -> None:
    """What is deleted is counted by its seals, not by who deleted it."""
    with _forging(sealed) as connection:
        removal = Removal(connection)
        removal.going(Stream.EXEC, [50])
        connection.execute("DELETE FROM exec WHERE id = 50")
        connection.execute("DELETE FROM argv_cut WHERE exec_id = 50")
        removal.finish(1, "age", 0)

    assert {("missing", "exec")} == _kinds(sealed)


def test_a_run_cannot_be_pruned(sealed: Path) -> None:
    """Readers would say that nobody recorded, or not say it."""
    with _forging(sealed) as connection:
        removal = Removal(connection)
        removal.going(Stream.RUN, [1])
        connection.execute("DELETE FROM run WHERE id = 1")
        removal.finish(1, "age", 0)

    assert ("missing", "run") in _kinds(sealed)


def test_a_line_that_no_pruning_shortens_cannot_be_changed(sealed: Path) -> None:
    """Though a change of it is sealed."""
    with _forging(sealed) as connection:
        line, was = connection.execute(
            "SELECT a.id, a.v FROM argv AS a JOIN exec ON argv_id = a.id LIMIT 1"
        ).fetchone()
        connection.execute("UPDATE argv SET v = ? WHERE id = ?", (b"ls\0", line))
        connection.execute(
            "INSERT INTO seal_change (exec_id, line_was, line_now) SELECT id, ?, ? FROM exec WHERE argv_id = ?",
            (codec.line(was, None), codec.line(b"ls\0", None), line),
        )
        Removal(connection).finish(1, "age")

    assert {("changed", "seal_change")} == _kinds(sealed)


def test_an_exec_cannot_be_given_another_parent_than_an_older_one_of_a_deleted_one(sealed: Path) -> None:
    """That is all that a pruning does."""
    with _forging(sealed) as connection:
        connection.execute("UPDATE exec SET parent_id = 3 WHERE id = 60")
        connection.execute("INSERT INTO seal_change (exec_id, parent_was, parent_now) VALUES (60, NULL, 3)")
        Removal(connection).finish(1, "age")

    assert {("changed", "seal_change")} == _kinds(sealed)


def test_a_chain_with_a_key_that_nobody_gave_is_not_authentic(sealed: Path) -> None:
    """Whoever replaces the key file vouches with his own."""
    make_key(sealed, VerificationKey(b"another chain id", bytes(32)))
    with Store(sealed) as store:
        begin_run(store)

    assert verified(sealed).is_authentic is False
    assert not verified(sealed).is_verified
    assert verified(sealed, ()).is_authentic is None


@pytest.mark.parametrize("number", [0, -5])
def test_a_row_before_the_first_is_found(sealed: Path, number: int) -> None:
    """Numbers begin with 1, and what is sealed is what comes after 0."""
    _edit(
        sealed,
        f"INSERT INTO exec (id, ts, clock_id, kind, pid, argv_id) SELECT {number}, ts, clock_id, kind, pid, argv_id FROM exec WHERE id = 7",
    )

    assert {("added", "exec")} == _kinds(sealed)


def test_a_chain_that_seals_nothing_is_found(sealed: Path) -> None:
    """The last chain says whether there is a key."""
    _edit(sealed, "INSERT INTO seal_chain (chain, is_keyed, reason, begun_ns) VALUES (x'00', 1, 'setup', 1)")

    assert ("added", "seal_chain") in _kinds(sealed)


def test_an_entry_with_numbers_without_bounds_takes_no_memory(sealed: Path) -> None:
    """Whoever edits a seal does not stop the verifier with it."""
    with contextlib.closing(sqlite3.connect(sealed)) as connection, connection:
        many = codec.unsigned(2**60)
        entries = b"\0\0\0\1\1\0" + many + b"\0"
        connection.execute("UPDATE seal SET entries = ? WHERE id = 2", (entries,))

    assert ("changed", "seal") in _kinds(sealed)


def test_segments_that_are_stripped_are_told(sealed: Path) -> None:
    """What is gone is told, and when it was sealed."""
    with _forging(sealed) as connection:
        (top,) = connection.execute("SELECT end_exec FROM seal WHERE id = 2").fetchone()
        connection.execute("DELETE FROM argv_cut WHERE exec_id <= ?", (top,))
        connection.execute("DELETE FROM exec WHERE id <= ?", (top,))
        connection.execute("UPDATE seal SET entries = x'', streams = x'' WHERE id = 2")
        Removal(connection).finish(1, "stripped", stripped=[2])

    found = verified(sealed)
    assert ("missing", "exec") in _kinds(sealed)
    assert [64] == [stripped.epochs for stripped in found.stripped]
    assert any(line.startswith("pruned as a whole: what 64 seals") for line in verify_text.lines(found))


def test_text_that_is_not_utf_8_is_found(sealed: Path) -> None:
    """SQLite takes any bytes for a text."""
    _edit(sealed, "UPDATE run SET host = CAST(x'ff' AS TEXT)")

    assert ("changed", "run") in _kinds(sealed)


def test_an_act_with_ranges_without_bounds_takes_no_memory(sealed: Path) -> None:
    """Nor does a tree that is too high."""
    ranges = codec.unsigned(0) + codec.unsigned(1) + codec.unsigned(1) + codec.unsigned(2**60)
    _edit(
        sealed,
        f"INSERT INTO seal_act (at_ns, reason, execs, pruned, parts) VALUES (1, 'stripped', 0, x'', x'{ranges.hex()}')",
    )

    assert ("added", "seal_act") in _kinds(sealed)


def test_the_recorder_goes_on_after_a_seal_was_made_unreadable(sealed: Path) -> None:
    """Whoever damages the last seal must not stop the recording of what he does next."""
    _edit(sealed, "UPDATE seal SET entries = x'80' WHERE id = (SELECT max(id) FROM seal)")
    with Store(sealed) as store:
        begin_run(store)
        store.append([make_event(b"after", seconds=300)])

    assert ("changed", "seal") in _kinds(sealed)
    with contextlib.closing(sqlite3.connect(sealed)) as connection:
        assert connection.execute("SELECT count(*) FROM exec").fetchone() == (_ENTRIES,)


@pytest.mark.parametrize("number", [0, 1])
def test_a_row_of_the_index_is_sealed(sealed: Path, number: int) -> None:
    """Its numbers begin with 0. A bit less in it hides a command line from searches."""
    with _forging(sealed) as connection:
        connection.execute("INSERT INTO argv_grams (id, bits) VALUES (0, x'01'), (1, x'02')")
    assert ("changed", "argv_grams") not in _kinds(sealed)

    _edit(sealed, f"UPDATE argv_grams SET bits = x'00' WHERE id = {number}")

    assert ("changed", "argv_grams") in _kinds(sealed)


@pytest.mark.parametrize("column", ["started_ns", "stopped_ns", "seen_ns"])
def test_the_times_of_a_run_that_is_over_cannot_be_sealed_anew(sealed: Path, column: str) -> None:
    """Else a time would seem to be recorded in which nobody did."""
    with Store(sealed) as store:
        begin_run(store)
    with (
        contextlib.closing(sqlite3.connect(sealed, isolation_level=None)) as connection,
        Sealer(sealed).transaction(connection, runs=[1]),
    ):
        connection.execute(f"UPDATE run SET {column} = 5 WHERE id = 1")

    assert {("changed", "run")} == _kinds(sealed)
