"""Start the witness in every way there is. This module does not look at records."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.commands import PATIENCE
from tests.truth import lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.truth.programs import Programs

NOBODY = 65534
START_DIRFD = 1007
"""The directory of an execveat: see start.h."""
_PATH_MAX = 4096
_CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")


class Attempt(NamedTuple):
    """The result of one run of the launcher, or of the program that is refused."""

    status: int
    pid: int
    """The pid of the launcher."""
    program: Path
    """The file that it was to start."""
    tids: tuple[int, ...]
    """The tids of the threads that called execve, in the order of the calls."""
    errnos: tuple[int, ...]
    """The error numbers of the calls that returned, in order; 0: no error."""


class Place(NamedTuple):
    """The file, directory and user of a start."""

    program: Path
    extra: str | None = None
    """The launcher's last argument."""
    cwd: Path | None = None
    uid: int | None = None


class Start(NamedTuple):
    """One way to start the witness."""

    name: str
    line: bytes
    """The arguments that the launcher passes."""
    method: str = "execve"
    times: int = 1
    place: Callable[[Stage, str], Place] | None = None
    verbatim: bool = True
    """True: the witness must have seen exactly `line`. False: the kernel, or a thread, changes it."""


class Stage:
    """The programs, and a folder for whatever a start needs."""

    def __init__(self, programs: Programs, folder: Path) -> None:
        self.programs = programs
        self.folder = folder

    def run(self, start: Start) -> list[Attempt]:
        """Starts the witness, as often as the start says, and waits until it ends."""
        place = start.place(self, start.name) if start.place else self.ordinary(start.name)
        return [self.launch(start.method, start.line, place) for _ in range(start.times)]

    def ordinary(self, name: str) -> Place:
        """Returns the place of the witness itself."""
        return Place(self.programs.witness_named(name))

    def write_line(self, line: bytes) -> Path:
        """Returns a file for the launcher."""
        path = self.folder / f"argv-{len(list(self.folder.iterdir()))}"
        path.write_bytes(line)
        return path

    def launch(self, method: str, line: bytes, place: Place, *, refused: bool = False) -> Attempt:
        """Runs the launcher, or the program that is refused, until it ends."""
        binary = self.programs.refused if refused else self.programs.launcher
        command = [str(binary), method, str(place.program), str(self.write_line(line))]
        if place.extra is not None:
            command.append(place.extra)
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, cwd=place.cwd, user=place.uid, group=place.uid
        ) as child:
            said = [text.split() for text in child.communicate(timeout=PATIENCE)[0].decode().splitlines()]
        return Attempt(
            child.returncode,
            child.pid,
            place.program,
            tuple(int(number) for what, number in said if what == "exec"),
            tuple(int(number) for what, number in said if what == "failed"),
        )


def _owned_copy(stage: Stage, name: str) -> Place:
    return Place(stage.programs.own_witness(name))


def _in_chroot(stage: Stage, name: str) -> Place:
    root = stage.folder / f"root-{name}"
    (root / "inside").mkdir(parents=True)
    (root / f"start-{name}").hardlink_to(stage.programs.witness)
    return Place(Path(f"/start-{name}"), extra=str(root))


def _on_mount(stage: Stage, name: str) -> Place:
    mountpoint = stage.folder / f"mountpoint-{name}"
    mountpoint.mkdir()
    return Place(stage.programs.witness_named(name), extra=str(mountpoint))


def _outside_its_chroot(stage: Stage, name: str) -> Place:
    return _in_chroot(stage, name)._replace(cwd=stage.folder)


def _in_proc(stage: Stage, name: str) -> Place:
    return Place(stage.programs.witness_named(name), cwd=Path("/proc/sys/kernel"))


def _in_root(stage: Stage, name: str) -> Place:
    return Place(stage.programs.witness_named(name), cwd=Path("/"))


def _with_long_paths(stage: Stage, name: str) -> Place:
    """Uses a file name, an image and a working directory that are as long as paths can be."""
    room = _PATH_MAX - 1 - len(f"/start-{name}")
    path = str(stage.folder / name)
    while len(path) < room:
        path += "/" + "d" * min(250, room - len(path) - 1)
    folder = Path(path)
    folder.mkdir(parents=True)
    (folder / f"start-{name}").hardlink_to(stage.programs.witness)
    return Place(folder / f"start-{name}", cwd=folder)


def _in_deleted_folder(stage: Stage, name: str) -> Place:
    return Place(stage.programs.witness_named(name), extra=str(stage.folder / "gone"))


def _nested(stage: Stage, levels: int) -> Path:
    folder = stage.folder / f"nested-{levels}" / Path(*["d"] * (levels - len(stage.folder.parts) - 1))
    folder.mkdir(parents=True)
    return folder


def _deep(stage: Stage, name: str) -> Place:
    return Place(stage.programs.witness_named(name), cwd=_nested(stage, 220))


def _not_quite_so_deep(stage: Stage, name: str) -> Place:
    return Place(stage.programs.witness_named(name), cwd=_nested(stage, 120))


def _far(stage: Stage, name: str) -> Place:
    folder = stage.folder / "far"
    folder.mkdir()
    return Place(stage.programs.witness_named(name), extra="40", cwd=folder)


def _in_oddly_named_folder(stage: Stage, name: str) -> Place:
    folder = stage.folder / os.fsdecode(b"new\nline \x1b[2J caf\xe9 (deleted)")
    folder.mkdir()
    return Place(stage.programs.witness_named(name), cwd=folder)


def _as_nobody(stage: Stage, name: str) -> Place:
    return Place(stage.programs.witness_named(name), uid=NOBODY)


def _setuid(stage: Stage, name: str) -> Place:
    program = stage.programs.own_witness(name)
    program.chmod(0o4755)
    return Place(program, uid=NOBODY)


def _script(stage: Stage, name: str) -> Place:
    """A script whose interpreter is a script, whose interpreter is a script."""
    interpreter = stage.programs.witness_named(name)
    for level in ("inner -x", "middle", "outer two words"):
        script, _, option = level.partition(" ")
        path = stage.folder / f"{name}-{script}"
        path.write_text(f"#!{interpreter} {option}\n")
        path.chmod(0o755)
        interpreter = path
    return Place(interpreter)


_SHORT = lines.SHORT["ordinary"]
_LONG = lines.of_size(40_000)
# The middle argument, which is rewritten, spans several records. The last argument is not rewritten.
_REWRITTEN = lines.line(b"program", lines.counting(50_000).replace(b"X", b"Y"), b"end")
_REWRITTEN_SHORT = lines.line(b"program", b"short", b"end")
_TORN_SHORT = lines.line(b"program", lines.counting(4000), b"end")
METHODS = (
    "execveat", "fexecve", "memfd", "int80", "cold-pages", "vfork", "posix-spawn", "clone", "thread",
    "two-threads", "chain", "pid-namespace", "user-namespace",
)  # fmt: skip
MOUNTS = ("bind-mount", "overlay", "detached-mount")
SCRIPT = "script"
TORN = "torn"
HOP32 = "through-32-bits"
CORE = "core"
MISC = "misc"
_MAGIC = b"EXECAUDIT-TEST"

STARTS = {
    start.name: start
    for start in (
        *(Start(name, line) for name, line in lines.SHORT.items()),
        *(Start(name, line) for name, line in lines.LONG.items()),
        *(Start(method, _SHORT, method) for method in METHODS),
        *(Start(f"{method}-long", _LONG, method) for method in METHODS),
        Start("argc-0", b"", verbatim=False),
        Start("null-argv", b"", "null-argv", verbatim=False),
        Start("two-threads-often", _SHORT, "two-threads", times=300),
        Start("rewritten", _REWRITTEN, "rewritten", times=60, verbatim=False),
        Start("rewritten-short", _REWRITTEN_SHORT, "rewritten", times=20, verbatim=False),
        Start(TORN, _REWRITTEN, TORN, times=60, verbatim=False),
        Start("torn-short", _TORN_SHORT, TORN, times=40, verbatim=False),
        Start("deleted-file", _SHORT, "deleted-file", place=_owned_copy),
        Start("chroot", _SHORT, "chroot", place=_in_chroot),
        Start("chroot-from-outside", _SHORT, "chroot-from-outside", place=_outside_its_chroot),
        *(Start(method, _SHORT, method, place=_on_mount) for method in MOUNTS),
        Start("in-proc", _SHORT, place=_in_proc),
        Start("in-root", _SHORT, place=_in_root),
        Start("long-paths", _LONG, place=_with_long_paths),
        Start("deleted-cwd", _SHORT, "deleted-cwd", place=_in_deleted_folder),
        Start("deep-cwd", _SHORT, place=_deep),
        Start("not-quite-so-deep-cwd", _SHORT, place=_not_quite_so_deep),
        Start("long-cwd", _SHORT, "long-cwd", place=_far),
        Start("odd-cwd", _SHORT, place=_in_oddly_named_folder),
        Start("nobody", _SHORT, place=_as_nobody),
        Start("setuid", _SHORT, place=_setuid),
        Start(SCRIPT, _SHORT, place=_script, verbatim=False),
    )
}


def start_as_core_helper(stage: Stage) -> None:
    """Makes the kernel itself start the witness, to pipe a core dump into it."""
    program = stage.programs.witness_named(CORE)
    truths = stage.programs.truths
    before = len(list(truths.iterdir()))
    with _core_pattern(f"|{program} %s two"):
        subprocess.run(["sh", "-c", "kill -SEGV $$"], check=False)
        # No process waits for a helper of the kernel.
        deadline = time.monotonic() + PATIENCE
        while len(list(truths.iterdir())) == before and time.monotonic() < deadline:
            time.sleep(0.01)


@contextlib.contextmanager
def _core_pattern(pattern: str) -> Iterator[None]:
    kept = _CORE_PATTERN.read_text()
    _CORE_PATTERN.write_text(pattern)
    try:
        yield
    finally:
        _CORE_PATTERN.write_text(kept)


def start_through_binfmt_misc(stage: Stage) -> None:
    """Starts a file whose first bytes tell the kernel to run the witness for it."""
    program = stage.folder / "misc"
    program.write_bytes(_MAGIC)
    program.chmod(0o755)
    with _registered(stage.folder / "binfmt_misc", stage.programs.witness_named(MISC)):
        subprocess.run([program, "", "two words"], check=True)


@contextlib.contextmanager
def _registered(mountpoint: Path, interpreter: Path) -> Iterator[None]:
    """Mounts the kernel's list of formats, of which there is only one, and adds a format."""
    entry = f"execaudit-test-{os.getpid()}"
    mountpoint.mkdir()
    subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", mountpoint], check=True)
    try:
        (mountpoint / "register").write_text(f":{entry}:M::{_MAGIC.decode()}::{interpreter}:")
        try:
            yield
        finally:
            (mountpoint / entry).write_text("-1")
    finally:
        subprocess.run(["umount", mountpoint], check=True)


def start_through_32_bits(stage: Stage) -> int:
    """Makes a 32-bit program replace itself with the witness. Returns its pid."""
    witness = stage.programs.witness_named(HOP32)
    with subprocess.Popen([stage.programs.hop32, witness, "", "two words"]) as child:
        child.wait(timeout=PATIENCE)
    return child.pid
