"""Show a long answer page by page, as git does: with $PAGER, else with less."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from execaudit.cli import terminal
from execaudit.output.widths import columns

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable, Iterator

    from execaudit.cli.context import Look

_LESS = "less"
# As git's: less ends if all fits, shows colours, and leaves the answer on the screen.
_OPTIONS = {"LESS": "FRX", "LV": "-c"}
_NOT_LOGGED_IN = 2**32 - 1


def show(pieces: Iterable[str], look: Look) -> bool:
    """Writes texts to standard output, in a pager if they are longer than the terminal.

    Returns whether all was written: who has seen enough leaves the pager.
    """
    command = _command() if look.pager and sys.stdout.isatty() else None
    if command is None:
        sys.stdout.writelines(pieces)
        return True
    rest = iter(pieces)
    begin = [*_first(rest, terminal.height() - 1, terminal.width() or 1)]
    following = next(rest, None)
    if following is None:
        sys.stdout.writelines(begin)
        return True
    sys.stdout.flush()
    return _page(command, _chained(begin, following, rest))


def _first(pieces: Iterator[str], lines: int, width: int) -> Iterator[str]:
    """Yields the pieces that fill so many lines of a terminal."""
    for piece in pieces:
        yield piece
        # A line that is too long takes several.
        lines -= sum(max(1, -(-columns(_plain(line)) // width)) for line in piece.splitlines())
        if lines <= 0:
            return


def _plain(line: str) -> str:
    if "\x1b" not in line:
        return line
    import re  # noqa: PLC0415  # for coloured lines alone

    return re.sub("\x1b\\[[0-9;]*m", "", line)


def _chained(begin: list[str], following: str, rest: Iterator[str]) -> Iterator[str]:
    yield from begin
    yield following
    yield from rest


def _command() -> list[str] | None:
    """Returns the pager's command; None: there is none, or it is not wanted."""
    given = os.environ.get("PAGER", _LESS)
    if given in ("", "cat"):
        return None
    if given == _LESS or _is_elevated():
        import shutil  # noqa: PLC0415  # see terminal.width

        return [_LESS] if shutil.which(_LESS) else None
    return ["sh", "-c", given]


def _is_elevated() -> bool:
    """Says whether somebody acts with the rights of another user, for whom no command may be started.

    systemd's programs decide the same way. The less of such a user starts none either.
    """
    if "SUDO_UID" in os.environ:
        return True
    try:
        login = int(Path("/proc/self/loginuid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return False
    return login not in (_NOT_LOGGED_IN, os.geteuid())


def _page(command: list[str], pieces: Iterator[str]) -> bool:
    import subprocess  # noqa: PLC0415  # most answers are short

    variables = {**_OPTIONS, **os.environ}
    if _is_elevated():
        variables["LESSSECURE"] = "1"
    process = subprocess.Popen(  # noqa: S603  # the user's own
        command,
        stdin=subprocess.PIPE,
        env=variables,
        encoding=sys.stdout.encoding,
        errors="backslashreplace",
    )
    is_all = False
    try:
        _feed(process, pieces)
        is_all = True
    except BrokenPipeError:
        pass
    finally:
        _await(process)
    return is_all


def _feed(process: subprocess.Popen[str], pieces: Iterator[str]) -> None:
    if process.stdin is None:
        raise RuntimeError
    process.stdin.writelines(pieces)
    process.stdin.flush()


def _await(process: subprocess.Popen[str]) -> None:
    """Waits until the user leaves the pager. Ctrl-C is for the pager meanwhile."""
    while process.returncode is None:
        try:
            if process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()
            process.wait()
        except KeyboardInterrupt:
            continue
