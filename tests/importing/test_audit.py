"""`execaudit import` of audit logs, as a user runs it."""

from __future__ import annotations

import gzip
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from execaudit.store.writer import Store
from tests.commands import EXECAUDIT, execaudit, found
from tests.histories import begin_run
from tests.importing import audit_logs
from tests.importing.audit_logs import START, session, stamp, syscall, write
from tests.truth.processes import await_true

if TYPE_CHECKING:
    from pathlib import Path

    from tests.commands import Finished


def imported(database: Path, *arguments: str | Path, **more: Any) -> Finished:  # noqa: ANN401  # those of execaudit
    """Imports logs of web1."""
    return execaudit("--db", database, "import", "--host", "web1", *arguments, **more)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history of the session and of the machines."""
    folder = tmp_path_factory.mktemp("imported")
    logs = (
        write(folder, "audit.log", session()),
        write(folder, "other.log", audit_logs.machines()),
    )
    done = imported(folder / "history.db", *logs)
    assert (0, b"") == (done.status, done.out)
    assert b"imported 14, skipped 7 (other events: 7)\n" == done.err
    return folder / "history.db"


@pytest.fixture(scope="module")
def rows(database: Path) -> dict[str, dict[str, Any]]:
    """The session's execs by comm, and by `failed`."""
    rows = found(database, "--host", "web1")
    return {"failed" if row["kind"] == "failed" else row["comm"]: row for row in rows}


def test_what_the_log_has_is_in_the_record(rows: dict[str, dict[str, Any]]) -> None:
    """And what it cannot know is null."""
    bash = rows["bash"]

    assert {
        "time": "2026-10-05T16:19:58.000000900Z", "host": "web1", "kind": "exec", "pid": 2000, "tid": 2000,
        "ppid": 1990, "uid": 1000, "euid": 1000, "gid": 1000, "egid": 1000, "auid": 1000, "session": 3,
        "user": "alice", "login_user": "alice", "tty": "pts/1", "comm": "bash", "filename": "/bin/bash",
        "exe": "/usr/bin/bash", "cwd": "/home/alice", "argv": ["-bash"], "argc": 1, "argv_bytes": 6,
        "command": "-bash", "truncated": None, "argv_missing": None, "redacted": None, "errno": None, "inode": "131191",
        "device": "253:1", "interpreter": None, "privileged": None, "parent_id": None, "parent_comm": None,
        "cgroup": None, "container_id": None, "root": None, "mnt_ns": None, "traced": None, "nlink": None,
        "ended": "unknown", "exit_code": None, "exit_signal": None, "duration_ns": None, "replaced_by": None,
        "id": bash["id"], "boot_id": bash["boot_id"],
    } == bash  # fmt: skip
    assert "8" == bash["boot_id"][14]


def test_values_that_are_written_in_hexadecimal(rows: dict[str, dict[str, Any]]) -> None:
    """Blanks and quotes are in them, and arguments that are split over records."""
    assert ["/bin/sh", "./deploy.sh", 'a "b"'] == rows["deploy.sh"]["argv"]
    assert "/srv/my app" == rows["deploy.sh"]["cwd"]
    assert ["curl", "é  \nA", '"'] == rows["curl"]["argv"]
    assert rows["curl"]["truncated"] is None


def test_a_script_has_an_interpreter(rows: dict[str, dict[str, Any]]) -> None:
    """The file that runs is the interpreter's, as `exe` is."""
    script = rows["deploy.sh"]

    assert ("./deploy.sh", "/bin/sh", "131192") == tuple(
        script[name] for name in ("filename", "interpreter", "inode")
    )


def test_a_failed_exec(rows: dict[str, dict[str, Any]]) -> None:
    """It has the path and the error. Its arguments are in no record: PROCTITLE is the caller's."""
    failed = rows["failed"]

    assert ("ENOENT", "/usr/local/bin/jq", "sh", None) == tuple(
        failed[name] for name in ("errno", "filename", "comm", "argc")
    )
    assert ([], "lost", [[0, None]]) == (failed["argv"], failed["truncated"], failed["argv_missing"])
    assert failed["inode"] is None


def test_lineage_is_inferred(rows: dict[str, dict[str, Any]]) -> None:
    """By pids: a child of the parent's last exec, or the next program of the same process."""
    assert rows["bash"]["id"] == rows["deploy.sh"]["parent_id"]
    assert rows["deploy.sh"]["id"] == rows["curl"]["parent_id"] == rows["sudo"]["parent_id"]
    assert rows["deploy.sh"]["id"] == rows["failed"]["parent_id"]
    assert rows["sudo"]["id"] == rows["less"]["parent_id"]
    assert ("replaced", rows["less"]["id"]) == (rows["sudo"]["ended"], rows["sudo"]["replaced_by"])


def test_privileges_and_logins(rows: dict[str, dict[str, Any]]) -> None:
    """A setuid file shows in its mode. An unset login is null."""
    assert ("setuid", 1000, 0) == tuple(rows["sudo"][name] for name in ("privileged", "uid", "euid"))
    assert (None, None, None) == tuple(rows["less"][name] for name in ("auid", "session", "tty"))


def test_machines_have_their_numbers(database: Path) -> None:
    """Execve and execveat of each, and no other call. The arguments are those of PROCTITLE."""
    found_ = found(database, "--host", "db1")

    assert [100, 100, 101, 101, 102, 102, 103, 103] == [row["pid"] for row in found_]
    assert {("ls", "-l")} == {tuple(row["argv"]) for row in found_}


def test_other_commands_answer(database: Path, rows: dict[str, dict[str, Any]]) -> None:
    """Trees, descendants, counts, and what was not recorded."""
    root = rows["bash"]["id"]
    tree = execaudit("--db", database, "tree", "--id", root)
    below = execaudit("--db", database, "query", "--under", root, "--count")
    stats = execaudit("--db", database, "query", "--host", "web1", "--since", "@1", "--count", silence=True)

    assert [line.split()[-1] for line in tree.out.decode().splitlines() if "sudo -l" in line] == ["-l"]
    assert b"5" == below.out.split()[0]
    assert b"before 2026-10-05 16:19:57.500" in stats.err
    assert b"nobody has recorded since 2026-10-05 16:20:01.000 (web1)" in stats.err


def test_nothing_doubles(rows: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    """A log that has grown, was compressed, or comes through a pipe, has the same ids."""
    late = stamp(9000, 950)
    more = syscall(late, 2009, 2000, '"id"', '"/usr/bin/id"') + f'\ntype=EXECVE {late}: argc=1 a0="id"\n'
    older, newer = session().split("\n", 14)[-1], session() + more
    zipped = tmp_path / "audit.log.1.gz"
    zipped.write_bytes(gzip.compress(session().encode()))
    history = tmp_path / "again.db"

    with write(tmp_path, "older", older).open("rb") as pipe:
        assert b"imported 4, skipped 2 (other events: 2)\n" == imported(history, "-", stdin=pipe).err
    done = imported(history, write(tmp_path, "audit.log", newer), zipped)

    assert b"imported 3, skipped 9 (other events: 5, already there: 4)\n" == done.err
    assert sorted(row["id"] for row in rows.values()) == sorted(
        row["id"] for row in found(history) if row["comm"] != "id"
    )
    # The times of both are one: nobody says that there is something between them.
    said = execaudit("--db", history, "query", "--count", silence=True).err
    assert 1 == said.count(b"gap: "), said


def test_rejects_are_kept(tmp_path: Path) -> None:
    """With the line where they begin, the reason, and what they are."""
    lines = [
        "Oct  5 16:20:00 web1 kernel: audit: type=1300 audit(1.000:1): arch=c000003e",
        f'type=EXECVE {stamp(0, 1)}: argc=1 a0="lost"',
        f"type=PROCTITLE {stamp(1, 2)}: proctitle=6C73",
        syscall(stamp(2, 3), 2**22, 1, '"a"', '"/a"') + f'\ntype=EXECVE {stamp(2, 3)}: argc=1 a0="a"',
        syscall(stamp(3, 4), 7, 1, '"b"', '"/b"') + f"\ntype=EXECVE {stamp(3, 4)}: argc=1 a0=610062",
        "type=SYSCALL msg=audit(9999999999.000:5): arch=c000003e syscall=59 pid=1",
        syscall(stamp(4, 6), 8, 1, '"c"', '"/c"') + f'\ntype=EXECVE {stamp(4, 6)}: argc=2 a0="c"',
    ]
    log, rejects = write(tmp_path, "audit.log", "\n".join(lines)), tmp_path / "rejects.jsonl"
    done = imported(tmp_path / "x.db", log, "--rejects", rejects)
    kept = [json.loads(line) for line in rejects.read_text().splitlines()]

    assert (0, b"imported 1, skipped 6 (") == (done.status, done.err[:23])
    assert [
        (1, "not a record of the audit log"), (8, "the time is out of range"), (2, "EXECVE without SYSCALL"),
        (4, "no pid, or one out of range"), (6, "an argument has a NUL"),
    ] == [(each["line"], each["reason"]) for each in kept]  # fmt: skip
    assert lines[1] == kept[2]["text"]
    assert 0o600 == rejects.stat().st_mode & 0o777
    assert [[[1, None]]] == [row["argv_missing"] for row in found(tmp_path / "x.db")]
    assert imported(tmp_path / "x.db", log, "--rejects", rejects).failed_in_one_line()


def test_what_cannot_be_imported_says_why(tmp_path: Path) -> None:
    """A recorder's database, a file that is not there, a text, and a compressed file that is cut."""
    log = write(tmp_path, "audit.log", session())
    with Store(tmp_path / "busy.db") as store:
        begin_run(store)
        busy = imported(tmp_path / "busy.db", log)
    absent = imported(tmp_path / "x.db", tmp_path / "absent")
    text = imported(tmp_path / "x.db", write(tmp_path, "text", "hello\n"))
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress((session() * 3).encode())[:-400])
    damaged = imported(tmp_path / "x.db", cut)

    assert b"another execaudit (pid " in busy.err
    for done in (busy, absent):
        assert 1 == done.status
        assert done.failed_in_one_line()
    assert (1, b"nothing could be imported") == (text.status, text.err.splitlines()[1][11:36])
    assert 1 == damaged.status
    assert b"the compressed file is damaged" in damaged.err
    assert damaged.err.startswith(b"imported ")


def test_show_says_that_ancestors_may_be_inferred(database: Path, rows: dict[str, dict[str, Any]]) -> None:
    """The log has no ids of programs, only pids."""
    done = execaudit("--db", database, "show", rows["curl"]["id"])

    assert b"\nancestors (imported: may be inferred from pids and times)\n" in done.out


def test_a_reboot_is_between(tmp_path: Path) -> None:
    """Auditd says when it starts: before that, nobody recorded. What follows without it goes on."""
    lines = []
    for milliseconds, serial in ((0, 1), (500_000, 2), (560_500, 90), (580_000, 7)):
        at = stamp(milliseconds, serial)
        lines.append(syscall(at, 50 + serial, 1, '"a"', '"/a"') + f'\ntype=EXECVE {at}: argc=1 a0="a"')
    lines.insert(3, f"type=DAEMON_START {stamp(579_000, 4000)}: op=start")
    imported(tmp_path / "x.db", write(tmp_path, "audit.log", "\n".join(lines)))
    gaps = execaudit("--db", tmp_path / "x.db", "query", "--since", f"@{START}").gaps()

    assert [
        ("2026-10-05T16:28:18.000000002Z", "2026-10-05T16:29:18.500000000Z"),
        ("2026-10-05T16:29:18.500000090Z", "2026-10-05T16:29:37.000000000Z"),
    ] == [(gap["from"], gap["to"]) for gap in gaps if gap["to"] and gap["from"] > "2026-10-05T16:20"]


def test_a_killed_import_goes_on(tmp_path: Path) -> None:
    """What was written before kill -9 stays, and importing the file again adds the rest."""
    lines = []
    for number in range(5000):
        at = stamp(10 * number, number)
        lines.append(syscall(at, 500 + number, 499 + number, '"a"', '"/usr/bin/a"'))
        lines.append(f'type=EXECVE {at}: argc=2 a0="a" a1="{number}"')
    log = write(tmp_path, "audit.log", "\n".join(lines) + "\n")
    killed, whole = tmp_path / "killed.db", tmp_path / "whole.db"

    def stored() -> int:
        if not killed.exists():
            return 0
        counted = execaudit("--db", killed, "query", "--count")
        return int(counted.out) if counted.status == 0 else 0

    command = [*EXECAUDIT, "--db", str(killed), "import", "--host", "web1", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as importer:
        assert importer.stdin is not None
        importer.stdin.write(log.read_bytes())
        importer.stdin.flush()  # its end does not come: it waits for more
        await_true(stored)
        importer.kill()
    before = stored()
    again, once = imported(killed, log), imported(whole, log)

    assert 0 < before < 5000
    assert f"imported {5000 - before}, skipped {before} (already there: {before})\n".encode() == again.err
    assert b"imported 5000, skipped 0\n" == once.err
    assert found(whole) == found(killed)
