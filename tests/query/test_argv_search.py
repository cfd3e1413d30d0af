"""The index of what is in command lines: it proposes all that there is, whatever of it was made or pruned."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from execaudit.daemon.backlog import Finished
from execaudit.daemon.sinks import database as database_sink
from execaudit.database import packed_ids, trigram_bitmap
from execaudit.enums import Truncated
from execaudit.event import Hole, Nanoseconds
from execaudit.query import argv_search, find
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.store import argv_index, inserts, interning, prune, prune_plan
from execaudit.store.limits import Limits
from execaudit.store.sealing import Sealer
from execaudit.store.writer import Store
from tests.examples import examples
from tests.histories import HOST, at, begin_run, make_event, make_exit, now_at
from tests.query.filter_model import FIELDS, alone, filter_of, found, histories, in_batch, reference, stored
from tests.watching import counted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from tests.events import Batch

_LINES, _BLOCK, _EXECS = 6, 2, 4
args_filters = st.tuples(FIELDS["args"], st.lists(alone, max_size=2)).map(
    lambda both: filter_of([*both[1], {"args": both[0]}])
)


@contextlib.contextmanager
def small(*, near: int = 1) -> Iterator[None]:
    """Has chunks of a few lines, or execs, so that small histories have some."""
    with pytest.MonkeyPatch.context() as patched:
        for module in (argv_index, argv_search, inserts, prune, find, trigram_bitmap):
            for name, value in (
                ("CHUNK_LINES", _LINES), ("BLOCK_LINES", _BLOCK), ("CHUNK_BLOCKS", _LINES // _BLOCK),
                ("CHUNK_EXECS", _EXECS), ("_ALL_BLOCKS", 2 ** (_LINES // _BLOCK) - 1), ("_STEP_BLOCKS", 2),
                ("_FEW_BLOCKS", 0), ("_PAGE_CHUNKS", 2), ("_NEAR", near),
            ):  # fmt: skip
                if hasattr(module, name):
                    patched.setattr(module, name, value)
        yield


def index(path: Path, steps: int) -> int:
    """Makes so much of the index, or all there is to make. Returns how many steps that were."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        work = argv_index.Indexing()
        return next((done for done in range(steps) if not work.step(connection, Sealer(path))), steps)


@examples(25)
@given(histories, st.lists(args_filters, min_size=1, max_size=12), st.integers(0, 30), st.integers(1, 4))
@example(
    in_batch(
        *(
            make_event(b"a", argv=b"a\0", seconds=n, holes=(Hole(2, 5),), truncated=Truncated.LIMIT, argc=1, argv_bytes=7)
            for n in range(30)
        )
    ),
    [Filter(args=(b"a ",))], 99, 1,
)  # fmt: skip
def test_the_index_leaves_nothing_out(
    tmp_path_factory: pytest.TempPathFactory, batches: list[Batch], asked: list[Filter], steps: int, near: int
) -> None:
    """However much of the index there is, what is found is what is found without it."""
    folder = tmp_path_factory.mktemp("history")
    with small(near=near), stored(folder, batches) as (connection, everything):
        index(folder / "history.db", steps)
        for wanted in asked:
            expected = reference(everything, wanted)

            assert expected == found(connection, wanted)
            assert len(expected) == find.count(connection, wanted)


words = st.binary(max_size=12).map(lambda word: word.replace(b"\0", b"x"))
lines = st.lists(st.lists(words, max_size=4).map(lambda words: b"".join(word + b"\0" for word in words)))


@given(st.lists(lines, min_size=1, max_size=5), st.integers(0, 60), st.integers(0, 10))
def test_a_text_is_in_none_but_the_proposed_blocks(
    blocks: list[list[bytes]], start: int, length: int
) -> None:
    """Each block that has a text is proposed, wherever in its lines that is."""
    chunk = trigram_bitmap.Chunk()
    for number, block in enumerate(blocks):
        chunk.add(number, block)
    rows = list(chunk.rows())
    searched = b"".join(blocks[0]).replace(b"\0", b" ")
    text = searched[start : start + length]
    proposed = 2 ** len(blocks) - 1
    for row, offset, size in trigram_bitmap.places(text):
        proposed &= int.from_bytes(rows[row][offset : offset + size], "little")

    assert len(rows) == trigram_bitmap.CHUNK_ROWS
    for number, block in enumerate(blocks):
        if any(text in line.replace(b"\0", b" ") for line in block):
            assert number in trigram_bitmap.blocks(proposed)


def test_a_text_that_is_nowhere_is_proposed_seldom() -> None:
    """Of 128 blocks of lines with random names, a name that is in none leads to none or one."""
    chunk = trigram_bitmap.Chunk()
    for block in range(128):
        chunk.add(
            block,
            [
                b"cc\0-o\0/tmp/%08x.s\0" % (number * 2654435761 % 2**32)
                for number in range(block * 64, block * 64 + 64)
            ],
        )
    rows = list(chunk.rows())

    def proposed(text: bytes) -> int:
        bits = 2**128 - 1
        for row, offset, size in trigram_bitmap.places(text):
            bits &= int.from_bytes(rows[row][offset : offset + size], "little")
        return len(trigram_bitmap.blocks(bits))

    assert proposed(b"cc") == proposed(b"/tmp/") == 128
    assert sum(proposed(b"/tmp/zq%06x" % number) for number in range(100)) <= 10


def test_long_lines_cost_the_index_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are found all the same; each step looks at a bounded number of bytes, whatever lines there are."""
    hashed: list[int] = []
    add = trigram_bitmap.Chunk.add

    def counted(chunk: trigram_bitmap.Chunk, block: int, lines: list[bytes]) -> None:
        hashed.append(sum(map(len, lines)))
        add(chunk, block, lines)

    monkeypatch.setattr(trigram_bitmap.Chunk, "add", counted)
    sizes = (100_000, 10, 15_000, 15_000, 10, 10)
    path = tmp_path / "history.db"
    with small(), Store(path) as store:
        monkeypatch.setattr(argv_index, "_STEP_BYTES", 20_000)
        begin_run(store)
        made = [make_event(b"/%d/" % n + b"x" * size, seconds=n) for n, size in enumerate(sizes * 3)]
        store.append(made, [], [])
        while True:
            hashed.clear()
            if not store.index():
                break
            assert sum(hashed) <= 20_000 + _BLOCK * 16_384
        with open_history(path) as connection:
            for n in range(len(sizes) * 3):
                text = b"/%d/x" % n
                assert [at(n)] == [each.event.time_ns for each in find.find(connection, Filter(args=(text,)))]


@given(st.sets(st.integers(1, 2**34)), st.sets(st.integers(1, 300)), st.sets(st.integers(1, 300)))
def test_ids_are_packed(any_ids: set[int], used: set[int], wanted: set[int]) -> None:
    """They come back as they were; and what two sets have in common is found, whichever is larger."""
    assert sorted(any_ids) == list(packed_ids.unpack(packed_ids.pack(sorted(any_ids))))
    packed = packed_ids.unpack(packed_ids.pack(sorted(used)))
    assert sorted(used & wanted) == packed_ids.common(packed, sorted(wanted), wanted)


def test_short_ids_take_four_bytes() -> None:
    """As long as there are less than four thousand million lines."""
    assert len(packed_ids.pack(range(100))) == 401
    assert len(packed_ids.pack([2**32])) == 9


@examples(15)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40)), min_size=1, max_size=6),
    st.lists(st.sampled_from((b"a1", b"a12", b"1 b", b"b3", b"a")), min_size=1, max_size=3),
)
@example([(9, 40), (9, 0), (5, 40)], [b"b18"])
def test_what_is_pruned_and_comes_again_is_found(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[tuple[int, int]], texts: list[bytes]
) -> None:
    """Lines come and go, all of them at times; each answer is that without an index."""
    path = tmp_path_factory.mktemp("pruned") / "history.db"
    second = 0
    with small(), pytest.MonkeyPatch.context() as patched:
        patched.setattr(interning, "_MEGABYTE", 1000)
        for count, kept in rounds:
            with Store(path) as store:
                begin_run(store)
                made = [
                    make_event(b"a%d" % (n % 17), b"b%d" % n, seconds=n)
                    for n in range(second, second + count)
                ]
                # Each fifth runs for ever, so that of the oldest lines some stay when newer ones go.
                ended = [event for n, event in enumerate(made, second) if n % 5]
                store.append(made, [], [make_exit(event.key, 1000) for event in ended])
                while store.index():
                    pass
            second += count
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
                limits = Limits(max_age_ns=Nanoseconds(at(1000) - at(second - kept)))
                while (plan := prune_plan.plan(connection, limits, now_at(1000))) is not None:
                    list(prune.prune(connection, plan, now_at(1000), Sealer(path)))
            with open_history(path) as connection:
                for text in texts:
                    everything = list(find.find(connection, Filter()))
                    assert [
                        each for each in everything if text in each.event.argv.replace(b"\0", b" ").rstrip()
                    ] == list(find.find(connection, Filter(args=(text,))))
                used = connection.execute(
                    "SELECT count(*) FROM argv_used WHERE NOT EXISTS (SELECT 1 FROM exec WHERE"
                    f" exec.id / {_EXECS} = argv_used.id) AND id < (SELECT max(top) FROM pruned) / {_EXECS}"
                ).fetchone()[0]
                assert used == 0


@pytest.mark.parametrize("wanted", [Filter(args=(b"needle",)), Filter(args=(b"needle",), since_ns=at(5))])
def test_what_was_pruned_in_years_costs_a_search_nothing(tmp_path: Path, wanted: Filter) -> None:
    """A program of the first day still runs: between its numbers and those of today nothing is left."""
    costs = []
    for name, pruned_chunks in (("young", 0), ("old", 20_000)):
        path = tmp_path / name
        with Store(path) as store:
            begin_run(store)
            store.append([make_event(b"first")])
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            numbers = {
                "argv_grams": pruned_chunks,
                "argv_used": pruned_chunks,
                "next_id": 5 + pruned_chunks * 4096,
            }
            connection.executemany(
                "UPDATE meta SET value = ? WHERE key = ?",
                [(b"%d" % number, key) for key, number in numbers.items()],
            )
        with Store(path) as store:
            begin_run(store)
            store.append([make_event(b"needle", b"%d" % n, seconds=n, pid=n) for n in range(1, 9)])
        with contextlib.closing(counted(path)) as connection:
            assert (4 if wanted.since_ns else 8) == len(list(find.find(connection, wanted)))
            costs.append(connection.steps)
            # That is for a small part of the execs that are there, and these are half.
            assert not any(sql.startswith("SELECT ids FROM argv_used") for sql in connection.asked)

    assert costs[1] < 10 * costs[0]


def test_the_recorder_makes_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A little at a time, when nothing waits. When that fails, what is stored stays, and it is said."""

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    said: list[Any] = []
    monkeypatch.setattr(database_sink.log, "warning", lambda *what, **_: said.append(what))
    with small(), Store(tmp_path / "history.db") as store:
        begin_run(store)
        sink = database_sink.DatabaseSink(store, host=HOST)
        batches = [
            [make_event(b"%d" % (10 * b + n), seconds=10 * b + n) for n in range(10)] for b in range(3)
        ]
        sink.accept(Finished(batches[0], [], [], Nanoseconds(1)))
        assert made(tmp_path) == (0, 0)
        while sink.tidy():
            pass
        assert made(tmp_path) == (2, 1)

        monkeypatch.setattr(argv_index.Indexing, "step", fail)
        for batch in batches[1:]:
            sink.accept(Finished(batch, [], [], Nanoseconds(2)))
            assert not sink.tidy()
        assert said == [("not_indexed",)]
        with open_history(tmp_path / "history.db") as connection:
            assert find.last_number(connection) == 30


def made(folder: Path) -> tuple[int, int]:
    """Returns how many chunks of execs and of lines are indexed."""
    with contextlib.closing(sqlite3.connect(folder / "history.db")) as connection:
        execs = connection.execute("SELECT count(*) FROM argv_used").fetchone()[0]
        rows = connection.execute("SELECT count(*) FROM argv_grams").fetchone()[0]
        return execs, rows // trigram_bitmap.CHUNK_ROWS
