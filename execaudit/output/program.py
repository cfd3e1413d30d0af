"""What an exec ran, for people: marks, the program if the command line does not say it, the command. Pure.

`[setuid] /tmp/.x/tar: tar czf backup.tgz`. No argument can look like a mark, because shell_quote puts an
argument with a bracket into quotes.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, NamedTuple

from execaudit.enums import GAINED_WORDS, Kind
from execaudit.escaping import printable, shell_quote
from execaudit.output import ansi
from execaudit.output.record import command_line, split_argv
from execaudit.query.container import container_id

if TYPE_CHECKING:
    from execaudit.event import ExecEvent
    from execaudit.fields import Launch

_DELETED, _MEMFD = b" (deleted)", b"/memfd:"
# Where the system's programs are, which other users cannot change.
_USUAL = (b"/usr/", b"/bin/", b"/sbin/", b"/lib", b"/opt/", b"/nix/store/", b"/snap/")
# Links to the same folders below /usr.
_MERGED = re.compile(rb"/(?:s?bin|lib(?:32|64|x32)?)/").match
# What other names these programs usually have: of what ran already, the path that was asked for is not known.
_LINKS = {b"init": (b"systemd",), b"sh": (b"dash", b"bash", b"busybox"), b"awk": (b"mawk", b"gawk")}
# What follows the name in another name of the same program: python3.11, vim.basic, gcc-12.
_VERSION = re.compile(rb"[0-9.-]")


class Ran(NamedTuple):
    """What an exec ran. All texts are safe to show."""

    marks: tuple[str, ...]
    """What is special about the file, or where it ran."""
    program: str | None
    """The path of the program; None: the command line says it."""
    is_disguised: bool
    """The command line says another program."""
    command: str

    @property
    def before(self) -> tuple[str, str]:
        """What stands before the command: the marks, and the program."""
        marks = f"[{','.join(self.marks)}] " if self.marks else ""
        return marks, "" if self.program is None else f"{self.program}: "

    @property
    def text(self) -> str:
        """All in one line."""
        marks, program = self.before
        return f"{marks}{program}{self.command}"

    def coloured(self, shown: str, colour: str = "") -> str:
        """Returns the text, of which `shown` is left, with colours; `colour` where it needs none."""
        marks, program = self.before
        rest = shown[len(marks) :]
        named, command = rest[: len(program)], rest[len(program) :]
        return (
            ansi.painted(shown[: len(marks)], ansi.YELLOW)
            + ansi.painted(named, ansi.STANDOUT if self.is_disguised else colour)
            + ansi.painted(command, colour)
        )


def what_ran(event: ExecEvent) -> Ran:
    """Returns what an exec ran."""
    arguments = split_argv(event.argv, event.holes)
    command = command_line(arguments)
    launch = event.launch
    if not command and launch.comm is not None:
        # ps shows processes without arguments like this.
        command = f"[{printable(launch.comm)}]"
    name = arguments.parts[0] if arguments.parts else None
    if event.kind is Kind.FAILED:
        asked = launch.filename
        program = None if asked is None or asked == name else shell_quote(asked)
        return Ran(_places(event), program, is_disguised=False, command=command)
    exe = path_of(launch)
    marks = (*_of_file(launch), *_places(event))
    if exe is None or _says(name, exe, launch):
        return Ran(marks, None, is_disguised=False, command=command)
    return Ran(marks, shell_quote(exe), is_disguised=_is_disguise(name, exe, launch), command=command)


def path_of(launch: Launch) -> bytes | None:
    """Returns the path of the image, as the process sees it, and without ` (deleted)`."""
    exe, root = launch.exe, launch.root
    if exe is None:
        return None
    exe = exe.removesuffix(_DELETED)
    return exe[len(root) :] if root is not None and exe.startswith(root + b"/") else exe


def _of_file(launch: Launch) -> tuple[str, ...]:
    exe = launch.exe or b""
    marks: list[str] = []
    if exe.startswith(_MEMFD):
        marks.append("memfd")
    elif exe.endswith(_DELETED) or launch.nlink == 0:
        marks.append("deleted")
    gained = GAINED_WORDS[launch.privileged or 0]
    if gained is not None:
        marks.append(gained)
    return tuple(marks)


def _places(event: ExecEvent) -> tuple[str, ...]:
    cgroup, root = event.origin.cgroup, event.launch.root
    if cgroup is not None and container_id(cgroup) is not None:
        return ("container",)
    return () if root in (None, b"/") else ("chroot",)


def _says(name: bytes | None, exe: bytes, launch: Launch) -> bool:
    """Says whether the first argument says which program runs."""
    said = _program_of(name, launch.cwd) if name else b""
    if not said:
        return False
    if said == _merged(exe) or not _is_usual(exe):
        return said == _merged(exe)
    asked = launch.filename
    # A link led from the path that was asked for, or from the interpreter of a script.
    if asked is not None and name in (asked, launch.interpreter):
        return True
    if b"/" in said:
        return _is_usual(said) and _is_name_of(_base(said), exe)
    if asked is not None and _base(asked) == said and (_is_usual(asked) or b"/" not in asked):
        return True
    return _is_name_of(said, exe)


def _is_name_of(name: bytes, exe: bytes) -> bool:
    """Says whether a program may have this name too: python3 is python3.11."""
    base = _base(exe)
    if base in _LINKS.get(name, ()):
        return True
    return base.startswith(name) and (base == name or _VERSION.match(base[len(name) :]) is not None)


def _is_disguise(name: bytes | None, exe: bytes, launch: Launch) -> bool:
    """Says whether the first argument, which does not say the program, says another one."""
    asked = launch.filename
    if not name or asked is None:
        # What ran already may have changed its title. The system's programs do.
        return not _is_usual(exe)
    if name in (asked, launch.interpreter):
        return False
    # A program may run from anywhere, if its own name stands there.
    said = _program_of(name, launch.cwd)
    return b"/" in said or said not in (_base(exe), _base(asked))


def _program_of(name: bytes, cwd: bytes | None) -> bytes:
    """Returns the path or the name of the program in a first argument: `-bash`, `nginx: worker process`."""
    name = name.removeprefix(b"-")
    if b" " in name:
        name = name.partition(b" ")[0].removesuffix(b":")
    if b"/" not in name:
        return name
    return _merged(posixpath.normpath(posixpath.join(cwd or b"/", name)))


def _merged(path: bytes) -> bytes:
    return b"/usr" + path if _MERGED(path) else path


def _base(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]


def _is_usual(path: bytes) -> bool:
    return path.startswith(_USUAL)
