"""A bundle comes from anybody: a line says what is wrong with it, memory is bounded, nothing is written."""

from __future__ import annotations

import io
import json
import os
import resource
import zipfile
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from execaudit.bundle import layout
from execaudit.database.sealed_streams import Stream
from execaudit.errors import DamagedStoreError, ExecauditError, StoreError
from execaudit.seal import chain, tree
from execaudit.seal.chain import Added, Cursors, Entry
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
from tests.commands import EXECAUDIT, execaudit

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from tests.bundle.bundles import Files

_MEMORY = 400 * 1024 * 1024
_LARGE = 200 * 1024 * 1024


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """What is in an honest bundle."""
    return files_of(bundle_of(rich_history(tmp_path_factory.mktemp("hostile") / "h.db")))


def zipped(path: Path, *members: tuple[str, bytes], **how: Any) -> Path:  # noqa: ANN401  # of ZipFile
    """Writes a zip file with any members. Returns its path."""
    with zipfile.ZipFile(path, "w", **how) as made:
        for name, raw in members:
            made.writestr(name, raw)
    return path


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"x" * 1000, b"PK\x05\x06" + bytes(18), b"PK\x05\x06" + b"\xff" * 18]
)
def test_what_is_no_bundle(tmp_path: Path, content: bytes) -> None:
    """1, as of any other file that cannot be read."""
    (tmp_path / "b.zip").write_bytes(content)
    done = execaudit("verify", tmp_path / "b.zip")

    assert (done.status, done.failed_in_one_line()) == (1, True)


@pytest.mark.parametrize("name", ["none", "folder", "pipe"])
def test_what_is_no_file(tmp_path: Path, name: str) -> None:
    """It does not wait for what nobody writes either."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    done = execaudit("verify", tmp_path / name)

    assert (done.status, done.failed_in_one_line()) == (1, True)


@pytest.mark.parametrize(
    "names",
    [
        [*layout.FILES, "more.txt"],
        ["../../etc/cron.d/x", *layout.FILES],
        [*layout.FILES, layout.RECORDS],
        [*layout.FILES[1:]],
        [layout.MANIFEST],
        [*reversed(layout.FILES)],
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_other_files(tmp_path: Path, files: Files, names: list[str]) -> None:
    """More, fewer, twice, in another order, or with hostile names."""
    every = {**files, layout.MANIFEST: manifest_of(files)}
    path = zipped(tmp_path / "b.zip", *((name, every.get(name, b"x")) for name in names))

    with pytest.raises(DamagedStoreError):
        checked(path)


def test_other_compressions_are_refused(tmp_path: Path, files: Files) -> None:
    """They are slower bombs."""
    every = [*files.items(), (layout.MANIFEST, manifest_of(files))]

    with pytest.raises(DamagedStoreError):
        checked(zipped(tmp_path / "b.zip", *every, compression=zipfile.ZIP_BZIP2))
    assert checked(zipped(tmp_path / "c.zip", *every, compression=zipfile.ZIP_DEFLATED)).is_verified


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"{}\n",
        b"[]\n",
        b"null",
        b"\xff\xfe{}",
        b"[" * 60_000,
        b'{"files":' * 6000,
        b'{"bundle":"execaudit-bundle","version":1,"files":{}}\n',
        b'{"bundle":"execaudit-bundle","version":1,"files":{"records.jsonl":3}}\n',
        b'{"bundle":"execaudit-bundle","version":' + b"9" * 5000 + b"}\n",
        b"x" * 100_000,
    ],
)
def test_a_manifest_that_makes_no_sense(tmp_path: Path, files: Files, manifest: bytes) -> None:
    """Deeply nested, of huge numbers, or of other types."""
    with pytest.raises(ExecauditError):
        checked(put_together(tmp_path / "b.zip", files, manifest or b" "))


def test_a_manifest_of_a_later_version(tmp_path: Path, files: Files) -> None:
    """A newer execaudit may know it."""
    manifest = manifest_of(files).replace(b'"version":1', b'"version":2')

    with pytest.raises(StoreError, match="another version"):
        checked(put_together(tmp_path / "b.zip", files, manifest))


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"[]",
        b"null",
        b"[" * 10_000,
        b'{"a":' * 10_000,
        b'{"seal":1}',
        b'{"exec":[1]}',
        b'{"exit":[]}',
        b'{"exit":["x"]}',
        b'{"run":[1,"b","h","v"]}',
        b'{"hit":[1,2,3]}',
        b'{"exit":[' + b"9" * 5000 + b"]}",
        b'{"exit":[1e400]}',
        b'{"exit":[NaN,1,2,3,4]}',
        b'{"exit":[true,1,2,3,4]}',
        b'{"run":[1,"\\ud800","h","v"]}',
        b'{"exit":[1],"exit":[2]}',
        b'{"\\u0065xit":[1,2,3,4,5]}',
        b"\xff",
        b"",
        b"[" + b"[]," * 1_000_000 + b"1]",
        b"x" * 17_000_000,
    ],
    ids=range(22),
)
@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_a_line_that_is_none_of_ours(tmp_path: Path, files: Files, line: bytes, where: str) -> None:
    """Nested, huge, of other types, twice the same member: it is placed, and what comes after is not read."""
    lines = files[layout.SEALS].splitlines(keepends=True)
    at = {"first": 0, "middle": len(lines) // 2, "last": len(lines)}[where]
    forged = {**files, layout.SEALS: b"".join([*lines[:at], line + b"\n", *lines[at:]])}
    found = checked(put_together(tmp_path / "b.zip", forged))

    assert not found.is_verified
    assert layout.SEALS in {each.table for each in found.result.problems}


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("at_us", 2**62),
        ("at_us", -(2**62)),
        ("epoch", 2**63),
        ("chain", 7),
        ("start", [0] * 9),
        ("start", [2**62] * 10),
        ("entries", ""),
        ("entries", "//////////////////////8="),
        ("entries", "AAAAAAE="),
        ("left_out", [[1, "AAAA"]]),
        ("left_out", [[99, ""]]),
        ("left_out", [[1, ""]]),
        ("left_out", [[1, ""], [1, ""]]),
        ("before", ["00", None]),
        ("after", [None, None]),
    ],
)
def test_a_seal_that_makes_no_sense(tmp_path: Path, files: Files, member: str, value: object) -> None:
    """Of no time, with other chains, or that claims millions of rows."""
    lines = lines_of(files, layout.SEALS)
    at = next(at for at, line in enumerate(lines) if "seal" in line)
    forged = with_lines(files, layout.SEALS, [*lines[:at], {**lines[at], member: value}, *lines[at + 1 :]])

    assert not checked(put_together(tmp_path / "b.zip", forged)).is_verified


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"null", b"{", b"[" * 100_000, b'{"host":' * 90_000, b'{"made":' + b"1" * 5000 + b"}"],
)
def test_what_is_said_may_be_nonsense(tmp_path: Path, files: Files, text: bytes) -> None:
    """It is a problem, and no traceback."""
    done = execaudit("verify", put_together(tmp_path / "b.zip", {**files, layout.ABOUT: text}))

    assert (done.status, done.err.count(b"Traceback")) == (4, 0)


def test_what_is_said_reaches_no_terminal_raw(tmp_path: Path, files: Files) -> None:
    """And does not fill it."""
    about = json.loads(files[layout.ABOUT])
    evil = "\x1b]0;owned\x07\u202e\n" + "x" * 100_000
    for said in (evil, [evil], {"name": evil, "arguments": [evil, 1, None, {}]}):
        about |= {"made": said, "host": said, "query": said, "execaudit": said, "not_recorded": said}
        path = put_together(tmp_path / "b.zip", {**files, layout.ABOUT: json.dumps(about).encode()})
        done = execaudit("verify", path)
        assert done.status == 0
        assert not set("\x1b\x07\u202e") & set(done.out.decode())
        assert len(done.out) < 5000


@pytest.mark.parametrize("name", [layout.RECORDS, layout.SEALS, layout.ABOUT, layout.MANIFEST])
def test_a_bomb_takes_no_memory(tmp_path: Path, files: Files, name: str) -> None:
    """Two hundred megabytes of nothing, in two hundred kilobytes."""
    path = tmp_path / "b.zip"
    every = {**files, layout.MANIFEST: manifest_of(files)}
    every[name] += b" " * _LARGE
    if name != layout.MANIFEST:
        every[layout.MANIFEST] = manifest_of({each: every[each] for each in files})
    zipped(path, *every.items(), compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < _LARGE / 100

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))

    done = execaudit("verify", path, preexec_fn=limit, before=EXECAUDIT)
    assert (done.status, done.err.count(b"Traceback")) == (4, 0), done.err


def test_a_long_list_of_files_is_not_read(tmp_path: Path) -> None:
    """A hundred thousand names would be some megabytes of nothing but names."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as opened:
        for number in range(20_000):
            opened.writestr(f"{'x' * 60}{number}", b"")
    (tmp_path / "b.zip").write_bytes(made.getvalue())

    with pytest.raises(StoreError):
        checked(tmp_path / "b.zip")


def test_bytes_of_the_zip_file_itself(tmp_path: Path, files: Files) -> None:
    """Any of them may be anything: it is an error or a problem, or changes nothing that is proved."""
    path = put_together(tmp_path / "b.zip", files)
    whole = path.read_bytes()
    central = whole.rindex(b"PK\x01\x02", 0, whole.index(b"PK\x05\x06"))
    for at in [*range(central, len(whole)), *range(60), *range(0, len(whole), 4999)]:
        for byte in (0, 0xFF, whole[at] ^ 1):
            path.write_bytes(whole[:at] + bytes([byte]) + whole[at + 1 :])
            try:
                found = checked(path)
            except ExecauditError:
                continue
            assert not found.is_verified or found.result.execs == 49


def test_an_entry_that_claims_millions_of_rows(tmp_path: Path, files: Files) -> None:
    """Only what is given takes time."""
    lines = lines_of(files, layout.SEALS)
    row = next(line for line in lines if "id" in line)
    seal = next(line for line in lines if "seal" in line)
    # An entry with four million execs, and the hash of all of them.
    rows = 1 << 22
    added = Added(Stream.EXEC, 1, rows, rows)
    entries = chain.to_bytes(Entry(0, 1, (), (added,)), chain.BEFORE_ALL, Cursors())
    parts = tree.to_bytes({0: {tree.top(rows): b"x" * 32}})
    seal |= {"entries": b64encode(entries).decode(), "left_out": [[1, b64encode(parts).decode()]]}
    found = checked(put_together(tmp_path / "b.zip", with_lines(files, layout.SEALS, [row, seal])))

    assert not found.is_verified
