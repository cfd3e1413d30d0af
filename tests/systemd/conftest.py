"""Fixtures: one booted machine for all tests of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.installing import CHECKOUT, STAGED
from tests.systemd.machine import Machine, booted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def installed(staged: Path) -> Iterator[Machine]:
    """A machine in which the service is installed, but not started."""
    with booted(staged) as machine:
        # The files are there already. This makes the user and the folders.
        settings = [f"{name}={value}" for name, value in STAGED.items()]
        machine.must("make", f"--directory={CHECKOUT}", "install", *settings)
        machine.must("useradd", "--no-create-home", "--groups=execaudit", "member")
        machine.must("useradd", "--no-create-home", "stranger")
        yield machine


@pytest.fixture
def machine(installed: Machine) -> Machine:
    """A machine whose service records."""
    installed.must("systemctl", "start", "execaudit")
    return installed
