"""Recording where tracefs is not mounted: it is, for the process that loads the probe alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.commands import EXECAUDIT, PATIENCE, UNMOUNTED, execaudit, found, line_of, recorder, running

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def keeper() -> Iterator[int]:
    """The pid of a process in a namespace without tracefs."""
    with running("sh", "-c", "echo ready; exec sleep infinity", before=UNMOUNTED) as process:
        assert b"ready\n" == line_of(process.stdout)
        yield process.pid


def beside(pid: int) -> tuple[str, ...]:
    """Returns what a command is to begin with, to run in the mount namespace of that process."""
    return ("nsenter", f"--target={pid}", "--mount", "--")


def namespace(pid: int) -> int:
    """Returns the number of a process's mount namespace."""
    return Path(f"/proc/{pid}/ns/mnt").stat().st_ino


def mounted(pid: int, kind: str) -> list[str]:
    """Returns where this process sees file systems of that kind."""
    lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    return [line.split()[4] for line in lines if line.partition(" - ")[2].split()[0] == kind]


def test_it_records_failed_execs_all_the_same(keeper: int, tmp_path: Path) -> None:
    """Nobody else sees the mount, and the recorder stays in the namespace of who started it."""
    marked = Path(shutil.copy("/bin/true", tmp_path / "marked"))
    refused = tmp_path / "refused"
    later = tmp_path / "later"
    later.mkdir()
    ours = mounted(os.getpid(), "tracefs")
    with recorder("--db", tmp_path / "x.db", "record", before=(*beside(keeper), *EXECAUDIT)) as process:
        subprocess.run([marked], check=True)
        subprocess.run([*beside(keeper), marked], check=True)
        with pytest.raises(FileNotFoundError):
            subprocess.run([refused], check=False)
        namespaces = [namespace(keeper), namespace(process.pid)]
        seen = [mounted(keeper, "tracefs"), mounted(process.pid, "tracefs")]
        subprocess.run([*beside(keeper), "mount", "-t", "tmpfs", "none", later], check=True)
        seen_later = mounted(process.pid, "tmpfs")
        process.send_signal(signal.SIGTERM)
        status = process.wait(PATIENCE)

    rows = found(tmp_path / "x.db", "--exe", marked)
    assert 0 == status
    assert 1 == len(found(tmp_path / "x.db", "--failed", "--filename", refused))
    outside, inside = (row["mnt_ns"] for row in rows)
    assert outside in {None, namespace(os.getpid())}  # a container has not that of pid 1
    assert inside == namespaces[0]
    assert namespaces[0] == namespaces[1]
    assert [[], []] == seen
    assert str(later) in seen_later
    assert ours == mounted(os.getpid(), "tracefs")


def test_the_doctor_says_so(keeper: int, tmp_path: Path) -> None:
    """It looks at the machine as the recorder would, and leaves nothing mounted."""
    before = (*beside(keeper), *EXECAUDIT)
    done = execaudit("--db", tmp_path / "x.db", "doctor", "--format", "json", before=before)
    answer = json.loads(done.out)
    checks = {check["name"]: check for check in answer["checks"]}

    assert ["database"] == [name for name, check in checks.items() if not check["ok"]]
    assert "not mounted: `record` mounts it for itself alone" == checks["tracefs"]["detail"]
    assert answer["probes"]
    assert [] == mounted(keeper, "tracefs")
