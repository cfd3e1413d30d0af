"""The kprobe probe, on a kernel that has kprobes."""

from __future__ import annotations

import errno
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from execaudit.enums import Kind, Truncated
from tests.kernels.inside.calls import (
    execve,
    execve_in_thread,
    execveat,
    in_child,
    run_from_memory,
)

if TYPE_CHECKING:
    from execaudit.event import ExecEvent
    from tests.kernels.inside.conftest import Capture

NOWHERE = b"/nonexistent/program\xff"
TRUE = b"/bin/true"
COMMAND_LINES = {
    "ordinary": [b"program", b"", b"two words", b"\xff\x1b[2J"],
    "200-KB": [b"program", b"y" * 100_000, b"z" * 99_999],
    "300-arguments": [b"%d" % number * (number % 700) for number in range(300)],
}
SUCCESSFUL = {**COMMAND_LINES, "5-MB": [b"%06d" % number + b"q" * 93 for number in range(50_000)]}
REFUSED = {**COMMAND_LINES, "1-MB": [b"%06d" % number + b"q" * 93 for number in range(12_000)], "none": []}


def joined(argv: list[bytes]) -> bytes:
    """Returns a command line as the kernel keeps it."""
    return b"".join(argument + b"\0" for argument in argv)


def refused_first(argv: list[bytes]) -> None:
    """A refusal and a success."""
    execve(NOWHERE, argv)
    execve(TRUE, argv)


def refusal(row: ExecEvent) -> tuple[object, ...]:
    """Returns what is known of a refused exec."""
    return row.kind, row.errno, row.launch.filename, row.argv, row.argc, row.truncated


@pytest.mark.parametrize("argv", REFUSED.values(), ids=REFUSED)
def test_refused(capture: Capture, argv: list[bytes]) -> None:
    """A refused exec is there once, byte for byte."""
    done = capture.of(lambda: execve(NOWHERE, argv))

    assert [(Kind.FAILED, errno.ENOENT, NOWHERE, joined(argv), len(argv), None)] == [
        refusal(row) for row in done.execs
    ]


def test_refused_at_a_folder(capture: Capture, tmp_path: Path) -> None:
    """Execveat's arguments stand in other registers, and its name begins with the folder's."""
    folder = os.open(tmp_path, os.O_PATH)
    done = capture.of(lambda: execveat(folder, b"not-there", [b"1", b"2"]))
    os.close(folder)

    assert [(Kind.FAILED, errno.ENOENT, b"/dev/fd/%d/not-there" % folder, b"1\x002\x00", 2, None)] == [
        refusal(row) for row in done.execs
    ]


def test_refused_without_argv(capture: Capture) -> None:
    """A NULL argv is an empty one."""
    done = capture.of(lambda: execve(NOWHERE, None))

    assert [(Kind.FAILED, errno.ENOENT, NOWHERE, b"", 0, None)] == [refusal(row) for row in done.execs]


def test_refused_with_unreadable_argv(capture: Capture) -> None:
    """What cannot be read is said to be missing."""
    done = capture.of(lambda: execve(TRUE, 8))

    assert [(Kind.FAILED, errno.EFAULT, TRUE, b"", None, Truncated.FAULT)] == [
        refusal(row) for row in done.execs
    ]


def test_refused_with_unreadable_name(capture: Capture) -> None:
    """So is the name; the arguments are there."""
    done = capture.of(lambda: execve(8, [b"program"]))

    assert [(Kind.FAILED, errno.EFAULT, None, b"program\0", 1, None)] == [refusal(row) for row in done.execs]


def test_refused_32_bit_program(capture: Capture) -> None:
    """Kprobes see what the tracepoints of system calls do not: refusals of 32-bit callers."""
    program = os.fsencode(Path(os.environ["EXECAUDIT_TEST_PROGRAMS"]) / "refused32")
    argv = [program, NOWHERE, b"", b"two words", *(b"%d" % number * 50 for number in range(700))]
    done = capture.of(lambda: execve(program, argv))
    first, *refusals = done.execs

    assert (Kind.EXEC, joined(argv), len(argv)) == (first.kind, first.argv, first.argc)
    # By execve and by execveat.
    assert [(Kind.FAILED, errno.ENOENT, NOWHERE, joined(argv[1:]), len(argv) - 1, None)] * 2 == [
        refusal(row) for row in refusals
    ]


@pytest.mark.parametrize("argv", SUCCESSFUL.values(), ids=SUCCESSFUL)
def test_successful(capture: Capture, argv: list[bytes]) -> None:
    """A successful exec is there once, byte for byte."""
    done = capture.of(lambda: execve(TRUE, argv))
    (row,) = done.execs

    assert (Kind.EXEC, TRUE, b"true") == (row.kind, row.launch.filename, row.launch.comm)
    assert joined(argv) == row.argv
    assert (len(argv), None, done.pid) == (row.argc, row.truncated, row.tid)


def test_successful_by_a_thread(capture: Capture) -> None:
    """The thread that called is named, and the process is its own."""
    done = capture.of(lambda: execve_in_thread(TRUE, [b"by", b"thread"]))
    (row,) = done.execs

    assert (b"by\0thread\0", TRUE, 2) == (row.argv, row.launch.filename, row.argc)
    assert row.tid != row.pid == done.pid


def test_successful_from_memory(capture: Capture) -> None:
    """The name is the one that the kernel makes of the descriptor."""
    (row,) = capture.of(lambda: run_from_memory([b"from", b"memory"])).execs

    assert (b"from\0memory\0", b"/memfd:program (deleted)") == (row.argv, row.launch.exe)
    assert str(row.launch.filename and row.launch.filename.decode()).startswith("/dev/fd/")


def test_successful_script(capture: Capture, tmp_path: Path) -> None:
    """The command line is the interpreter's; its own name nobody knows but the tracepoint."""
    script = tmp_path / "script"
    script.write_text("#!/bin/sh -e\nexit 3\n")
    script.chmod(0o755)
    name = os.fsencode(script)
    done = capture.of(lambda: execve(name, [b"zero", b"one"]))
    (row,), (end,) = done.execs, done.exits
    alone = capture.probe.uses == "kprobe-only"

    assert (joined([b"/bin/sh", b"-e", name, b"one"]), 4, name) == (row.argv, row.argc, row.launch.filename)
    assert (None if alone else b"/bin/sh") == row.launch.interpreter
    assert 3 << 8 == end.status == done.status


def test_lineage(capture: Capture) -> None:
    """A program is the parent of what it becomes, and of what it forks."""
    capture.take()
    pid, _ = in_child(
        lambda: execve(b"/bin/sh", [b"sh", b"-c", b"(/bin/true child; :); exec /bin/true after"])
    )
    execs, _ = capture.take()
    shell, child, after = (row for row in execs if row.argv[:3] == b"sh\0" or b"/bin/true\0" in row.argv[:10])

    key = shell.boot_ns, pid
    assert [(*key, False), (*key, True)] == [
        (row.parent.boot_ns, row.parent.task, row.replaces)
        for row in (child, after)
        if row.parent is not None
    ]


def test_nothing_is_lost(capture: Capture) -> None:
    """Of 200 programs and as many refusals each is there, and nothing is counted as lost."""
    capture.take()
    before = capture.probe.losses()
    for number in range(200):
        argv = [b"storm", b"%d" % number]
        in_child(partial(refused_first, argv))
    rows = [row for row in capture.take()[0] if row.argv.startswith(b"storm\0")]

    expected = [(kind, b"storm\0%d\0" % number) for number in range(200) for kind in (Kind.FAILED, Kind.EXEC)]
    assert expected == [(row.kind, row.argv) for row in rows]
    assert before == capture.probe.losses()
