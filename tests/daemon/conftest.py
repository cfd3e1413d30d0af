"""Fixtures for the tests of the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from execaudit.daemon import retention

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of the history."""
    return tmp_path / "h.db"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the recorder's warnings, in order."""
    words: list[str] = []
    monkeypatch.setattr(retention.log, "warning", lambda word, **_: words.append(word))
    return words
