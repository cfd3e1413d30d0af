"""The key file of redaction: made once, kept, private, and never replaced unsaid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from execaudit.daemon import redaction_key
from execaudit.errors import ExecauditError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the key of a history is."""
    return redaction_key.path_of(tmp_path / "x.db")


def test_it_is_made_once(path: Path) -> None:
    """The same key each time, which only its owner may read."""
    key = redaction_key.load(path)

    assert "x.db.redaction-key" == path.name
    assert redaction_key.KEY_BYTES == len(key)
    assert key == path.read_bytes() == redaction_key.load(path)
    assert 0o600 == path.stat().st_mode & 0o777


def test_two_histories_have_two_keys(tmp_path: Path) -> None:
    """So that marks tell nothing to readers of another host's history."""
    keys = [redaction_key.load(redaction_key.path_of(tmp_path / name)) for name in ("a", "b")]

    assert keys[0] != keys[1]


def test_an_empty_file_gets_a_key(path: Path) -> None:
    """As a recorder leaves it that is killed while it makes the key."""
    path.touch(0o600)

    assert redaction_key.load(path) == path.read_bytes()
    assert redaction_key.KEY_BYTES == path.stat().st_size


@pytest.mark.parametrize("content", [b"x", b"x" * 31, b"x" * 33])
def test_what_is_no_key_is_refused(path: Path, content: bytes) -> None:
    """And left as it is."""
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(ExecauditError, match="is no key"):
        redaction_key.load(path)
    assert content == path.read_bytes()


def test_a_key_that_others_may_read_is_refused(path: Path) -> None:
    """It says how to mend that."""
    redaction_key.load(path)
    path.chmod(0o640)

    with pytest.raises(ExecauditError, match="others may read") as refused:
        redaction_key.load(path)
    assert f"chmod 600 {path}" == refused.value.fix


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    """In one line, with the next step."""
    with pytest.raises(ExecauditError, match="cannot read or make") as refused:
        redaction_key.load(tmp_path / "none" / "key")
    assert refused.value.fix
