"""A history that several tests query, and do not change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from execaudit.query.connection import open_history
from tests.histories import make_event, make_history

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def history(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A thousand execs; each tenth is an ls."""
    names = [b"ls" if number % 10 == 0 else b"true" for number in range(1000)]
    made = [make_event(name, comm=name, pid=number, seconds=number) for number, name in enumerate(names)]
    make_history(tmp_path / "history.db", made)
    with open_history(tmp_path / "history.db") as connection:
        yield connection
