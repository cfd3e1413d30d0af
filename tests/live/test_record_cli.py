"""`execaudit record`, as typed, on the running kernel: when it is ready, what it says, how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from execaudit import native
from tests.commands import (
    EXECAUDIT,
    NO_FAILED,
    PATIENCE,
    UNMOUNTED,
    Finished,
    await_found,
    execaudit,
    found,
    on_terminal,
    recorder,
    running,
)
from tests.live.recording import without_end

SECRET = "hunter2-in-argv"
# What is not mounted in a new container; nor can it be by who lacks this capability.
WITHOUT_TRACEFS = (*UNMOUNTED, "setpriv", "--bounding-set=-sys_admin", *EXECAUDIT)


# As much of a tracefs as says that there are no kprobes.
WITHOUT_KPROBES = (
    "unshare", "--mount", "sh", "-c",
    (
        "at=/sys/kernel/tracing; mount -t tmpfs none $at; for call in execve execveat; do "
        'mkdir -p $at/events/syscalls/sys_enter_$call $at/events/syscalls/sys_exit_$call; done; exec "$@"'
    ),
    "sh",
    *EXECAUDIT,
)  # fmt: skip


def ended(process: subprocess.Popen[bytes], how: signal.Signals) -> Finished:
    """Returns what a recorder said after it was asked to stop."""
    process.send_signal(how)
    out, err = process.communicate(timeout=PATIENCE)
    return Finished(process.returncode, out or b"", err or b"")


def program(folder: Path, name: str) -> Path:
    """Makes a program that nothing else on this machine starts."""
    return Path(shutil.copy("/bin/true", folder / name))


def open_files(pid: int) -> set[str]:
    """Returns what a process has open."""
    return {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}


def ancestors_in_proc(pid: int) -> list[int]:
    """Returns a running process and its ancestors, the first process last."""
    found = []
    while pid:
        found.append(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return found


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
    with (
        (folder / "log").open("wb") as log,
        recorder("--db", database, "record", "--json-log", "-", stdout=log) as process,
    ):
        subprocess.run([first, SECRET], check=True)
        with contextlib.suppress(FileNotFoundError):
            subprocess.run([folder / "missing", SECRET], check=False)
        seen = await_found(database, "--exe", first)
        second = execaudit("--db", database, "record", "--duration", "1s")
        files = open_files(process.pid)
        subprocess.run([last], check=True)
        end = ended(process, signal.SIGINT)
    return Session(
        database, files, second, seen, process.pid, end._replace(out=(folder / "log").read_bytes())
    )


def test_an_exec_can_be_found_while_it_records(session: Session) -> None:
    """Another process finds an exec in the history without the recorder having stopped."""
    assert [SECRET] == [row["argv"][1] for row in session.while_recording]


def test_its_family_goes_up_to_the_first_process(session: Session) -> None:
    """`show` and `tree` know the processes that ran before, as /proc has them."""
    truth = [*reversed(ancestors_in_proc(os.getpid())), session.while_recording[0]["pid"]]
    key = session.while_recording[0]["id"]

    shown = json.loads(execaudit("--db", session.database, "show", key, "--format", "json").out)
    [*above, drawn] = execaudit("--db", session.database, "tree", "--id", key, "--format", "jsonl").rows()

    assert truth == [*(row["pid"] for row in reversed(shown["ancestors"])), shown["exec"]["pid"]]
    assert {"snapshot"} == {row["kind"] for row in shown["ancestors"]}
    assert truth == [*(row["pid"] for row in above), drawn["pid"]]
    assert ([*range(len(truth))], key) == ([*(row["depth"] for row in above), drawn["depth"]], drawn["id"])


def test_sigint_stops_in_order(session: Session) -> None:
    """What ran just before Ctrl-C is stored, the recorder says how much it had, and ends with 0."""
    stopped = json.loads(session.end.err.splitlines()[-1])

    assert (0, "stopped") == (session.end.status, stopped["event"])
    assert 1 == len(found(session.database, "--comm", "last"))
    assert stopped["execs"] == len([row for row in found(session.database) if row["kind"] != "snapshot"])


def test_failed_execs_are_recorded(session: Session) -> None:
    """Without --no-failed, the syscall tracepoints are attached."""
    assert "anon_inode:[perf_event]" in session.files
    assert ["ENOENT"] == [row["errno"] for row in found(session.database, "--failed", "--args", SECRET)]


def test_the_json_log_on_standard_output_is_alone_there(session: Session) -> None:
    """`--json-log -` writes the records of the history, and nothing else, to standard output."""
    logged = [row for row in session.end.rows() if row["kind"] != "gap"]

    assert logged
    assert sorted(map(without_end, found(session.database)), key=str) == sorted(logged, key=str)


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
    """The service manager hears READY=1 when execs are recorded, and STOPPING=1 after SIGTERM."""
    marked = [program(tmp_path, f"marked-{number}") for number in range(3)]
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    channel.bind(str(tmp_path / "notify"))
    channel.settimeout(PATIENCE)
    database = tmp_path / "history.db"
    with (
        channel,
        running(
            "--db", database, "record", "--no-failed", env={"NOTIFY_SOCKET": str(tmp_path / "notify")}
        ) as process,
    ):
        assert b"READY=1" == channel.recv(100)
        for each in marked:
            subprocess.run([each], check=True)
        with contextlib.suppress(FileNotFoundError):
            subprocess.run([tmp_path / "missing"], check=False)
        files = open_files(process.pid)
        end = ended(process, signal.SIGTERM)

        said = [channel.recv(200)]
        while said[-1] != b"STOPPING=1":
            said.append(channel.recv(200))
    assert 0 == end.status
    # A machine that works at something else may have gaps, or records in the queue.
    assert any(re.match(rb"STATUS=\d+ execs, [\d.]+/s; (no|\d+) gaps", each) for each in said)
    assert [str(each) for each in marked] == [row["exe"] for row in found(database, "--exe", f"{tmp_path}/*")]
    # --no-failed: nothing slows the syscalls, and no refused exec is there.
    assert "anon_inode:[perf_event]" not in files
    assert [] == found(database, "--failed")


def test_a_terminal_shows_execs(tmp_path: Path) -> None:
    """On a terminal each exec is a row; the talk is on stderr."""
    marked = program(tmp_path, "marked")
    command = ("record", NO_FAILED, "--", marked, "a\x1b[31m\nb")
    shown = on_terminal("--db", tmp_path / "x.db", *command, env={"COLUMNS": "200", "NO_COLOR": "1"})
    lines = shown.out.decode().splitlines()
    [row] = [line for line in lines if line.split()[6:7] == [str(marked)]]

    assert lines[0].startswith("TIME ")
    assert row.endswith(f"{marked} $'a\\x1b[31m\\nb'")
    assert b"\x1b" not in shown.out
    # Between them there may be talk of gaps, on a machine that works at something else.
    first, *_, last = [json.loads(line) for line in shown.err.splitlines()]
    assert ("recording", "stopped") == (first["event"], last["event"])
    assert (native.fast is not None) == first["compiled"]


def test_quiet_on_a_terminal(tmp_path: Path) -> None:
    """--quiet shows no exec, only the talk: without colours for NO_COLOR, and safe."""
    marked, path = program(tmp_path, "marked"), tmp_path / "a\x1b[31mb.db"
    command = ("record", NO_FAILED, "--quiet", "--", marked)
    shown = on_terminal("--db", path, *command, stderr=True, env={"NO_COLOR": "1"})
    ready, *_, stopped = shown.out.splitlines()

    assert 0 == shown.status
    assert b"recording" in ready
    assert b"a\\x1b[31mb.db" in ready
    assert b"stopped" in stopped
    assert b"marked" not in shown.out
    assert b"\x1b" not in shown.out


def test_a_killed_recorder_leaves_a_good_history(tmp_path: Path) -> None:
    """After kill -9, what was stored can be read; the next recorder goes on, and says what it cannot know."""
    marked = program(tmp_path, "marked")
    with recorder("--db", tmp_path / "x.db", "record", NO_FAILED) as process:
        subprocess.run([marked, "1"], check=True)
        await_found(tmp_path / "x.db", "--exe", marked)
        killed_ns = time.time_ns()
        process.kill()
        process.wait(PATIENCE)
    after = found(tmp_path / "x.db", "--exe", marked)
    again = execaudit("--db", tmp_path / "x.db", "record", NO_FAILED, "--", marked, "2")

    assert 0 == again.status
    assert ["1"] == [row["argv"][1] for row in after]
    first, second = execaudit("--db", tmp_path / "x.db", "query", "--exe", marked).rows()
    with contextlib.closing(sqlite3.connect(tmp_path / "x.db")) as history:
        gaps = history.execute('SELECT reason, ts_from, ts_to, "count" FROM gap').fetchall()
        times = [ts for (ts,) in history.execute("SELECT ts FROM exec WHERE kind = 0 ORDER BY id")]

    assert ["1", "2"] == [first["argv"][1], second["argv"][1]]
    # A machine that works at something else may add gaps of other reasons: this is about the one of the kill.
    assert [gap[0] for gap in gaps].count("recorder_stopped") == 1, gaps
    [(begin_ns, end_ns, count)] = [found for reason, *found in gaps if reason == "recorder_stopped"]
    assert count is None
    assert killed_ns - PATIENCE * 1e9 < begin_ns < killed_ns < end_ns < max(times)


def test_without_tracefs(tmp_path: Path) -> None:
    """Where it may not mount tracefs it ends with 5 and the command that mends it, and is never ready."""
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


def test_probe_that_the_kernel_does_not_have(tmp_path: Path) -> None:
    """A kernel without kprobes is told from one that refuses them: one line says what to use, status 5."""
    done = execaudit("--db", tmp_path / "x.db", "record", "--probe", "kprobe", before=WITHOUT_KPROBES)

    assert 5 == done.status
    assert done.failed_in_one_line()
    assert b"no kprobes" in done.err
    assert b"--probe tracepoint" in done.err


def test_no_failed_needs_no_tracefs(tmp_path: Path) -> None:
    """The way out that the message names works."""
    marked = program(tmp_path, "marked")
    done = execaudit("--db", tmp_path / "x.db", "record", "--no-failed", "--", marked, before=WITHOUT_TRACEFS)

    assert 0 == done.status, done.err
    assert 1 == len(found(tmp_path / "x.db", "--exe", marked))
