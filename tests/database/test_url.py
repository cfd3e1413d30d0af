"""What `--db` names."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.database.url import database_path
from execaudit.errors import ConfigError


@given(
    st.text(st.characters(exclude_characters="\0"), min_size=1).filter(
        lambda name: "://" not in name and name != ":memory:"
    )
)
def test_a_path_is_itself(name: str) -> None:
    """What is no URL is the file of that name, percent signs and question marks included."""
    assert Path(name) == database_path(name)
    assert Path(f"/{name}") == database_path(f"/{name}")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///history.db", "history.db"),
        ("sqlite:///./a b/history.db", "a b/history.db"),
        ("sqlite:////var/lib/history.db", "/var/lib/history.db"),
        ("sqlite:///a%20b?c#d", "a%20b?c#d"),
        ("sqlite:///\udcff.db", "\udcff.db"),
        ("sqlite:///postgresql://x", "postgresql:/x"),
    ],
)
def test_an_sqlite_url_names_a_file(url: str, path: str) -> None:
    """Three slashes begin a relative path and four an absolute one, as SQLAlchemy has it."""
    assert Path(path) == database_path(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://host/db",
        "mysql+pymysql://u@h/d",
        "sqlite://host/x",
        "sqlite+pysqlcipher:///x",
        "file:///x",
        "s3://b",
    ],
)
def test_another_database_is_refused(url: str) -> None:
    """A URL of another kind is a wrong setting, and the message says what is possible."""
    with pytest.raises(
        ConfigError, match=r"^cannot use the database [^\n]*give a path, or sqlite:///PATH$"
    ) as caught:
        database_path(url)
    assert caught.value.exit_status == 2


def test_a_password_is_not_repeated() -> None:
    """A refused URL may carry a password, and the message may go to a log."""
    with pytest.raises(ConfigError) as caught:
        database_path("postgresql://audit:hunter2@db.example/audit?password=hunter3")
    assert "hunter" not in str(caught.value)


@pytest.mark.parametrize("name", ["", ":memory:", "sqlite:///", "sqlite:///:memory:", "a\0b", "sqlite://"])
def test_a_history_needs_a_file(name: str) -> None:
    """What names no file, or one that ends with the process, is a wrong setting."""
    with pytest.raises(ConfigError, match="give a path, or sqlite:///PATH"):
        database_path(name)
