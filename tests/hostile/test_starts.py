"""What he leaves running, or holds, when the service starts."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tests.commands import NOBODY, PATIENCE
from tests.hostile.attacker import AS_ROOT_OF_HIS_OWN
from tests.hostile.service import GROUP, Service

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hostile.attacker import Attacker
    from tests.hostile.honest import Honest
    from tests.hostile.service import Installed


def test_start_beside_all_that_is_hard_to_look_at(
    installed: Installed, place: Path, attacker: Attacker, honest: Honest
) -> None:
    """An inode above 2^63, a dead file system, endless arguments, and a reader who would hold the lock."""
    service = Service(installed, place)
    with service.recording():
        honest.run(20)
    mount = place / "dead"
    mount.mkdir()
    overlay = (*attacker.script("overlay.sh"), attacker.program("staying"))
    # Mounts that others than its owner may enter are root's to make.
    dead = ("unshare", "--mount", attacker.program("dead_fuse"), attacker.program("staying"), mount)
    # Arguments of 3 GB, which need not be there.
    long_ = (attacker.program("long_cmdline"), "3000")
    lock = ("flock", "--shared", "--nonblock", f"{service.db}.lock", "true")
    with contextlib.ExitStack() as stack:
        inode = stack.enter_context(attacker.staying(*AS_ROOT_OF_HIS_OWN, *overlay)).strip()
        stack.enter_context(attacker.staying(*dead, user=0))
        stack.enter_context(attacker.staying(*long_))
        with attacker.start(*lock, groups=(GROUP,)) as reader:
            assert b"Permission denied" in reader.communicate(timeout=PATIENCE)[1]
        with service.recording():
            honest.run(20)

    assert set() == honest.missing_in(service)
    # tests/hostile/test_records.py runs such a program too, which does not stay.
    (strange,) = [row for row in service.rows("--exe", "*/both/program") if row["kind"] == "snapshot"]
    assert (inode, NOBODY) == (strange["inode"], strange["uid"])
    unreachable = service.row("--exe", f"{mount}/program")
    assert ["program", str(mount)] == unreachable["argv"]
    endless = service.row("--exe", f"{attacker.folder}/long_cmdline")
    assert ("limit", None) == (endless["truncated"], endless["argv_bytes"])
