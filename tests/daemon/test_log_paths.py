"""The JSON log's file is where it was asked for, and nowhere that another user has prepared."""

from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING

import pytest

from execaudit.daemon.log_file import LogFile, Rotation
from execaudit.errors import ExecauditError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


NOBODY = 65534


@pytest.mark.parametrize("name", [".", "missing/x.jsonl"])
def test_a_place_that_cannot_be_is_refused(tmp_path: Path, name: str) -> None:
    """In one line that says what to do."""
    with pytest.raises(ExecauditError, match=r"^cannot write the JSON log [^\n]*--json-log$"):
        LogFile(tmp_path / name)

    assert [] == list(tmp_path.iterdir())


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[Path]:
    """A folder of the user nobody, and a file of root elsewhere."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    (tmp_path / "victim").write_bytes(b"precious\n")
    yield folder
    assert b"precious\n" == (tmp_path / "victim").read_bytes()


def _own(path: Path) -> None:
    os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("file", "belongs to another user"),
        ("symlink", "is a symbolic link of another user"),
        ("hardlink", "is a hard link in a folder of others"),
        ("fifo", "is no regular file"),
        ("loop", "leads through too many symbolic links"),
    ],
)
def test_a_path_that_others_have_prepared_is_refused(foreign: Path, kind: str, why: str) -> None:
    """In one line, and nothing is written through it."""
    path = foreign / "x.jsonl"
    if kind == "file":
        path.touch()
        _own(path)
    elif kind == "symlink":
        path.symlink_to(foreign.parent / "victim")
        _own(path)
    elif kind == "hardlink":
        path.hardlink_to(foreign.parent / "victim")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(path)
    _own(foreign)

    with pytest.raises(
        ExecauditError, match=rf"^cannot write the JSON log: [^\n]* {why}[^\n]* with --json-log$"
    ):
        LogFile(path)


def test_links_of_our_own_are_followed(tmp_path: Path) -> None:
    """An administrator may keep the log elsewhere; it is rotated there."""
    (tmp_path / "other").mkdir()
    (tmp_path / "x.jsonl").symlink_to("other/y.jsonl")
    log = LogFile(tmp_path / "x.jsonl", Rotation(max_bytes=1, compress=False))
    for _ in range(2):
        log.prepare()
        log.write(b"a\n")
    log.close()

    assert {"y.jsonl", "y.jsonl.1"} == {each.name for each in (tmp_path / "other").iterdir()}


def test_what_is_put_aside_goes_through_no_link(foreign: Path) -> None:
    """Somebody else's folder has links where the compressed log is to be made."""
    log = LogFile(foreign / "x.jsonl", Rotation(max_bytes=1))
    (foreign / "x.jsonl.1.gz.tmp").symlink_to(foreign.parent / "victim")
    _own(foreign)
    log.write(b"a\n")
    log.prepare()
    log.close()

    assert b"a\n" == gzip.decompress((foreign / "x.jsonl.1.gz").read_bytes())
