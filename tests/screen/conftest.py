"""Histories for the screen, and readings that come quickly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from execaudit.store.writer import Store
from tests.families import make_family
from tests.histories import begin_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.families import Family


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    """A history of a family."""
    return make_family(tmp_path_factory.mktemp("family") / "history.db")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where somebody records."""
    return tmp_path / "history.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """A history into which somebody records."""
    with Store(path) as made:
        begin_run(made)
        yield made


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads often, so that no test waits for a second."""
    monkeypatch.setattr("execaudit.screen.reader._TICK_SECONDS", 0.03)
    monkeypatch.setattr("execaudit.screen.app._TYPING_SECONDS", 0.01)
