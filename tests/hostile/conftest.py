"""An installation, an attacker, and a recorder for all who do not need one of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.hostile.attacker import Attacker
from tests.hostile.honest import Honest
from tests.hostile.service import Installed, Service
from tests.nobody import public_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def public() -> Iterator[Path]:
    """A folder that every user can enter."""
    with public_folder() as folder:
        yield folder


@pytest.fixture
def place() -> Iterator[Path]:
    """The same, for one test."""
    with public_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def attacker(public: Path) -> Attacker:
    """He has his programs."""
    folder = public / "attacker"
    folder.mkdir()
    return Attacker(folder)


@pytest.fixture
def honest(attacker: Attacker) -> Honest:
    """Nothing has run yet."""
    return Honest(attacker)


@pytest.fixture(scope="session")
def installed(public: Path, staged: Path) -> Installed:
    """What `make install` makes."""
    folder = public / "installed"
    folder.mkdir()
    return Installed(staged, folder)


@pytest.fixture(scope="session")
def shared(public: Path, installed: Installed) -> Iterator[Service]:
    """A service that records, with the settings that are shipped."""
    folder = public / "service"
    folder.mkdir()
    service = Service(installed, folder)
    with service.recording():
        yield service


@pytest.fixture
def service(shared: Service) -> Iterator[Service]:
    """The same, which must live before and after each test."""
    shared.must_live()
    yield shared
    shared.must_live()
