"""Run a command under strace, and read the execs that strace saw."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Only execs stop (--seccomp-bpf), which is three times as fast as stopping at every call; every
# byte is shown as \xNN (-xx); neither a string nor the list of them is cut (-s).
_STRACE = (
    "strace", "-f", "--seccomp-bpf", "-qq", "-xx", "-s", "3000000",
    "-e", "trace=execve,execveat", "-e", "signal=none",
)  # fmt: skip
_BEGUN = re.compile(rb"(\d+) +(execve\(.*) <unfinished \.\.\.>")
_RESUMED = re.compile(rb"(\d+) +<\.\.\. execve resumed>(.*)")
_WHOLE = re.compile(rb"(\d+) +(execve\(.*)")
_CALL = re.compile(rb'execve\("([^"]*)", \[(.*?)\], 0x[0-9a-f]+ .*\) += (-?\d+)(?: ([A-Z0-9]+) .*)?')
_STRING = re.compile(rb'"([^"]*)"')


class Straced(NamedTuple):
    """One call of execve."""

    tid: int
    filename: bytes
    argv: tuple[bytes, ...]
    """The path that the caller gave; for a script, that of the script."""
    errno: str | None


def run(command: list[str], *, cwd: Path, output: Path) -> list[Straced]:
    """Runs a command, which must succeed. Returns its execs in order."""
    with (output.with_suffix(".log")).open("wb") as log:
        subprocess.run([*_STRACE, "-o", output, *command], cwd=cwd, stdout=log, stderr=log, check=True)
    return [_decode(tid, call) for tid, call in _calls(output.read_bytes().splitlines())]


def _calls(traced: list[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yields whole calls: strace prints a call in two parts if another process is traced in between."""
    begun: dict[bytes, bytes] = {}
    for text in traced:
        if match := _BEGUN.fullmatch(text):
            begun[match[1]] = match[2]
        elif match := _RESUMED.fullmatch(text):
            yield int(match[1]), begun.pop(match[1]) + match[2]
        elif match := _WHOLE.fullmatch(text):
            yield int(match[1]), match[2]
        else:
            raise AssertionError(f"strace said something else: {text!r}")
    assert not begun, begun


def _decode(tid: int, call: bytes) -> Straced:
    match = _CALL.fullmatch(call)
    assert match, f"strace said something else: {call!r}"
    filename, argv, result, errno = match.groups()
    assert (result == b"0") == (errno is None), call
    return Straced(
        tid,
        _unescape(filename),
        tuple(map(_unescape, _STRING.findall(argv))),
        errno.decode() if errno else None,
    )


def _unescape(text: bytes) -> bytes:
    return bytes.fromhex(text.replace(rb"\x", b"").decode())
