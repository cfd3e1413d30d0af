"""Fixtures: an installation, an attacker, and a recorder that tests share if they need none of their own."""

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
    """An attacker whose programs are compiled."""
    folder = public / "attacker"
    folder.mkdir()
    return Attacker(folder)


@pytest.fixture
def honest(attacker: Attacker) -> Honest:
    """Programs of root, none of which has run yet."""
    return Honest(attacker)


@pytest.fixture(scope="session")
def installed(public: Path, staged: Path) -> Installed:
    """The installed program."""
    folder = public / "installed"
    folder.mkdir()
    return Installed(staged, folder)


@pytest.fixture(scope="module")
def shared(installed: Installed) -> Iterator[Service]:
    """A service that records, with the default settings.

    It ends with the file: until then it records what all other tests start, which costs them time.
    """
    with public_folder() as folder:
        service = Service(installed, folder)
        with service.recording():
            yield service


@pytest.fixture
def service(shared: Service) -> Iterator[Service]:
    """The same service, which must be alive before and after each test."""
    shared.must_live()
    yield shared
    shared.must_live()
