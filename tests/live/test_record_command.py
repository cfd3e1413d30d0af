"""`execaudit record -- CMD`, and other ways to an end by itself, on the running kernel."""

from __future__ import annotations

import json
import os
import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from tests.commands import NO_FAILED, PATIENCE, await_found, execaudit, found, in_shell, recorder

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("exit 0", 0),
        ("echo hello; exit 3", 3),
        ("kill -KILL $$", 137),
        ("kill -TERM $PPID; exec sleep 60", 143),
    ],
)
def test_a_command_gives_the_status(command: str, status: int, tmp_path: Path) -> None:
    """`record -- CMD` ends with CMD and its status, 128 and the number for a signal; only CMD prints."""
    # Scripts beside the test may run the same command, but not with the folder of the test behind it.
    script = f"{command} # {tmp_path}"
    done = execaudit("--db", tmp_path / "x.db", "record", NO_FAILED, "--", "sh", "-c", script)
    rows = found(tmp_path / "x.db", "--args", script)

    assert (status, b"hello\n" if "hello" in command else b"") == (done.status, done.out)
    assert [["sh", "-c", script]] == [row["argv"] for row in rows if row["kind"] == "exec"]


def test_ctrl_c_is_for_the_command_too(tmp_path: Path) -> None:
    """Ctrl-C on a terminal reaches both: the command decides, here by dying of it."""
    # That of others is not to be taken for it: it may not run yet.
    sleep = shutil.copy("/bin/sleep", tmp_path / "sleep")
    with recorder(
        "--db", tmp_path / "x.db", "record", NO_FAILED, "--", sleep, "infinity", start_new_session=True
    ) as process:
        await_found(tmp_path / "x.db", "--exe", sleep)
        os.killpg(process.pid, signal.SIGINT)

        assert 130 == process.wait(PATIENCE)


def test_a_command_that_the_kernel_refuses(tmp_path: Path) -> None:
    """A file that may be executed but is no program ends with 126, and the refusal is recorded."""
    refused = tmp_path / "refused"
    refused.write_bytes(b"\x7fELF nonsense")
    refused.chmod(0o755)
    done = execaudit("--db", tmp_path / "x.db", "record", "--", refused)

    assert 126 == done.status
    assert b"Exec format error" in done.err.splitlines()[-1]
    assert ["ENOEXEC"] == [
        row["errno"] for row in found(tmp_path / "x.db", "--failed", "--args", str(refused))
    ]
    assert b'"event": "stopped"' in done.err


def test_it_stops_by_itself(tmp_path: Path) -> None:
    """--duration ends it with 0, and ends the command that takes longer."""
    alone = execaudit("--db", tmp_path / "x.db", "record", NO_FAILED, "--duration", "0s")
    long = execaudit("--db", tmp_path / "x.db", "record", NO_FAILED, "--duration", "0s", "--", "sleep", "60")

    assert (0, b"") == (alone.status, alone.out)
    assert 143 == long.status


def test_a_reader_of_the_log_that_goes_away(tmp_path: Path) -> None:
    """`--json-log - | head -1` ends without a traceback, and not before the command has."""
    loop = f"for i in $(seq 300); do /bin/true; done; touch {tmp_path}/done"
    record = f"$execaudit --db {tmp_path}/x.db record --json-log - -- sh -c '{loop}'"
    done = in_shell(f"{record} | head -1; echo ${{PIPESTATUS[0]}}; ls {tmp_path}/done", folder=tmp_path)
    line, status, made = done.out.splitlines()

    assert "kind" in json.loads(line)
    assert (b"0", f"{tmp_path}/done".encode()) == (status, made)
    assert b"Traceback" not in done.err
