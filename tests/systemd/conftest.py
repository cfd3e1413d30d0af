"""Fixtures: a booted machine for the tests of the recorder's unit, and one for those of the forwarder's."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.installing import CHECKOUT, STAGED
from tests.systemd.machine import Machine, booted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def _installed(staged: Path) -> Iterator[Machine]:
    with booted(staged) as machine:
        # The files are there already. This makes the user and the folders.
        settings = [f"{name}={value}" for name, value in STAGED.items()]
        machine.must("make", f"--directory={CHECKOUT}", "install", *settings)
        machine.must("useradd", "--no-create-home", "--groups=execaudit", "member")
        machine.must("useradd", "--no-create-home", "stranger")
        yield machine


@pytest.fixture(scope="session")
def installed(staged: Path) -> Iterator[Machine]:
    """A machine in which the service is installed, but not started."""
    with _installed(staged) as machine:
        yield machine


@pytest.fixture(scope="module")
def own_machine(staged: Path) -> Iterator[Machine]:
    """The same, for the tests of one module alone."""
    with _installed(staged) as machine:
        yield machine


@pytest.fixture
def machine(installed: Machine) -> Machine:
    """A machine whose service records."""
    installed.must("systemctl", "start", "execaudit")
    return installed
