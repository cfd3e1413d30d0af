"""Fixtures for the tests of the store."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A path for a history."""
    return tmp_path / "history.db"


@pytest.fixture(autouse=True)
def migrates_in_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process with several threads migrates without a child, and other tests leave threads that are stuck.

    A migration that is killed would kill the tests then.
    """
    monkeypatch.setattr(threading, "active_count", lambda: 1)
