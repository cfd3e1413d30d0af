"""A bundle of a sealed history is proved: whatever its records are made of, and whatever chose them."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from execaudit.bundle import layout
from execaudit.enums import Kind
from execaudit.event import Nanoseconds
from execaudit.query.filter import Filter
from execaudit.seal.chain import Head
from execaudit.seal.key_file import path_of
from execaudit.seal.keys import VerificationKey
from execaudit.store import sealing
from execaudit.store.writer import Store
from tests.bundle.bundles import (
    bundle_of,
    checked,
    files_of,
    lines_of,
    rich_history,
)
from tests.commands import execaudit
from tests.histories import at, begin_run
from tests.seal import test_changes
from tests.seal.histories import KEY, change, go_on, make_key, sealed_history

if TYPE_CHECKING:
    from pathlib import Path

_OTHER_KEY = VerificationKey(b"x" * 16, b"y" * 32)


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed history of several segments, with records of each kind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealing, "_MOST_ENTRIES", 4)
        return rich_history(tmp_path_factory.mktemp("rich") / "h.db")


def bundle(path: Path, at: Path, wanted: Filter | None = None, **how: Any) -> Path:  # noqa: ANN401  # of bundle_of()
    """Writes a bundle of a history. Returns its path."""
    at.write_bytes(bundle_of(path, wanted, **how))
    return at


def records_of(path: Path, *options: str) -> list[bytes]:
    """Returns the lines of execs that an export has."""
    lines = execaudit("--db", path, "export", "--format=jsonl", *options).out.splitlines()
    return [line for line in lines if b'"argv":' in line]


def test_its_records_are_those_of_an_export(rich: Path) -> None:
    """And the stored gaps, byte for byte; the times without a recorder are only told."""
    lines = files_of(bundle_of(rich))[layout.RECORDS].splitlines()
    gaps = [line for line in lines if b'"kind":"gap"' in line]

    assert lines[: -len(gaps)] == records_of(rich)
    assert len(gaps) == 6
    assert {record["kind"] for record in map(json.loads, lines)} == {"exec", "failed", "snapshot", "gap"}


def test_all_of_it_is_proved(rich: Path, tmp_path: Path) -> None:
    """With the key, and with the head alone."""
    path = bundle(rich, tmp_path / "b.zip")
    found = checked(path)
    led = checked(path, (), [Head.from_text(found.result.head or "")])

    assert found.is_verified
    assert found.result.is_authentic is True
    assert (found.records, found.parts, found.by_key) == (49, 55, 55)
    assert found.loose == 0
    assert (led.is_verified, led.by_head, led.result.is_authentic) == (True, 55, None)
    assert len(found.gaps) == 6


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(pids=(1003,)),
        Filter(kinds=(Kind.FAILED,)),
        Filter(limit=1),
        Filter(limit=0),
        Filter(pids=(1,)),
        Filter(args=(b"REDACTED",)),
        Filter(since_ns=at(35), until_ns=at(45)),
        Filter(truncated=True),
        Filter(hosts=("nobody",)),
        Filter(under=(2,)),
    ],
)
@pytest.mark.parametrize("is_sparse", [False, True])
def test_whatever_chose_them(rich: Path, tmp_path: Path, wanted: Filter, *, is_sparse: bool) -> None:
    """The rows that they name are proved as well, and nothing else is in it."""
    path = bundle(rich, tmp_path / "b.zip", wanted, is_sparse=is_sparse)
    found = checked(path)

    assert found.is_verified, found.result.problems
    assert found.by_key == found.parts


def test_a_record_that_alone_is_chosen_has_all_of_its_fields(rich: Path, tmp_path: Path) -> None:
    """Its parent is in another segment, and its end in another one."""
    path = bundle(rich, tmp_path / "b.zip", Filter(args=(b"run 3",)))
    files = files_of(path.read_bytes())
    (record,) = [each for each in lines_of(files, layout.RECORDS) if each["kind"] != "gap"]

    assert checked(path).is_verified
    assert (record["exit_code"], record["ended"]) == (3, "exited")
    assert record["parent_id"] is not None
    assert [record] == [json.loads(line) for line in records_of(rich, "--args=run 3")]


def test_without_the_seals_between_a_head_proves_little(rich: Path, tmp_path: Path) -> None:
    """It is smaller, and the key proves it."""
    wanted = Filter(since_ns=at(20), until_ns=at(21))
    whole = bundle(rich, tmp_path / "whole.zip", wanted)
    sparse = bundle(rich, tmp_path / "sparse.zip", wanted, is_sparse=True)
    head = Head.from_text(checked(sparse).result.head or "")

    assert sparse.stat().st_size < whole.stat().st_size
    assert checked(whole, (), [head]).is_verified
    assert (checked(sparse, (), [head]).is_verified, checked(sparse, (), [head]).by_head) == (False, 0)
    assert checked(sparse, [KEY], [head]).is_verified


@pytest.mark.parametrize("minutes", [5, 15, 39])
def test_what_a_pruning_left_is_proved(tmp_path: Path, minutes: int) -> None:
    """Execs with other parents, shortened lines, and segments of which little or nothing is left."""
    path = tmp_path / "h.db"
    make_key(path)
    test_changes._write(path)
    for some in range(5, minutes + 1, 2):
        test_changes._prune(path, 60 * some)
    found = checked(bundle(path, tmp_path / "b.zip"))

    assert found.is_verified, found.result.problems
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert found.records == connection.execute("SELECT count(*) FROM exec").fetchone()[0]
        assert connection.execute("SELECT count(*) FROM seal_change").fetchone()[0]


def test_imported_execs_are_proved(tmp_path: Path) -> None:
    """Their host and boot come from the import's run."""
    source = rich_history(tmp_path / "source.db", key=None)
    log, path = tmp_path / "log.jsonl", tmp_path / "h.db"
    log.write_bytes(execaudit("--db", source, "export", "--format=jsonl").out)
    make_key(path)
    assert execaudit("--db", path, "import", log).status == 0
    found = checked(bundle(path, tmp_path / "b.zip"))

    assert found.is_verified, found.result.problems
    assert found.records == 49


def test_a_chain_without_a_key(tmp_path: Path) -> None:
    """It is only unbroken; a head proves it; and a key that is given vouches for nothing."""
    path = bundle(sealed_history(tmp_path / "h.db", 5, key=None), tmp_path / "b.zip")
    found = checked(path, ())

    assert (found.is_verified, found.result.is_authentic) == (True, None)
    assert checked(path, (), [Head.from_text(found.result.head or "")]).by_head == found.parts
    assert (checked(path).is_verified, checked(path).result.is_authentic) == (False, False)


def test_a_history_that_got_its_key_later(tmp_path: Path) -> None:
    """The key vouches for what was there when it was made."""
    path = sealed_history(tmp_path / "h.db", 5, key=None)
    make_key(path)
    with Store(path) as store:
        begin_run(store)
        go_on(store, 5, after=5)
    found = checked(bundle(path, tmp_path / "b.zip"))

    assert found.is_verified, found.result.problems
    assert (found.by_key, found.records) == (30, 30)
    assert found.result.unkeyed


def test_two_keys_are_needed_for_two_chains(tmp_path: Path) -> None:
    """One that was lost cannot be done without."""
    path = sealed_history(tmp_path / "h.db", 5)
    path_of(path).unlink()
    make_key(path, _OTHER_KEY)
    with Store(path) as store:
        begin_run(store)
        go_on(store, 5, after=5)
    written = bundle(path, tmp_path / "b.zip")

    assert checked(written, [KEY, _OTHER_KEY]).is_verified
    assert [checked(written, [key]).result.is_authentic for key in (KEY, _OTHER_KEY)] == [False, False]


def test_the_key_of_a_chain_without_records_is_not_needed(tmp_path: Path) -> None:
    """All records are proved without it. Of a bundle that has none, the end of the chain must be."""
    path = sealed_history(tmp_path / "h.db", 5)
    path_of(path).unlink()
    make_key(path, _OTHER_KEY)
    with Store(path) as store:
        begin_run(store)
        go_on(store, 5, after=5)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (last,) = connection.execute("SELECT max(ts) FROM exec WHERE id <= 5").fetchone()
    written = bundle(path, tmp_path / "b.zip", Filter(until_ns=last))
    found = checked(written)

    assert found.is_verified, found.result.problems
    assert found.by_key == found.parts > 0
    assert found.unchecked
    assert not checked(written, [_OTHER_KEY]).is_verified
    empty = bundle(path, tmp_path / "empty.zip", Filter(until_ns=Nanoseconds(1)))
    assert (checked(empty).parts, checked(empty).is_verified) == (0, False)


@pytest.mark.parametrize("key", [_OTHER_KEY, KEY._replace(root=b"z" * 32)])
def test_a_wrong_key_vouches_for_nothing(rich: Path, tmp_path: Path, key: VerificationKey) -> None:
    """Of another history, or with the same name."""
    found = checked(bundle(rich, tmp_path / "b.zip"), [key])

    assert (found.is_verified, found.result.is_authentic) == (False, False)


def test_a_head_vouches_for_what_was_there(rich: Path, tmp_path: Path) -> None:
    """One that is not in the bundle, or is another one's, is a problem."""
    path = bundle(rich, tmp_path / "b.zip")
    newest = Head.from_text(checked(path).result.head or "")
    later, other = newest._replace(epoch=newest.epoch + 1), newest._replace(hash="0" * 64)

    assert [each.kind for each in checked(path, [KEY], [later]).result.problems] == ["cut"]
    assert [each.kind for each in checked(path, [KEY], [other]).result.problems] == ["forged"]


def test_an_older_head_does_not_vouch_for_later_records(tmp_path: Path) -> None:
    """Without a key these are not proved."""
    path = sealed_history(tmp_path / "h.db", 5)
    head = Head.from_text(checked(bundle(path, tmp_path / "b.zip")).result.head or "")
    with Store(path) as store:
        begin_run(store)
        go_on(store, 5, after=5)
    written = bundle(path, tmp_path / "c.zip")

    assert (checked(written, (), [head]).is_verified, checked(written, (), [head]).by_head) == (False, 15)
    assert checked(written, [KEY], [head]).is_verified


def test_no_bundle_is_made_of_a_history_that_was_changed(tmp_path: Path) -> None:
    """Else who verifies it would take it for the sender's doing."""
    path = sealed_history(tmp_path / "h.db", 5)
    change(path, "UPDATE exec SET pid = 7 WHERE id = 4")
    done = execaudit("--db", path, "export", "--bundle", tmp_path / "b.zip")

    assert (done.status, done.failed_in_one_line()) == (4, True), done.err
    assert not (tmp_path / "b.zip").exists()


def test_rows_without_a_seal_are_refused(tmp_path: Path) -> None:
    """Somebody added them."""
    path = sealed_history(tmp_path / "h.db", 5)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        row = connection.execute("SELECT * FROM exec ORDER BY id DESC LIMIT 1").fetchone()
        connection.execute(f"INSERT INTO exec VALUES ({','.join('?' * len(row))})", (row[0] + 1, *row[1:]))
        connection.execute("UPDATE seg SET id_hi = id_hi + 1 WHERE id_hi = ?", (row[0],))
    done = execaudit("--db", path, "export", "--bundle", tmp_path / "b.zip")

    assert (done.status, done.failed_in_one_line()) == (4, True), done.err


def test_it_is_the_same_each_time(rich: Path) -> None:
    """Byte for byte."""
    assert bundle_of(rich) == bundle_of(rich)


def test_a_recorder_writes_meanwhile(tmp_path: Path) -> None:
    """A bundle is of one moment."""
    path = sealed_history(tmp_path / "h.db", 5)
    with Store(path) as store:
        begin_run(store)
        go_on(store, 2, after=5)
        found = checked(bundle(path, tmp_path / "b.zip"))
        go_on(store, 2, after=7)

    assert (found.is_verified, found.records) == (True, 21)
