"""Whatever is changed in a bundle is found, also by who makes the manifest fit."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.bundle import layout
from execaudit.bundle.check import row_of
from execaudit.database.sealed_streams import Stream
from execaudit.query.filter import Filter
from execaudit.seal import chain, tree
from execaudit.seal.chain import Head
from execaudit.store import sealing
from tests.bundle.bundles import (
    bundle_of,
    checked,
    files_of,
    lines_of,
    manifest_of,
    put_together,
    rich_history,
    with_lines,
)
from tests.examples import examples
from tests.seal.histories import KEY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bundle.bundles import Files

# What stands in a line, and what the same byte is elsewhere.
_BYTES = b'0123456789abcdef AZ"[]{},:\\n\n+/='


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """What is in a bundle of several segments, with records of each kind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealing, "_MOST_ENTRIES", 4)
        path = rich_history(tmp_path_factory.mktemp("forged") / "h.db")
    return files_of(bundle_of(path))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where forged bundles are written."""
    return tmp_path_factory.mktemp("bundles")


@examples(150)
@given(st.data())
def test_any_byte_that_is_changed_is_found(files: Files, folder: Path, data: st.DataObject) -> None:
    """Changed, removed or added, in the records or in what proves them."""
    name = data.draw(st.sampled_from([layout.RECORDS, layout.SEALS]))
    raw = bytearray(files[name])
    at = data.draw(st.integers(0, len(raw) - 1))
    how = data.draw(st.sampled_from(["change", "remove", "add"]))
    byte = data.draw(st.sampled_from(_BYTES))
    if how == "change":
        raw[at] = byte if raw[at] != byte else raw[at] ^ 1
    elif how == "remove":
        del raw[at]
    else:
        raw.insert(at, byte)
    found = checked(put_together(folder / "byte.zip", {**files, name: bytes(raw)}))

    assert not found.is_verified
    assert found.result.problems


@pytest.mark.parametrize("name", layout.FILES[:-1])
def test_without_the_manifest_fitting_it_is_found_in_any_file(files: Files, folder: Path, name: str) -> None:
    """An accident, and not an attack."""
    raw = bytearray(files[name])
    raw[len(raw) // 2] ^= 1
    path = put_together(folder / "accident.zip", {**files, name: bytes(raw)}, manifest_of(files))

    assert ("changed", name) in {(each.kind, each.table) for each in checked(path).result.problems}


@pytest.mark.parametrize("file", [layout.RECORDS, layout.SEALS])
def test_any_line_that_is_removed_doubled_or_moved_is_found(files: Files, folder: Path, file: str) -> None:
    """A third of all lines."""
    lines = files[file].splitlines(keepends=True)
    for at, line in list(enumerate(lines))[::3]:
        changed = [
            [*lines[:at], *lines[at + 1 :]],
            [*lines[: at + 1], line, *lines[at + 1 :]],
        ]
        if at + 1 < len(lines):
            changed.append([*lines[:at], lines[at + 1], line, *lines[at + 2 :]])
        for some in changed:
            found = checked(put_together(folder / "line.zip", {**files, file: b"".join(some)}))
            assert not found.is_verified, line


def values_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:  # noqa: ANN401  # JSON
    """Returns where the values in a line are."""
    if isinstance(value, dict):
        return [found for key, each in value.items() for found in values_in(each, (*path, key))]
    if isinstance(value, list) and value:
        return [found for at, each in enumerate(value) for found in values_in(each, (*path, at))]
    return [path]


def other_value(value: Any) -> Any:  # noqa: ANN401  # JSON
    """Returns another value that could stand there."""
    if isinstance(value, int):
        return value + 1
    if value is None or value == []:
        return 0
    assert isinstance(value, str)
    try:
        raw = b64decode(value, validate=True)
    except ValueError:
        return value + "x"
    return b64encode(bytes([raw[0] ^ 1, *raw[1:]]) if raw else b"x").decode()


@pytest.mark.parametrize("kind", ["chain", "seal", "exec", "exit", "run", "gap"])
def test_each_value_of_a_line_counts(files: Files, folder: Path, kind: str) -> None:
    """Also one that is written as ours are."""
    lines = lines_of(files, layout.SEALS)
    at = max(at for at, line in enumerate(lines) if kind in line)
    for path in values_in(lines[at]):
        line = json.loads(json.dumps(lines[at]))
        place = line
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = other_value(place[path[-1]])
        forged = with_lines(files, layout.SEALS, [*lines[:at], line, *lines[at + 1 :]])
        assert not checked(put_together(folder / "value.zip", forged)).is_verified, path


@pytest.mark.parametrize(
    "name",
    [
        "time",
        "host",
        "boot_id",
        "pid",
        "uid",
        "user",
        "comm",
        "argv",
        "parent_id",
        "exit_code",
        "ended",
        "duration_ns",
        "replaced_by",
        "truncated",
        "redacted",
    ],
)
def test_a_changed_record_is_found_and_placed(files: Files, folder: Path, name: str) -> None:
    """By its line, and by the number of its exec."""
    lines = lines_of(files, layout.RECORDS)
    values = [line.get(name) for line in lines]
    at = next(at for at, value in enumerate(values) if value is not None)
    other = next((value for value in values if value not in (None, values[at])), None)
    forged = with_lines(files, layout.RECORDS, [*lines[:at], {**lines[at], name: other}, *lines[at + 1 :]])
    problems = checked(put_together(folder / "record.zip", forged)).result.problems

    assert [(each.table, each.first) for each in problems] == [(layout.RECORDS, at + 1), ("exec", at + 1)]


def test_a_swapped_parent_is_found(files: Files, folder: Path) -> None:
    """In the record and in what would prove it: the number is hashed."""
    seals = lines_of(files, layout.SEALS)
    at = next(at for at, line in enumerate(seals) if line.get("exec", [None] * 13)[9] == 2)
    numbers = [*seals[at]["exec"]]
    numbers[9] = 1
    found = checked(
        put_together(
            folder / "parent.zip",
            with_lines(files, layout.SEALS, [*seals[:at], {**seals[at], "exec": numbers}, *seals[at + 1 :]]),
        )
    )

    assert ("changed", "exec") in {(each.kind, each.table) for each in found.result.problems}
    assert found.result.execs < found.records


def without_exec(files: Files, number: int) -> Files:
    """Returns the files with an exec as if it were none that is needed: its hash alone is there."""
    seals = lines_of(files, layout.SEALS)
    at = next(at for at, line in enumerate(seals) if _numbers_of(line)[0] == number)
    segment = next(line for line in reversed(seals[:at]) if "seal" in line)
    before = chain.Entry(segment["epoch"], segment["at_us"], (), ())
    entries = chain.entries(b64decode(segment["entries"]), before, chain.cursors_of(segment["start"]))
    batch, first = next(
        (batch, added.first)
        for batch, (_, entry) in enumerate(entries)
        for added in entry.added
        if added.stream is Stream.EXEC and added.first <= number <= added.last
    )
    left_out = {stream: tree.from_bytes(b64decode(parts)) for stream, parts in segment["left_out"]}
    left_out.setdefault(1, {}).setdefault(batch, {})[tree.Place(0, number - first)] = _leaf_hash(seals[at])
    segment["left_out"] = [
        [stream, b64encode(tree.to_bytes(parts)).decode()] for stream, parts in sorted(left_out.items())
    ]
    return with_lines(files, layout.SEALS, [*seals[:at], *seals[at + 1 :]])


def _numbers_of(line: dict[str, Any]) -> list[int]:
    numbers: list[int] = line.get("exec") or line.get("other") or [0]
    return numbers


def test_a_record_that_is_left_out_is_not_found(files: Files, folder: Path) -> None:
    """Whoever makes a bundle chooses its records: nothing proves that there are no others."""
    records = lines_of(files, layout.RECORDS)
    last = next(at for at, line in enumerate(records) if line["kind"] == "failed")
    about = {**json.loads(files[layout.ABOUT]), "records": 48}
    forged = with_lines(
        without_exec(files, last + 1), layout.RECORDS, [*records[:last], *records[last + 1 :]]
    )
    found = checked(put_together(folder / "left.zip", {**forged, layout.ABOUT: json.dumps(about).encode()}))

    assert found.is_verified, found.result.problems
    assert found.records == 48


def test_what_replaced_a_program_may_be_missing(
    tmp_path_factory: pytest.TempPathFactory, folder: Path
) -> None:
    """As if it was pruned: then the record does not name it, which is counted. It may name no other."""
    path = rich_history(tmp_path_factory.mktemp("loose") / "h.db")
    files = files_of(bundle_of(path, Filter(args=(b"old",), limit=1)))
    (line,) = [line for line in lines_of(files, layout.SEALS) if "exec" in line]
    record, *gaps = lines_of(files, layout.RECORDS)
    forged = without_exec(files, line["exec"][12])

    assert checked(put_together(folder / "loose.zip", files)).loose == 0
    assert not checked(put_together(folder / "loose.zip", forged)).is_verified
    loose = with_lines(forged, layout.RECORDS, [{**record, "replaced_by": None}, *gaps])
    assert (checked(put_together(folder / "loose.zip", loose)).is_verified, record["ended"]) == (
        True,
        "replaced",
    )
    assert checked(folder / "loose.zip").loose == 1


def test_a_parent_that_is_not_there_is_found(files: Files, folder: Path) -> None:
    """Its hash alone, as of what did not match, does not say whose it is."""
    records = lines_of(files, layout.RECORDS)
    forged = with_lines(without_exec(files, 1), layout.RECORDS, records[1:])
    kinds = {
        (each.kind, each.table) for each in checked(put_together(folder / "gone.zip", forged)).result.problems
    }

    assert ("missing", "exec") in kinds
    assert not kinds & {("changed", "seal"), ("changed", "exec")}


def _leaf_hash(line: dict[str, Any]) -> bytes:
    found = layout.read_line(json.dumps(line, separators=(",", ":")).encode())
    assert isinstance(found, (layout.ExecLine, layout.OtherExecLine))
    return row_of(found)[2]


def test_a_dropped_segment_is_found(files: Files, folder: Path) -> None:
    """With its rows and records; whether it is the first, the last or one between."""
    seals = lines_of(files, layout.SEALS)
    begins = [at for at, line in enumerate(seals) if "seal" in line]
    assert len(begins) > 2
    for begin, end in zip(begins, [*begins[1:], len(seals)], strict=True):
        gone = {tuple(line["exec"]) for line in seals[begin:end] if "exec" in line}
        forged = with_lines(files, layout.SEALS, [*seals[:begin], *seals[end:]])
        numbers = {each[0] for each in gone}
        records = [
            line for number, line in enumerate(lines_of(files, layout.RECORDS), 1) if number not in numbers
        ]
        found = checked(put_together(folder / "segment.zip", with_lines(forged, layout.RECORDS, records)))
        assert not found.is_verified


def test_who_computes_all_anew_lacks_the_key(tmp_path: Path, files: Files, folder: Path) -> None:
    """A bundle of a history that was made up is consistent, and the key does not vouch for it."""
    forged = rich_history(tmp_path / "h.db", KEY._replace(root=b"f" * 32))
    path = tmp_path / "b.zip"
    path.write_bytes(bundle_of(forged))
    head = Head.from_text(checked(put_together(folder / "b.zip", files)).result.head or "")

    assert checked(path, ()).is_verified
    assert checked(path).result.is_authentic is False
    assert {each.kind for each in checked(path).result.problems} == {"forged"}
    assert not checked(path, (), [head]).is_verified


def test_a_forged_beginning_does_not_borrow_the_key_of_what_follows(
    tmp_path: Path, files: Files, folder: Path
) -> None:
    """Segments that nobody vouches for, before others that the key vouches for: hashes do not lead there."""
    made_up = tmp_path / "h.db"
    rich_history(made_up, None)
    forged = files_of(bundle_of(made_up))
    seals, honest = lines_of(forged, layout.SEALS), lines_of(files, layout.SEALS)
    last = max(at for at, line in enumerate(honest) if "seal" in line)
    row = next(line for line in honest if "id" in line)
    before = honest[[at for at, line in enumerate(honest[:last]) if "seal" in line][-1]]["after"]
    segment = {**honest[last], "chain": 2, "before": before}
    mixed = with_lines(forged, layout.SEALS, [*seals, {**row, "chain": 2}, segment, *honest[last + 1 :]])
    found = checked(put_together(folder / "mixed.zip", mixed))

    assert not found.is_verified
    assert found.by_key == 0


@pytest.mark.parametrize("at", [1, -1])
def test_a_chain_that_seals_nothing_is_found(files: Files, folder: Path, at: int) -> None:
    """No hash covers it."""
    seals = lines_of(files, layout.SEALS)
    row = {"chain": 2, "id": "00" * 16, "keyed": 0, "reason": "key_lost", "began_ns": 1}
    lines = [*seals, row] if at < 0 else [seals[0], row, *seals[1:]]
    found = checked(put_together(folder / "chain.zip", with_lines(files, layout.SEALS, lines)))

    assert [(each.kind, each.table) for each in found.result.problems] == [("added", "seal_chain")]


def test_the_order_of_what_is_left_out_is_fixed(tmp_path: Path) -> None:
    """Another one would be the same, and be spelled in another way."""
    path = rich_history(tmp_path / "h.db")
    files = files_of(bundle_of(path, Filter(pids=(1001,))))
    seals = lines_of(files, layout.SEALS)
    segment = next(line for line in seals if len(line.get("left_out", [])) > 1)
    segment["left_out"].reverse()
    found = checked(put_together(tmp_path / "b.zip", with_lines(files, layout.SEALS, seals)))

    assert not found.is_verified


def test_what_is_said_of_the_bundle_must_agree(files: Files, folder: Path) -> None:
    """As far as the rest of it says the same."""
    about = json.loads(files[layout.ABOUT])
    for changed in ({"records": 1}, {"head": "x"}, {"records": None}, {"gaps": 0}, {"sealed_until": 1}):
        text = json.dumps({**about, **changed}).encode()
        found = checked(put_together(folder / "about.zip", {**files, layout.ABOUT: text}))
        assert [(each.kind, each.table) for each in found.result.problems] == [("changed", layout.ABOUT)]


def test_running_and_unknown_are_not_proved(files: Files, folder: Path) -> None:
    """One may be said for the other, and that is counted; an end may not be said where none is."""
    records = lines_of(files, layout.RECORDS)
    at = next(at for at, line in enumerate(records) if line.get("ended") == "unknown")

    def said(how: str) -> Files:
        return with_lines(
            files, layout.RECORDS, [*records[:at], {**records[at], "ended": how}, *records[at + 1 :]]
        )

    running = checked(put_together(folder / "end.zip", said("running")))
    assert running.is_verified
    assert running.open
    assert not checked(put_together(folder / "end.zip", said("exited"))).is_verified
