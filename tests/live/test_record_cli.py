"""`execaudit record`, as typed, on the running kernel: when it is ready, what it says, how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.commands import EXECAUDIT, PATIENCE, Finished, execaudit, in_shell, line_of, on_terminal, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SECRET = "hunter2-in-argv"
# An empty file system over each: what is not there in a new container.
WITHOUT_TRACEFS = (
    "unshare", "--mount", "sh", "-c",
    'for at in /sys/kernel/tracing /sys/kernel/debug; do [ ! -d $at ] || mount -t tmpfs none $at; done; exec "$@"', "sh",
    *EXECAUDIT,
)  # fmt: skip


@contextlib.contextmanager
def recorder(
    *arguments: str | Path, env: Mapping[str, str] | None = None, before: Sequence[str] = EXECAUDIT, **streams: Any  # noqa: ANN401  # Popen's
) -> Iterator[subprocess.Popen[bytes]]:
    """Records from when it says that it does; what it said before that must be nothing."""
    with running(*arguments, env=env, before=before, **streams) as process:
        first = line_of(process.stderr)
        assert b'"event": "recording"' in first, first
        yield process


def ended(process: subprocess.Popen[bytes], how: signal.Signals) -> Finished:
    """Returns what a recorder said after it was asked to stop."""
    process.send_signal(how)
    out, err = process.communicate(timeout=PATIENCE)
    return Finished(process.returncode, out or b"", err or b"")


def program(folder: Path, name: str) -> Path:
    """Makes a program that nothing else on this machine starts."""
    return Path(shutil.copy("/bin/true", folder / name))


def found(database: Path, *filters: str | Path) -> list[dict[str, Any]]:
    """Returns what a query finds."""
    done = execaudit("--db", database, "query", *filters)
    assert 0 == done.status, done.err
    return done.rows()


def open_files(pid: int) -> set[str]:
    """Returns what a process has open."""
    return {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}


class Session(NamedTuple):
    """What was seen around one recorder that SIGINT ended."""

    database: Path
    files: set[str]
    second: Finished
    while_recording: list[dict[str, Any]]
    pid: int
    end: Finished


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A recorder with a JSON log on standard output, and some execs."""
    folder = tmp_path_factory.mktemp("session")
    database = folder / "history.db"
    first, last = program(folder, "first"), program(folder, "last")
    with recorder("--db", database, "record", "--json-log", "-", stdout=(folder / "log").open("wb")) as process:
        subprocess.run([first, SECRET], check=True)
        with contextlib.suppress(FileNotFoundError):
            subprocess.run([folder / "missing", SECRET], check=False)
        seen: list[dict[str, Any]] = []
        deadline = time.monotonic() + PATIENCE
        while not seen and time.monotonic() < deadline:
            seen = found(database, "--exe", first)
        second = execaudit("--db", database, "record", "--duration", "1s")
        files = open_files(process.pid)
        subprocess.run([last], check=True)
        end = ended(process, signal.SIGINT)
    return Session(database, files, second, seen, process.pid, end._replace(out=(folder / "log").read_bytes()))


def test_an_exec_can_be_found_while_it_records(session: Session) -> None:
    """Another process finds an exec in the history without the recorder having stopped."""
    assert [SECRET] == [row["argv"][1] for row in session.while_recording]


def test_sigint_stops_in_order(session: Session) -> None:
    """What ran just before Ctrl-C is stored, the recorder says how much it had, and ends with 0."""
    stopped = json.loads(session.end.err.splitlines()[-1])

    assert (0, "stopped", 0) == (session.end.status, stopped["event"], stopped["missed"])
    assert 1 == len(found(session.database, "--comm", "last"))
    assert stopped["execs"] == len(found(session.database))


def test_failed_execs_are_recorded(session: Session) -> None:
    """Without --no-failed, the syscall tracepoints are attached."""
    assert "anon_inode:[perf_event]" in session.files
    assert ["ENOENT"] == [row["errno"] for row in found(session.database, "--failed", "--args", SECRET)]


def test_the_json_log_on_standard_output_is_alone_there(session: Session) -> None:
    """`--json-log -` writes the lines of a query, and nothing else, to standard output."""
    assert found(session.database) == sorted(session.end.rows(), key=lambda row: row["time"])


def test_diagnostics_have_no_arguments(session: Session) -> None:
    """Each line of talk is JSON when stderr is no terminal, and no command line is in it."""
    events = [json.loads(line)["event"] for line in session.end.err.splitlines()]

    assert "stopped" == events[-1]
    assert SECRET.encode() not in session.end.err


def test_a_second_recorder_is_refused(session: Session) -> None:
    """One database has one writer: the second is told the pid of the first."""
    assert 1 == session.second.status
    assert session.second.failed_in_one_line()
    assert b"(pid %d)" % session.pid in session.second.err


def test_ready_means_recording(tmp_path: Path) -> None:
    """systemd hears READY=1 once an exec would be recorded, and STOPPING=1; SIGTERM ends in order."""
    marked = [program(tmp_path, f"marked-{number}") for number in range(3)]
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    channel.bind(str(tmp_path / "notify"))
    channel.settimeout(PATIENCE)
    database = tmp_path / "history.db"
    with channel, running("--db", database, "record", "--no-failed", env={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as process:
        assert b"READY=1" == channel.recv(100)
        for each in marked:
            subprocess.run([each], check=True)
        with contextlib.suppress(FileNotFoundError):
            subprocess.run([tmp_path / "missing"], check=False)
        files = open_files(process.pid)
        end = ended(process, signal.SIGTERM)

        assert b"STOPPING=1" == channel.recv(100)
    assert 0 == end.status
    assert [str(each) for each in marked] == [row["exe"] for row in found(database, "--exe", f"{tmp_path}/*")]
    # --no-failed: nothing slows the syscalls, and no refused exec is there.
    assert "anon_inode:[perf_event]" not in files
    assert [] == found(database, "--failed")


@pytest.mark.parametrize(
    ("command", "status"),
    [("exit 0", 0), ("exit 3", 3), ("kill -KILL $$", 137), ("kill -TERM $PPID; sleep 60", 143)],
)
def test_a_command_gives_the_status(command: str, status: int, tmp_path: Path) -> None:
    """`record -- CMD` ends with the command, and as it: 128 and the signal's number if one killed it."""
    done = execaudit("--db", tmp_path / "x.db", "record", "--", "sh", "-c", command)
    rows = found(tmp_path / "x.db", "--args", command)

    assert status == done.status
    assert [["sh", "-c", command]] == [row["argv"] for row in rows if row["kind"] == "exec"]


def test_ctrl_c_is_for_the_command_too(tmp_path: Path) -> None:
    """Ctrl-C on a terminal reaches both: the command decides, here by dying of it."""
    with recorder("--db", tmp_path / "x.db", "record", "--", "sleep", "60", start_new_session=True) as process:
        while not found(tmp_path / "x.db", "--comm", "sleep"):
            pass
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
    assert ["ENOEXEC"] == [row["errno"] for row in found(tmp_path / "x.db", "--failed", "--args", str(refused))]
    assert b'"event": "stopped"' in done.err


def test_it_stops_by_itself(tmp_path: Path) -> None:
    """--duration ends it with 0, and ends the command that takes longer."""
    alone = execaudit("--db", tmp_path / "x.db", "record", "--duration", "1s")
    long = execaudit("--db", tmp_path / "x.db", "record", "--duration", "1s", "--", "sleep", "60")

    assert (0, b"") == (alone.status, alone.out)
    assert 143 == long.status


def test_a_terminal_shows_execs(tmp_path: Path) -> None:
    """On a terminal each exec is a row; the talk is on stderr."""
    marked = program(tmp_path, "marked")
    shown = on_terminal("--db", tmp_path / "x.db", "record", "--", marked, "a\x1b[31m\nb")
    lines = shown.out.decode().splitlines()
    [row] = [line for line in lines if line.split()[5:6] == [str(marked)]]

    assert lines[0].startswith("TIME ")
    assert row.endswith(f"{marked} $'a\\x1b[31m\\nb'")
    assert b"\x1b" not in shown.out
    assert [b"recording", b"stopped"] == [json.loads(line)["event"].encode() for line in shown.err.splitlines()]


@pytest.mark.parametrize("no_colour", [True, False])
def test_quiet_on_a_terminal(no_colour: bool, tmp_path: Path) -> None:  # noqa: FBT001  # pytest's
    """--quiet shows no exec; the talk for people has colours, unless NO_COLOR is set."""
    env = {"NO_COLOR": "1"} if no_colour else {}
    path = tmp_path / "a\x1b[31mb.db"
    shown = on_terminal("--db", path, "record", "--quiet", "--", "true", stderr=True, env={"TERM": "xterm", **env})

    assert 0 == shown.status
    assert 2 == shown.out.count(b"\n")
    assert b"true" not in shown.out.lower().replace(b"failed", b"").replace(b"=true", b"").replace(b"true\x1b[0m", b"")
    assert no_colour == (b"\x1b" not in shown.out)
    assert b"a\\x1b[31mb.db" in shown.out


def test_nothing_is_printed_into_a_pipe(tmp_path: Path) -> None:
    """Where standard output is no terminal, only the command writes there."""
    done = execaudit("--db", tmp_path / "x.db", "record", "--", "echo", "hello")

    assert (0, b"hello\n") == (done.status, done.out)


def test_a_reader_of_the_log_that_goes_away(tmp_path: Path) -> None:
    """`record --json-log - | head -1` ends when nobody reads any more, without a traceback."""
    script = f"$execaudit --db {tmp_path}/x.db record --json-log - -- sh -c 'while :; do /bin/true; done' | head -1; echo ${{PIPESTATUS[0]}}"
    done = in_shell(script, folder=tmp_path)
    line, status = done.out.splitlines()

    assert "kind" in json.loads(line)
    assert b"0" == status
    assert b"Traceback" not in done.err


def test_a_killed_recorder_leaves_a_good_history(tmp_path: Path) -> None:
    """After kill -9, what was stored can be read, and the next recorder goes on."""
    marked = program(tmp_path, "marked")
    with recorder("--db", tmp_path / "x.db", "record") as process:
        subprocess.run([marked, "1"], check=True)
        while not found(tmp_path / "x.db", "--exe", marked):
            pass
        process.kill()
        process.wait(PATIENCE)
    after = found(tmp_path / "x.db", "--exe", marked)
    again = execaudit("--db", tmp_path / "x.db", "record", "--", marked, "2")

    assert 0 == again.status
    assert ["1"] == [row["argv"][1] for row in after]
    assert ["1", "2"] == [row["argv"][1] for row in found(tmp_path / "x.db", "--exe", marked)]


def test_without_tracefs(tmp_path: Path) -> None:
    """Without tracefs it ends with 5 and the command that mends it, and is never ready."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    channel.bind(str(tmp_path / "notify"))
    arguments = ("--db", tmp_path / "x.db", "record", "--duration", "1s")
    with channel:
        done = execaudit(*arguments, before=WITHOUT_TRACEFS, env={"NOTIFY_SOCKET": str(tmp_path / "notify")})

        with pytest.raises(BlockingIOError):
            channel.recv(100)
    assert 5 == done.status
    assert done.failed_in_one_line()
    assert b"mount -t tracefs" in done.err


def test_no_failed_needs_no_tracefs(tmp_path: Path) -> None:
    """The way out that the message names works."""
    marked = program(tmp_path, "marked")
    done = execaudit("--db", tmp_path / "x.db", "record", "--no-failed", "--", marked, before=WITHOUT_TRACEFS)

    assert 0 == done.status, done.err
    assert 1 == len(found(tmp_path / "x.db", "--exe", marked))
