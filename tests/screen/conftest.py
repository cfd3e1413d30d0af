"""Histories for the screen, and readings that come quickly."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from execaudit.store.writer import Store
from tests.families import make_family
from tests.histories import begin_run, make_history

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.families import Family


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    """A history of a family."""
    return make_family(tmp_path_factory.mktemp("family") / "history.db")


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history without execs. To make one takes most of a second."""
    return make_history(tmp_path_factory.mktemp("empty") / "history.db", [])


@pytest.fixture
def path(empty: Path, tmp_path: Path) -> Path:
    """Where somebody records."""
    path = tmp_path / "history.db"
    shutil.copy(empty, path)
    return path


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
