"""Seals are shipped as pieces that follow each other, with the hashes of the rows that they seal."""

from __future__ import annotations

import shutil
from itertools import pairwise
from typing import TYPE_CHECKING

from execaudit.central.tables import SEAL, SEAL_ACT, SEAL_CHAIN, SEAL_CHANGE
from execaudit.database.sealed_streams import Stream
from execaudit.query.connection import open_history
from execaudit.seal import chain
from execaudit.seal.chain import NOTHING, ChainRow
from execaudit.seal.key_file import path_of
from execaudit.seal.pieces import Piece, entries_of, roots_of
from execaudit.store.writer import Store
from tests.fleet.centre import Centre, ship
from tests.fleet.recording import appended, pruned
from tests.histories import begin_run, make_event
from tests.seal.histories import go_on, make_key, sealed_history

if TYPE_CHECKING:
    from pathlib import Path


def _pieces(centre: Centre) -> list[Piece]:
    return [Piece(*row[1:]) for row in centre.table(SEAL)]


def _assert_whole(path: Path, centre: Centre) -> list[Piece]:
    """All that is sealed is there, and the chain leads through it, given the hashes that were shipped."""
    found = _pieces(centre)
    chains = {
        row[1]: ChainRow(row[1], row[2], row[3], row[4].decode(), row[5]) for row in centre.table(SEAL_CHAIN)
    }
    assert [each.id for each in found] == [*range(1, len(found) + 1)]
    for before, each in pairwise(found):
        assert each.before == before.hash
        assert (each.number, each.place) == (before.number + 1, 0) or each.number == before.number
    digest = NOTHING
    for piece in found:
        entries, _ = entries_of(piece)
        if not piece.place and entries:
            start = entries_of(piece._replace(entries=b""))[1]
            digest = chain.segment_hash(digest, piece.number, chains[piece.chain_id], piece.begins, start)
        for (raw, _), roots in zip(entries, roots_of(piece, entries), strict=True):
            digest = chain.entry_hash(digest, raw, roots)
        assert not entries or digest == piece.hash
        digest = piece.hash
    with open_history(path) as connection:
        rows = connection.execute("SELECT id, entries, hash, code FROM seal ORDER BY id").fetchall()
    joined: dict[int, bytes] = {}
    for piece in found:
        joined[piece.number] = joined.get(piece.number, b"") + piece.entries
    assert joined == {row[0]: row[1] for row in rows}
    assert (found[-1].hash, found[-1].code) == rows[-1][2:]
    return found


def test_seals_arrive_in_pieces_that_follow_each_other(tmp_path: Path, centre: Centre) -> None:
    """With a key, from several segments, and from the middle of one after a restart."""
    path = sealed_history(tmp_path / "x.db", 150, size=2)
    ship(path, centre.url, batch=40)
    first = _assert_whole(path, centre)
    appended(path, 301, 310)
    ship(path, centre.url)
    found = _assert_whole(path, centre)

    assert len(first) > 3
    assert found[len(first)].place > 0
    assert {len(each.code or b"") for each in found} <= {0, 32}
    before = len(found)
    ship(path, centre.url)
    assert before == len(_pieces(centre)), "what has arrived does not come again"


def test_what_a_pruning_took_before_is_still_chained(tmp_path: Path, centre: Centre) -> None:
    """Of segments with some rows left, and of those without any."""
    path = tmp_path / "x.db"
    make_key(path)
    appended(path, 1, 50)
    with Store(path) as store:
        begin_run(store)
        go_on(store, 200, size=3, after=100)
    pruned(path, 100, 800)
    ship(path, centre.url)

    found = _assert_whole(path, centre)
    assert any(each.gone for each in found)
    assert any(not each.entries for each in found)
    assert centre.table(SEAL_ACT)
    assert not centre.table(SEAL_CHANGE)
    assert not {Stream.STRAY_EXIT} & {
        each.stream for piece in found for _, entry in entries_of(piece)[0] for each in entry.added
    }


def test_what_was_put_back_is_shipped_beside_the_old(tmp_path: Path, centre: Centre) -> None:
    """From the segment on that seals something else. What had arrived stays."""
    path, old = tmp_path / "x.db", tmp_path / "old"
    sealed_history(path, 100, size=2)
    old.mkdir()
    for each in (path, path_of(path)):
        shutil.copy(each, old / each.name)
    with Store(path) as store:
        begin_run(store)
        go_on(store, 100, size=2, after=100)
    ship(path, centre.url)
    before = _pieces(centre)
    for each in (path, path_of(path)):
        shutil.copy(old / each.name, each)
    with Store(path) as store:
        begin_run(store)
        store.append([make_event(seconds=9000 + n, pid=7000 + n) for n in range(5)])
    ship(path, centre.url)

    found = _pieces(centre)
    assert before == found[: len(before)]
    fork = found[len(before)]
    assert fork.place == 0
    assert fork.before in {each.hash for each in before}
    assert fork.shifts != before[-1].shifts
