"""He makes the history large: it keeps its limits, its disk keeps its room, and others' execs stay."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.disks import small_disk
from tests.hostile.attacker import new_word
from tests.hostile.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.hostile.attacker import Attacker
    from tests.hostile.honest import Honest
    from tests.hostile.service import Installed

_LIMIT = 5_000_000
_DISK_BYTES = 160 << 20


@pytest.fixture
def disk(place: Path) -> Iterator[Path]:
    """A small file system, an ext4 in a file."""
    with small_disk(place, _DISK_BYTES) as folder:
        folder.chmod(0o755)
        yield folder


def test_ancestors_of_what_lives_do_not_push_others_out(
    installed: Installed, place: Path, attacker: Attacker, honest: Honest
) -> None:
    """15 MB of arguments in a chain of execs whose last one lives, within a limit of 5 MB."""
    service = Service(installed, place, f"[retention]\nmax_size = '{_LIMIT}'\n")
    chain = (attacker.program("chain"), "150", "100000", new_word())
    with service.recording():
        honest.run(40)
        honest.await_stored(service)
        with attacker.staying(*chain):
            honest.run(40)
            honest.await_stored(service)
        pruned = service.said().count('"event": "pruned"')
    assert set() == honest.missing_in(service)
    # Root's execs may go a quarter beyond the limit.
    assert service.db.stat().st_size < 1.5 * _LIMIT, service.said()
    assert pruned < 5, service.said()


def test_two_megabytes_of_arguments_again_and_again_do_not_fill_the_disk(
    installed: Installed, disk: Path, attacker: Attacker, honest: Honest
) -> None:
    """200 MB of them, no two alike, where the disk has 160, with the settings that are shipped."""
    service = Service(installed, disk)
    with service.recording():
        honest.run(40)
        honest.await_stored(service)
        assert "100\n" == attacker.run(attacker.program("storm"), attacker.noop, "100", new_word(), "2000")
        honest.run(40)
        honest.await_stored(service)
    assert set() == honest.missing_in(service)
    left = os.statvfs(disk)
    assert left.f_bavail * left.f_frsize > _DISK_BYTES // 40, service.said()
