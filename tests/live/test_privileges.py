"""What the recorder may still do when it records: nothing but write its files."""

from __future__ import annotations

import json
import os
import pwd
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from execaudit.system import privileges
from tests import reachable
from tests.commands import NO_FAILED, PATIENCE, execaudit, found, recorder
from tests.live.test_record_cli import ended, program
from tests.nobody import public_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

# How execs are seen, where a machine offers more than one way.
_PROBE = ("--probe", os.environ["EXECAUDIT_TEST_PROBE"]) if "EXECAUDIT_TEST_PROBE" in os.environ else ()
# Of the program that runs the tests: an update may put another file in its place while they run.
OURS = str(Path("/proc/self/exe").readlink())
CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder to which everybody can find the way."""
    with public_folder() as folder:
        yield folder


def status_of(pid: int) -> dict[str, str]:
    """Returns what /proc says of a process, of each of its threads the same."""
    all_ = [
        dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)
        for task in Path(f"/proc/{pid}/task").iterdir()
    ]
    names = (*CAPABILITIES, "Uid", "Gid", "Groups", "NoNewPrivs")
    assert 1 == len({tuple(one[name] for name in names) for one in all_})
    return all_[0]


def as_service(user: str, before: str = "") -> tuple[str, ...]:
    """The command, of which that user is the service's; after some code of a test."""
    code = (
        "import sys; from execaudit.system import privileges; from execaudit.cli import main\n"
        f"privileges.USER = {user!r}; sys.argv[0] = 'execaudit'\n{before}\nsys.exit(main())"
    )
    return (*reachable.script(code), "--config", os.devnull)


def test_root_in_its_own_folder_keeps_nothing(tmp_path: Path) -> None:
    """Every capability is gone, the bounding set too, and the stop is orderly all the same."""
    marked = program(tmp_path, "marked")
    log = tmp_path / "x.jsonl"
    with recorder("--db", tmp_path / "x.db", "record", "--json-log", log) as process:
        subprocess.run([marked], check=True)
        status = status_of(process.pid)
        mapped = Path(f"/proc/{process.pid}/maps").read_text()
        log.rename(tmp_path / "old.jsonl")
        process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE
        while not log.exists() and time.monotonic() < deadline:
            subprocess.run(["true"], check=True)  # it is made when there is something to write
        subprocess.run([marked], check=True)
        end = ended(process, signal.SIGTERM)

    assert {"0" * 16} == {status[name] for name in CAPABILITIES}
    assert "1" == status["NoNewPrivs"]
    assert 0 == end.status, end.err
    assert 2 == len(found(tmp_path / "x.db", "--exe", marked))
    assert log.exists()
    # Nor is there in its memory what nothing in it needs.
    assert [] == [name for name in ("libssl", "libcrypto", "libbcc", "libLLVM") if name in mapped]


def test_the_service_user_takes_over_its_folder(folder: Path) -> None:
    """Started by root: what is made belongs to the user, whose is all that the recorder still is."""
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    marked = program(folder, "marked")
    with recorder(
        "--db", folder / "x.db", "record", "--json-log", folder / "x.jsonl", before=as_service("nobody")
    ) as process:
        subprocess.run([marked], check=True)
        status = status_of(process.pid)
        made = {path.name: path.stat() for path in folder.iterdir() if path != marked}
        end = ended(process, signal.SIGTERM)

    assert {"0" * 16} == {status[name] for name in CAPABILITIES}
    assert [str(nobody.pw_uid)] * 4 == status["Uid"].split()
    assert [str(nobody.pw_gid)] * 4 == status["Gid"].split()
    assert [] == status["Groups"].split()
    assert 0 == end.status, end.err
    assert {"x.db", "x.db-wal", "x.db-shm", "x.db.lock", "x.db.ballast", "x.jsonl"} == set(made)
    assert {nobody.pw_uid} == {each.st_uid for each in made.values()}
    assert 0 == max(each.st_mode & 0o027 for each in made.values())
    assert 1 == len(found(folder / "x.db", "--exe", marked))


_SYS_RESOURCE = 24  # include/uapi/linux/capability.h

# Says as whom the probe is loaded, and opens what root alone may write, as kprobe_events is. With nothing
# written and no O_TRUNC that changes nothing.
_WATCHED = """
import os
from execaudit.capture import loader
load, said = loader.load, os.open({said!r}, os.O_WRONLY | os.O_CREAT)
def watched(options):
    os.close(os.open("/sys/kernel/tracing/set_event", os.O_WRONLY | os.O_APPEND))
    os.write(said, f"{{os.getresuid()}} {{privileges.effective():x}}".encode())
    return load(options)
loader.load = watched
"""


def test_the_probe_is_loaded_by_root(folder: Path, tmp_path: Path) -> None:
    """Also where the recorder becomes another user, who could not attach kprobes: with what it takes."""
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    said = tmp_path / "said"
    before = as_service("nobody", _WATCHED.format(said=str(said)))
    with recorder("--db", folder / "x.db", "record", *_PROBE, before=before) as process:
        status = status_of(process.pid)
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        end = ended(process, signal.SIGTERM)

    users, _, held = said.read_text().rpartition(" ")
    assert str((0, 0, nobody.pw_uid)) == users
    assert 0 == int(held, 16) & ~sum(1 << bit for bit in privileges._TO_START)
    assert [str(nobody.pw_uid)] * 4 == status["Uid"].split()
    assert "0" * 16 == status["CapPrm"]
    # Linux 5.10 counts the ring against it. Root in a container may not be allowed to raise it.
    may_raise = privileges.effective() >> _SYS_RESOURCE & 1
    assert not may_raise or re.search(r"^Max locked memory +unlimited +unlimited ", limits, re.MULTILINE)
    assert 0 == end.status, end.err


# Interrupts the recorder from within the child that loads the probe, which then does nothing for long.
_INTERRUPTED = """
import os, signal, time
from execaudit.capture import loader
said = os.open({said!r}, os.O_WRONLY | os.O_CREAT)
def interrupting(options):
    os.write(said, str(os.getpid()).encode())
    os.kill(os.getppid(), signal.SIGINT)
    time.sleep(60)
loader.load = interrupting
"""


def test_the_loader_ends_with_an_interrupted_recorder(folder: Path, tmp_path: Path) -> None:
    """Though it is root, and the recorder is not any more."""
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    said = tmp_path / "said"
    before = as_service("nobody", _INTERRUPTED.format(said=str(said)))
    done = execaudit("--db", folder / "x.db", "record", before=before)

    assert 130 == done.status, done.err
    assert not Path(f"/proc/{said.read_text()}").exists()


def test_root_in_the_folder_of_a_user_keeps_what_writing_takes(folder: Path) -> None:
    """Nothing else would let it record there."""
    os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
    folder.chmod(0o755)
    with recorder("--db", folder / "x.db", "record") as process:
        status = status_of(process.pid)
        end = ended(process, signal.SIGTERM)

    assert f"{1 << 1:016x}" == status["CapEff"] == status["CapPrm"]
    assert "0" * 16 == status["CapBnd"]
    assert 0 == end.status


def test_a_command_has_the_rights_of_who_typed_it(tmp_path: Path) -> None:
    """Recording beside it takes none of them."""
    done = execaudit(
        "--db",
        tmp_path / "x.db",
        "record",
        NO_FAILED,
        "--",
        "grep",
        "-E",
        "CapEff|NoNewPrivs",
        "/proc/self/status",
    )
    ours = f"{privileges.effective():016x}"

    assert (0, ["CapEff:", ours, "NoNewPrivs:", "0"]) == (done.status, done.out.decode().split())


# Who starts it so has these capabilities and no others, as a service with AmbientCapabilities= has.
_WITH = (
    "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--inh-caps=-all,{}", "--ambient-caps=-all,{}",
    "--bounding-set=-all,{}",
)  # fmt: skip
_UNIT = Path(__file__).parents[2] / "execaudit.service"


def of_the_unit() -> list[str]:
    """Returns the capabilities of the unit, as setpriv names them."""
    (line,) = [line for line in _UNIT.read_text().splitlines() if line.startswith("AmbientCapabilities=")]
    return [name.removeprefix("CAP_").lower() for name in line.partition("=")[2].split()]


def with_capabilities(names: list[str]) -> tuple[str, ...]:
    """The command, for a user with these alone."""
    given = ",".join(f"+{name}" for name in names)
    return (*(word.format(given) for word in _WITH), *reachable.program())


def test_the_units_capabilities_suffice(folder: Path) -> None:
    """A user who has them, and nothing else, records like root: snapshots, and failed execs."""
    os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
    marked = program(folder, "marked")
    with recorder("--db", folder / "x.db", "record", before=with_capabilities(of_the_unit())) as process:
        subprocess.run([marked], check=True)
        status = status_of(process.pid)
        end = ended(process, signal.SIGTERM)
    (ran,) = found(folder / "x.db", "--exe", marked)
    (own,) = [row for row in found(folder / "x.db", "--pid", str(os.getpid())) if row["kind"] == "snapshot"]

    assert 0 == end.status, end.err
    assert {"0" * 16} == {status[name] for name in CAPABILITIES if name != "CapBnd"}
    assert str(marked) == ran["exe"]
    # Which only who may look into processes of root can know.
    assert own["exe"] == OURS


def test_the_doctor_asks_for_no_more_than_that(folder: Path) -> None:
    """To the user who can record it says so, with the trial of the probe: nothing lacks but a history."""
    done = execaudit(
        "--db", folder / "x.db", "doctor", "--format", "json", before=with_capabilities(of_the_unit())
    )
    checks = {check["name"]: check for check in json.loads(done.out)["checks"]}

    assert "not root, but with CAP_SYS_ADMIN" == checks["privileges"]["detail"]
    assert checks["probe"]["ok"]
    assert ["database"] == [name for name, check in checks.items() if not check["ok"]]


def test_hidden_processes_are_seen_until_it_records(folder: Path) -> None:
    """The unit's ProtectProc= hides what one may not look into; with its capabilities that is nothing."""
    os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
    hidden = (
        "unshare",
        "--mount",
        "sh",
        "-ec",
        'mount -t proc -o hidepid=invisible proc /proc && exec "$@"',
        "sh",
    )
    before = (*hidden, *with_capabilities(of_the_unit()))
    with recorder("--db", folder / "x.db", "record", before=before) as process:
        end = ended(process, signal.SIGTERM)
    (own,) = [row for row in found(folder / "x.db", "--pid", str(os.getpid())) if row["kind"] == "snapshot"]

    assert 0 == end.status, end.err
    assert own["exe"] == OURS


# Perf events may be opened with PERFMON here; SYS_ADMIN is for kernels where that is otherwise.
_NEEDED_HERE = ["bpf", "perfmon", "dac_read_search", "sys_ptrace"]


def test_on_this_kernel_four_are_enough(folder: Path) -> None:
    """SYS_ADMIN is for kernels that let nobody else open perf events."""
    os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
    with recorder("--db", folder / "x.db", "record", before=with_capabilities(_NEEDED_HERE)) as process:
        end = ended(process, signal.SIGTERM)

    assert 0 == end.status, end.err
    assert set(of_the_unit()) - set(_NEEDED_HERE) == {"sys_admin"}


@pytest.mark.parametrize("name", _NEEDED_HERE)
def test_each_of_them_is_needed(folder: Path, name: str) -> None:
    """Without one of them it is said in one line that it cannot be, or something is not known."""
    os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
    names = [each for each in _NEEDED_HERE if each != name]
    done = execaudit("--db", folder / "x.db", "record", "--duration", "0s", before=with_capabilities(names))
    if done.status == 0:
        rows = found(folder / "x.db", "--pid", str(os.getpid()))
        assert [None] == [row["exe"] for row in rows if row["kind"] == "snapshot"]
    else:
        assert done.failed_in_one_line()
        assert 5 == done.status
