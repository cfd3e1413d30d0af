"""A file of passwords is read as libpq reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.central.pgpass import password_for, password_in
from execaudit.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

_WANTED = ("db.example", "9440", "execaudit", "web1")
_FIELD = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1)


def escaped(text: str) -> str:
    """Returns a field as it stands in a line."""
    return text.replace("\\", "\\\\").replace(":", "\\:")


@given(st.tuples(_FIELD, _FIELD, _FIELD, _FIELD), _FIELD)
def test_what_is_escaped_is_found(wanted: tuple[str, str, str, str], password: str) -> None:
    """With colons and backslashes in whichever part."""
    # A line that starts with # is a comment.
    line = ":".join(map(escaped, (*wanted, password)))

    assert (None if line.startswith("#") else password) == password_in(line, wanted)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("db.example:9440:execaudit:web1:secret", "secret"),
        ("*:*:*:*:first\n*:*:*:web1:second", "first"),
        ("other:*:*:*:no\n*:*:*:web1:a:b\\:c", "a:b:c"),
        ("# *:*:*:*:comment\n\n*:*:*\n*:9000:*:*:no", None),
        ("", None),
    ],
)
def test_the_first_line_that_fits_counts(text: str, expected: str | None) -> None:
    """Lines that are none are left out."""
    assert expected == password_in(text, _WANTED)


def test_the_file_is_the_users_own(tmp_path: Path) -> None:
    """One that others may read is refused, in one line; one that is not there has nothing."""
    file = tmp_path / ".pgpass"
    assert password_for(_WANTED, {"HOME": str(tmp_path)}) is None
    file.write_text("*:*:*:*:secret\n")
    file.chmod(0o644)
    with pytest.raises(StoreError, match="others may read"):
        password_for(_WANTED, {"HOME": str(tmp_path)})
    file.chmod(0o600)
    assert "secret" == password_for(_WANTED, {"HOME": str(tmp_path)})
    assert "secret" == password_for(_WANTED, {"HOME": "/", "PGPASSFILE": str(file)})
    assert password_for(_WANTED, {"PGPASSFILE": str(tmp_path)}) is None
    assert password_for(_WANTED, {}) is None
