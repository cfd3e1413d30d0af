"""He runs programs that are hard to record, or to see for what they are."""

from __future__ import annotations

import base64
import errno
import os
import platform
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.commands import NOBODY, PATIENCE
from tests.hostile.attacker import AS_ROOT_OF_HIS_OWN, new_word

if TYPE_CHECKING:
    from tests.hostile.attacker import Attacker
    from tests.hostile.honest import Honest
    from tests.hostile.service import Service

_LONGEST_PATH = 4095  # PATH_MAX without its NUL
_NOT_ALLOWED = 77  # what binfmt.sh ends with
_RELEASE = tuple(int(number) for number in platform.release().split("-")[0].split(".")[:2])


def test_inode_above_two_to_the_63(service: Service, attacker: Attacker, honest: Honest) -> None:
    """It is recorded as it is, and everybody else's execs with it."""
    word = new_word()
    overlay = (*attacker.script("overlay.sh"), str(attacker.noop), word)
    inode = attacker.run(*AS_ROOT_OF_HIS_OWN, *overlay).strip()
    honest.run(20)
    honest.await_stored(service)

    assert int(inode) > 1 << 63
    row = service.row("--exe", "*/both/program", "--args", word)
    assert (inode, NOBODY) == (row["inode"], row["uid"])
    assert inode in service.ask("show", row["id"]).stdout
    assert set() == honest.missing_in(service)


def test_bytes_that_a_terminal_obeys(service: Service, attacker: Attacker, honest: Honest) -> None:
    """They are kept exactly, and shown so that they do nothing."""
    word = new_word()
    raw = b"\x1b]0;owned\x07\x1b[2J\xff\xfe\r\n\x9b31m\xe2\x80\xae\xf3\xa0\x81\x81" + word.encode()
    name = attacker.own / "\x1b[31m\u202ered\n"
    shutil.copy(attacker.noop, name)
    attacker.run(name, raw)
    honest.await_stored(service)

    row = service.row("--user", str(NOBODY), "--args", word)
    assert b"\0".join((os.fsencode(name), raw, b"")) == base64.b64decode(row["argv_base64"])
    for arguments in (
        ("query", "--user", str(NOBODY), "--args", word),
        ("show", row["id"]),
        ("tree", "--id", row["id"]),
    ):
        printed = service.shown(*arguments)
        assert word in printed
        assert all(character.isprintable() or character in "\n\x1b" for character in printed), printed
        # What colours the table itself; and nothing of his.
        assert {"m"} >= {part.lstrip("[0123456789;")[:1] for part in printed.split("\x1b")[1:]}
        assert not any(bad in printed for bad in ("\x1b]", "\x1b[2J", "\u202e", "\U000e0041"))


def test_root_of_his_own(service: Service, attacker: Attacker, honest: Honest) -> None:
    """The record says where the program is, and that its root is not the host's."""
    word = new_word()
    root = attacker.own / "root"
    (root / "usr/sbin").mkdir(parents=True)
    shutil.copy(attacker.noop, root / "usr/sbin/sshd")
    attacker.run("unshare", "--user", "--map-root-user", "chroot", root, "/usr/sbin/sshd", word)
    honest.await_stored(service)

    row = service.row("--exe", f"{root}/usr/sbin/sshd", "--args", word)
    assert (str(root), "/usr/sbin/sshd") == (row["root"], row["filename"])
    assert None is row["mnt_ns"]


def test_mounts_of_his_own(service: Service, attacker: Attacker, honest: Honest) -> None:
    """It is named by its number, as /proc has it."""
    word = new_word()
    said = attacker.run(
        *AS_ROOT_OF_HIS_OWN, "sh", "-c", f"readlink /proc/self/ns/mnt; exec {attacker.noop} {word}"
    )
    honest.await_stored(service)

    row = service.row("--comm", "noop", "--args", word)
    assert f"mnt:[{row['mnt_ns']}]\n" == said


def test_arguments_that_he_rewrites(service: Service, attacker: Attacker, honest: Honest) -> None:
    """The record has what was given, and says that somebody could have changed it."""
    word = new_word()
    given, run = f"echo harmless {word}", f"echo evil; :  {word}"
    assert len(given) == len(run)
    evil, tracer = attacker.run(attacker.program("tracer"), given, run).split()
    honest.await_stored(service)

    assert "evil" == evil
    row = service.row("--comm", "sh", "--args", word)
    assert (["sh", "-c", given], int(tracer)) == (row["argv"], row["traced"])


@pytest.mark.parametrize(("verdict", "code"), [("errno", errno.EPERM), ("trace", errno.ENOSYS)])
def test_execs_that_seccomp_refuses(
    service: Service, attacker: Attacker, honest: Honest, verdict: str, code: int
) -> None:
    """The attempt is recorded with its path and its arguments."""
    word = new_word()
    attacker.run(attacker.program("seccomp"), verdict, attacker.noop, word, status=code)
    honest.await_stored(service)

    row = service.row("--failed", "--args", word)
    assert (errno.errorcode[code], str(attacker.noop), [str(attacker.noop), word]) == (
        row["errno"], row["filename"], row["argv"],
    )  # fmt: skip


def test_exec_that_seccomp_refuses_after_a_tracer_renumbered_a_call(
    service: Service, attacker: Attacker, honest: Honest
) -> None:
    """The kernel shows the exit of another call; the next refusal is recorded as what it was."""
    word = new_word()
    attacker.run(
        attacker.program("renumber"), attacker.program("seccomp"), "errno", attacker.noop, word, status=errno.EPERM
    )  # fmt: skip
    honest.await_stored(service)

    assert (str(attacker.noop), [str(attacker.noop), word]) == _asked_for(
        service.row("--failed", "--args", word)
    )


@pytest.mark.skipif(platform.machine() != "x86_64", reason="needs a kernel that runs 32-bit x86 programs")
def test_execs_that_seccomp_refuses_beside_32_bit_programs_of_another_user(
    service: Service, attacker: Attacker, honest: Honest
) -> None:
    """The kernel uses their tasks' memory again; what others ask for is not mixed up with it."""
    word, times, victim = new_word(), 200, NOBODY - 2
    attacker.run(attacker.program("at_once"), "400", attacker.hop32, "/nowhere", user=NOBODY - 1)
    attacker.run(
        attacker.program("seccomp"), "errno", attacker.noop, word, str(times), status=errno.EPERM, user=victim
    )
    honest.await_stored(service)

    asked = [_asked_for(row) for row in service.rows("--failed", "--user", str(victim))]
    assert [(str(attacker.noop), [str(attacker.noop), word])] * (times + 1) == asked


@pytest.mark.skipif(platform.machine() != "x86_64", reason="needs a kernel that runs 32-bit x86 programs")
@pytest.mark.parametrize("renumbered", [False, True])
def test_32_bit_programs_that_execute_each_other(
    service: Service, attacker: Attacker, honest: Honest, *, renumbered: bool
) -> None:
    """The kernel shows the probe no such call. Each exec is recorded, and so is the refusal after them."""
    word = new_word()
    first, second = str(attacker.hop32), str(attacker.own / f"other32-{new_word()}")
    shutil.copy(first, second)
    attacker.run(attacker.program("at_once"), "100", first, second, first, "/nowhere", user=NOBODY - 1)
    line = [first, second, first, attacker.program("seccomp"), "errno", str(attacker.noop), word]
    before = [attacker.program("renumber")] if renumbered else []
    attacker.run(*before, *line, status=errno.EPERM)
    honest.await_stored(service)

    found = service.rows("--args", word, "--user", str(NOBODY))
    rows = sorted(found, key=lambda row: str(row["time"]))[len(before) :]
    assert [(path, line[at:]) for at, path in enumerate(line[:4])] + [(line[-2], line[-2:])] == [
        _asked_for(row) for row in rows
    ]
    assert [None] * 4 + ["EPERM"] == [row["errno"] for row in rows]
    assert 1 == len({row["pid"] for row in rows})
    assert [row["id"] for row in rows[:-1]] == [row["parent_id"] for row in rows[1:]]
    assert ["replaced"] * 3 + ["exited"] == [row["ended"] for row in rows[:-1]]


@pytest.mark.parametrize(("verdict", "status"), [("errno0", 0), ("trap", -31), ("kill", -31), ("strict", -9)])
def test_attempts_that_seccomp_hides(
    service: Service, attacker: Attacker, honest: Honest, verdict: str, status: int
) -> None:
    """As docs/limits.md says; the program that tried is recorded, and so are all others."""
    word = new_word()
    attacker.run(attacker.program("seccomp"), verdict, attacker.noop, word, status=status)
    honest.run(5)
    honest.await_stored(service)

    row = service.row("--comm", "seccomp", "--args", word)
    assert status == (row["exit_code"] if row["exit_signal"] is None else -row["exit_signal"])
    assert set() == honest.missing_in(service)


def test_interpreter_with_a_long_path(service: Service, attacker: Attacker, honest: Honest) -> None:
    """A user may name it in a user namespace (Linux 6.7), by up to 1.9 KB. The record has all of it."""
    word, folder = new_word(), attacker.own / "binfmt"
    interpreter = folder.joinpath(*(f"{number:0200}" for number in range(8)), "interpreter")
    interpreter.parent.mkdir(parents=True)
    shutil.copy(attacker.noop, interpreter)
    register = folder / "register"
    register.mkdir()
    program = folder / "program"
    program.write_text("HOSTILEMAGIC")
    program.chmod(0o755)
    script = attacker.script("binfmt.sh")
    command: tuple[str | Path, ...] = (*script, interpreter, "HOSTILEMAGIC", register, program, word)
    with attacker.start(*AS_ROOT_OF_HIS_OWN, *command) as process:
        _, err = process.communicate(timeout=PATIENCE)
    if process.returncode == _NOT_ALLOWED and _RELEASE < (6, 7):
        pytest.skip("this kernel lets root alone mount binfmt_misc")
    assert 0 == process.returncode, err
    honest.await_stored(service)

    row = service.row("--comm", "program", "--args", word)
    assert (str(program), str(interpreter)) == (row["filename"], row["interpreter"])


def test_execveat_with_the_longest_path(service: Service, attacker: Attacker, honest: Honest) -> None:
    """The kernel puts the descriptor in front of it, and the record has its end too."""
    word = new_word()
    path = f"{'./' * ((_LONGEST_PATH - len('noop')) // 2)}noop"
    attacker.run(attacker.program("execveat"), attacker.folder, path, word)
    honest.await_stored(service)

    assert f"/dev/fd/1000/{path}" == service.row("--comm", "noop", "--args", word)["filename"]


def test_privileges_are_said_where_they_were_gained(
    service: Service, attacker: Attacker, honest: Honest
) -> None:
    """Not of a later exec that only keeps it; and also of one by root that had given it up."""
    word = new_word()
    gate = attacker.folder / "gate"
    shutil.copy(attacker.program("as_user"), gate)
    gate.chmod(0o4755)
    attacker.run(gate, "-1", "-1", attacker.noop, f"{word}-kept")
    attacker.run(
        attacker.program("as_user"),
        "0",
        str(NOBODY),
        gate,
        "-1",
        "-1",
        attacker.noop,
        f"{word}-again",
        user=0,
    )
    honest.await_stored(service)

    assert "setuid" == service.row("--comm", "gate", "--args", f"{word}-kept")["privileged"]
    kept = service.row("--comm", "noop", "--args", f"{word}-kept")
    assert (NOBODY, 0, None) == (kept["uid"], kept["euid"], kept["privileged"])
    again = service.row("--comm", "gate", "--args", f"{word}-again")
    assert (0, 0, "setuid") == (again["uid"], again["euid"], again["privileged"])


def test_time_namespace(service: Service, attacker: Attacker, honest: Honest) -> None:
    """Its clock is a week ahead, the record's is not; what led to it is known."""
    word = new_word()
    attacker.run(
        "unshare", "--user", "--map-root-user", "--time", "--boottime", "604800", "--fork",
        "sh", "-c", f"{attacker.noop} {word}; :",
    )  # fmt: skip
    honest.await_stored(service)

    row = service.row("--since", "10min", "--until", "now", "--comm", "noop", "--args", word)
    parent = service.row("--comm", "sh", "--args", word)
    assert parent["id"] == row["parent_id"]


def test_cgroup_names_that_are_long(service: Service, attacker: Attacker, honest: Honest) -> None:
    """He makes them in a group that is his; the container's name above them is still found."""
    word = new_word()
    container = uuid.uuid4().hex + uuid.uuid4().hex
    top = _unified() / f"docker-{container}.scope"
    names = [f"{number}{'x' * 239}" for number in range(6)]
    deepest = top.joinpath(*names)
    deepest.mkdir(parents=True)
    try:
        attacker.run(
            "sh", "-c", f'echo $$ >"$0/cgroup.procs"; exec setpriv --reuid={NOBODY} {attacker.noop} {word}', deepest,
            user=0,
        )  # fmt: skip
        honest.await_stored(service)
    finally:
        for folder in (deepest, *deepest.parents):
            folder.rmdir()
            if folder == top:
                break

    row = service.row("--comm", "noop", "--args", word)
    assert container == row["container_id"]
    assert row["cgroup"].startswith(f"/docker-{container}.scope/0xxx")


def _asked_for(row: dict[str, Any]) -> tuple[str | None, list[str]]:
    """Returns the path and the arguments."""
    return row["filename"], row["argv"]


def _unified() -> Path:
    """Returns where the cgroups of version 2 are."""
    return next(
        path
        for path in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
        if (path / "cgroup.procs").exists()
    )
