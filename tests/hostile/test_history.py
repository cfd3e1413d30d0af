"""He makes the history large: it keeps its limits, its disk keeps its room, and others' execs stay."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.commands import PATIENCE
from tests.disks import small_disk
from tests.hostile.attacker import new_word
from tests.hostile.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.hostile.attacker import Attacker
    from tests.hostile.honest import Honest
    from tests.hostile.service import Installed

_LIMIT, _SMALLER_LIMIT = 5_000_000, 3_000_000
_OTHER = 40_011
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


def test_a_chain_of_execs_in_one_process_does_not_push_others_out(
    installed: Installed, place: Path, attacker: Attacker
) -> None:
    """12 000 execs of one process fill the history; they go when there is need, and others' stay."""
    limits = "[retention]\nmax_size = '{}'\nmin_age = '3s'\n"
    service = Service(installed, place, limits.format(_LIMIT))
    theirs = new_word()
    sizes = []

    def others_are_kept(name: str) -> None:
        label = f"{theirs}-{name}"
        attacker.run(attacker.program("storm"), attacker.noop, "40", label, "0", user=_OTHER)
        deadline = time.monotonic() + PATIENCE
        while len(service.rows("--comm", "noop", "--args", label)) < 40:
            service.must_live()
            assert time.monotonic() < deadline, service.said()
        sizes.append(service.db.stat().st_size)

    def chain(count: int) -> tuple[str, ...]:
        return attacker.program("chain"), str(count), "250", new_word()

    with contextlib.ExitStack() as staying:
        with service.recording():
            staying.enter_context(attacker.staying(*chain(12_000)))
            others_are_kept("beside")
            assert max(sizes) < 1.3 * _LIMIT, service.said()
        time.sleep(3)
        service.config.write_text(limits.format(_SMALLER_LIMIT))
        with service.recording():
            # A recorder looks when it starts, and then once a minute: it may take both.
            deadline = time.monotonic() + 60 + PATIENCE
            while service.db.stat().st_size > _SMALLER_LIMIT:
                assert time.monotonic() < deadline, service.said()
                time.sleep(0.1)
            sizes.clear()
            others_are_kept("after")
            staying.enter_context(attacker.staying(*chain(3000)))
            others_are_kept("beside-again")
    assert max(sizes) < 1.3 * _SMALLER_LIMIT, (sizes, service.said())


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
