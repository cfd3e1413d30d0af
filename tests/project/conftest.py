"""A fixture for the tests of pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.recipes import Asker, asker, asker_of_copy

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def page_asker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    """The history on which the pages run their commands, and its recorder."""
    with asker(tmp_path_factory.mktemp("incident")) as of:
        yield of


@pytest.fixture(scope="module")
def copy_asker(tmp_path_factory: pytest.TempPathFactory) -> Asker:
    """The same history where nobody records, so that JSON lines end with a gap."""
    return asker_of_copy(tmp_path_factory.mktemp("copy"))
