"""Fixtures: a time stamp authority and its server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.seal.tsa import Server, Tsa

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> Tsa:
    """An honest authority."""
    return Tsa(tmp_path_factory.mktemp("tsa"))


@pytest.fixture
def server(tsa: Tsa) -> Iterator[Server]:
    """Its server."""
    server = Server(tsa.reply)
    with server.serving():
        yield server
