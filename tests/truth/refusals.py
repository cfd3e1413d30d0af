"""Try to start programs in every way that the kernel refuses."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.truth import lines
from tests.truth.starts import NOBODY, START_DIRFD, Attempt, Place, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

_NOWHERE = Path("/nonexistent/execaudit-test")
LINE = lines.line(b"program", b"one", b"", b"two words", b"\xff\x1b[2J")
"""The arguments of most refusals."""
AS_THE_PLACE = "the place's program"


class Refusal(NamedTuple):
    """One way to be refused, and what can be known about it."""

    name: str
    errno: str
    line: bytes = LINE
    method: str = "each"
    place: Callable[[Stage], Place] | None = None
    """By default a file that does not exist."""
    filename: str | None = AS_THE_PLACE
    """The path that execve was given; None: it could not be read."""
    argv: bytes | None = None
    """The arguments that can be captured; None: the whole line."""
    argc: int | None = -1
    """-1: the number of arguments in the line."""
    truncated: str | None = None
    status: int = 0
    """The exit status of the caller."""

    def run(self, stage: Stage) -> Attempt:
        """Makes the call, which must be refused."""
        place = self.place(stage) if self.place else Place(_NOWHERE)
        return stage.launch(self.method, self.line, place, refused=True)


def _file(stage: Stage, name: str, content: bytes, mode: int = 0o755) -> Path:
    path = stage.folder / name
    path.write_bytes(content)
    path.chmod(mode)
    return path


def _without_permission(stage: Stage) -> Place:
    return Place(_file(stage, "without-permission", b"#!/bin/sh\n", mode=0o644))


def _folder(stage: Stage) -> Place:
    return Place(stage.folder)


def _no_program(stage: Stage) -> Place:
    return Place(_file(stage, "no-program", b"echo no magic\n"))


def _missing_interpreter(stage: Stage) -> Place:
    return Place(_file(stage, "missing-interpreter", b"#!/nonexistent/interpreter\n"))


def _below_a_file(stage: Stage) -> Place:
    return Place(_file(stage, "file", b"") / "below")


def _symlink_to_itself(stage: Stage) -> Place:
    path = stage.folder / "symlink-to-itself"
    path.symlink_to(path.name)
    return Place(path)


def _symlink(stage: Stage) -> Place:
    path = stage.folder / "symlink"
    path.symlink_to(stage.programs.noop)
    return Place(path)


def _scripts_too_deep(stage: Stage) -> Place:
    path = stage.programs.noop
    for level in range(7):
        path = _file(stage, f"script-{level}", b"#!%s\n" % os.fsencode(path))
    return Place(path)


def _longest_name(_stage: Stage) -> Place:
    return Place(Path("/" + "/".join(["n" * 200] * 20) + "/" + "e" * 74))


def _odd_name(stage: Stage) -> Place:
    return Place(stage.folder / "new\nline \x1b[2J")


def _noop(stage: Stage) -> Place:
    return Place(stage.programs.noop)


def _in_folder(stage: Stage) -> Place:
    return Place(Path("not-there"), extra=str(stage.folder))


def _relative(stage: Stage) -> Place:
    return Place(Path("./not-there"), cwd=stage.folder)


def _writable(stage: Stage) -> Place:
    return Place(stage.programs.own_witness("busy"))


def _filtered(_stage: Stage) -> Place:
    return Place(_NOWHERE, extra=str(errno.EPERM))


def _as_nobody(_stage: Stage) -> Place:
    return Place(_NOWHERE, uid=NOBODY)


def _unmappable(stage: Stage) -> Place:
    """A program that fails after the old image is gone, because a segment has an impossible address."""
    path = stage.programs.own_witness("unmappable")
    image = bytearray(path.read_bytes())
    (table,) = struct.unpack_from("<Q", image, 32)
    size, count = struct.unpack_from("<HH", image, 54)
    for header in range(table, table + size * count, size):
        if struct.unpack_from("<I", image, header)[0] == 1:  # PT_LOAD
            struct.pack_into("<Q", image, header + 16, 0xFFFF_8000_0000_0000)
            break
    path.write_bytes(image)
    return Place(path)


TOO_MANY = "more-than-is-walked"
HALF = "half-readable-argument"
PARTLY_KNOWN = (TOO_MANY, HALF)
"""Refusals whose captured argv depends on how the probe reads."""
_TOO_LONG = lines.line(b"program", lines.counting(131_072), b"end")
_TOO_MUCH = lines.of_size(5_000_000) + lines.of_size(2_500_000)
_AT_DIRFD = f"/dev/fd/{START_DIRFD}/not-there"
_HOLE = lines.line(b"program", b"cannot be read", b"behind", b"")

REFUSALS = {
    refusal.name: refusal
    for refusal in (
        Refusal("no-file", "ENOENT"),
        Refusal("no-permission", "EACCES", place=_without_permission),
        Refusal("folder", "EACCES", place=_folder),
        Refusal("no-program", "ENOEXEC", place=_no_program),
        Refusal("missing-interpreter", "ENOENT", place=_missing_interpreter),
        Refusal("below-a-file", "ENOTDIR", place=_below_a_file),
        Refusal("symlink-to-itself", "ELOOP", place=_symlink_to_itself),
        Refusal("scripts-too-deep", "ELOOP", place=_scripts_too_deep),
        Refusal("longest-name", "ENOENT", place=_longest_name),
        Refusal("odd-name", "ENOENT", place=_odd_name),
        Refusal("relative-name", "ENOENT", place=_relative),
        Refusal("busy", "ETXTBSY", method="busy", place=_writable),
        Refusal("as-nobody", "ENOENT", place=_as_nobody),
        Refusal("in-thread", "ENOENT", method="in-thread"),
        Refusal("no-arguments", "ENOENT", line=b""),
        Refusal("empty-arguments", "ENOENT", line=lines.line(b"", b"", b"")),
        Refusal("null-argv", "ENOENT", line=b"", method="null-argv"),
        Refusal("too-long-argument", "E2BIG", line=_TOO_LONG, place=_noop),
        Refusal("too-long-in-all", "E2BIG", line=_TOO_MUCH, place=_noop),
        Refusal("empty-filename", "ENOENT", method="empty-filename", filename=""),
        Refusal("bad-filename", "EFAULT", method="bad-filename", filename=None),
        Refusal(
            "bad-argv", "EFAULT", method="bad-argv", place=_noop,
            argv=b"", argc=None, truncated="fault",
        ),
        Refusal(
            "bad-argument", "EFAULT", method="bad-argument", place=_noop, line=_HOLE,
            argv=lines.line(b"program", b"behind", b""), truncated="fault",
        ),
        Refusal(HALF, "EFAULT", method="half-readable", place=_noop, line=_HOLE, truncated="fault"),
        Refusal(
            "past-the-point-of-no-return", "ENOMEM", place=_unmappable, filename=None,
            argv=b"", argc=None, truncated="fault", status=-11,
        ),
        Refusal("filtered", "EPERM", method="filter", place=_filtered),
        Refusal(TOO_MANY, "ENOENT", line=lines.TOO_MANY, argc=None, truncated="limit"),
        Refusal("at-folder", "ENOENT", method="at-folder", place=_in_folder, filename=_AT_DIRFD),
        Refusal("at-closed-dirfd", "EBADF", method="at-closed-dirfd", place=_relative, filename=_AT_DIRFD),
        Refusal("at-bad-flags", "EINVAL", method="at-bad-flags", place=_noop),
        Refusal("at-symlink", "ELOOP", method="at-symlink", place=_symlink),
        *(Refusal(f"no-file-{name}", "ENOENT", line=line) for name, line in lines.REFUSED_SIZES.items()),
        *(
            Refusal(f"no-program-{name}", "ENOEXEC", line, place=_no_program)
            for name, line in lines.SHORT.items()
        ),
    )
}  # fmt: skip

NOWHERE_32_BITS = [str(_NOWHERE), "", "two words"]
"""The refusal that a 32-bit program causes twice."""
AT_RANDOM = lines.at_random(count=200, seed=20_261_122)


def refuse_at_random(stage: Stage) -> Attempt:
    """Makes one process cause each refusal of AT_RANDOM, in order."""
    files = [str(stage.write_line(line)) for line in AT_RANDOM[1:]]
    return stage.launch("each", AT_RANDOM[0], Place(_NOWHERE, extra=",".join(files)), refused=True)


def refuse_with_cold_pages(stage: Stage) -> Attempt:
    """Causes a refusal before the kernel or any other program has read the arguments."""
    return stage.launch("cold-pages", LINE, Place(_NOWHERE), refused=True)


def filter_with_success(stage: Stage) -> Attempt:
    """Makes a system call filter return 0 from execve although nothing was run."""
    return stage.launch("filter", LINE, Place(_NOWHERE, extra="0"), refused=True)


def refuse_many(stage: Stage, count: int) -> Attempt:
    """Causes many refusals, as fast as one process can."""
    return stage.launch("many", LINE, Place(_NOWHERE, extra=str(count)), refused=True)


def refuse_32_bits(stage: Stage) -> int:
    """Makes execve and execveat refuse a call of a 32-bit program. Returns its pid."""
    with subprocess.Popen([stage.programs.refused32, *NOWHERE_32_BITS]) as child:
        assert child.wait(timeout=60) == errno.ENOENT
    return child.pid


def check_only(stage: Stage, program: Path) -> Attempt:
    """Asks with AT_EXECVE_CHECK whether a program may be started, which starts nothing."""
    return stage.launch("check", LINE, Place(program), refused=True)
