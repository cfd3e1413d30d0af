"""Run programs that end in every way, and note what wait told their parents. No records are read here."""

from __future__ import annotations

import os
import signal
import time
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from tests.truth.acts import Playing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.truth.acts import Play
    from tests.truth.programs import Programs

ACTS = "{acts}"
"""The placeholder, in a life, for the program that follows instructions."""
GO = "{go}"
"""The placeholder for a file. Processes that wait for it go on after the first process has ended."""

KILLED = "killed-from-outside"
# Each life is the instructions for the first process.
LIVES: dict[str, tuple[str, ...]] = {
    "exit-0": ("exit", "0"),
    "exit-1": ("exit", "1"),
    "exit-255": ("exit", "255"),
    "exit-259": ("exit", "259"),
    "sigkill": ("raise", str(int(signal.SIGKILL))),
    "sigterm": ("raise", str(int(signal.SIGTERM))),
    "sigsegv": ("raise", str(int(signal.SIGSEGV))),
    "real-time-signal": ("raise", str(signal.SIGRTMAX)),
    "chain-of-three": ("exec", ACTS, "exec", ACTS, "exit", "5"),
    "after-failed-exec": ("fail", "/nonexistent/execaudit-life", "x", "exit", "4"),
    "without-leader": ("alone", "[", "exit", "7", "]"),
    "last-thread": ("alone", "[", "end-thread", "5", "]"),
    "exit-in-thread": ("thread", "[", "exit", "9", "]"),
    "signal-in-thread": ("thread", "[", "raise", str(int(signal.SIGABRT)), "]"),
    "after-threads": ("thread", "[", "end-thread", "3", "]", "thread", "[", "]", "exit", "46"),
    "exec-in-thread": ("thread", "[", "exec", ACTS, "exit", "6", "]"),
    "exec-without-leader": ("alone", "[", "exec", ACTS, "exit", "8", "]"),
    "fork-ends-first": ("fork", "[", "exit", "44", "]", "fork", "[", "raise", "9", "]", "exit", "45"),
    "fork-of-thread": ("thread", "[", "fork", "[", "exit", "44", "]", "]", "exit", "45"),
    "outlived-by-fork": ("leave", "[", "await", GO, "exit", "44", "]", "exit", "45"),
    "outlived-by-child": ("leave", "[", "exec", ACTS, "await", GO, "exit", "2", "]", "exit", "1"),
    "child": ("fork", "[", "exec", ACTS, "exit", "3", "]", "exec", ACTS, "raise", "15"),
    "forgotten-child": ("leave", "[", "exec", ACTS, "touch", GO, "exit", "3", "]", "await", GO),
    "sibling": ("fork", "[", "sibling", "[", "exec", ACTS, "exit", "4", "]", "]", "reap", "exit", "5"),
    "traced": ("traced", "[", "exec", ACTS, "exit", "6", "]", "traced", "[", "exec", ACTS, "raise", "9", "]"),
    "same-pid-again": ("fork", "[", "exec", ACTS, "exit", "3", "]", "again", "[", "exec", ACTS, "exit", "4", "]"),
    KILLED: ("thread", "[", "touch", GO, "await", "/nonexistent/execaudit-life", "]"),
}  # fmt: skip


class Image(NamedTuple):
    """What one process ran, from an exec until the program's end."""

    pid: int
    status: int | None
    """The status that its parent's wait returned; None: its process executed the next image."""
    shortest_ns: int
    """The time from its first known instruction to its last."""
    longest_ns: int | None
    """The time from the call of execve to the return of wait; None: not known."""


def live(programs: Programs, folder: Path, name: str) -> Play:
    """Runs the first process of a life, and all that it starts."""
    go = folder / f"go-{name}"
    words = [{ACTS: str(programs.acts), GO: str(go)}.get(word, word) for word in LIVES[name]]
    playing = Playing([programs.acts, *words])
    if name == KILLED:
        while not go.exists():
            time.sleep(0.001)
        os.kill(playing.pid, signal.SIGKILL)
    playing.wait()
    go.touch()
    return playing.end()


def images(play: Play) -> list[Image]:
    """Returns all programs that were run; those of each process are in order."""
    return [image for pid in dict.fromkeys(one.pid for one in play.said) for image in _of_process(play, pid)]


def _of_process(play: Play, pid: int) -> Iterator[Image]:
    """Yields the programs of one pid, which several processes may have had, one after the other."""
    lines = [one for one in play.said if one.pid == pid]
    bounds = [at for at, one in enumerate(lines) if one.what == "main"] + [len(lines)]
    for at, then in pairwise(bounds):
        called, started, *rest = lines[at - 1 : then]
        ended = next((one for one in rest if one.what == "end"), None)
        waited = next((one for one in rest if one.what == "waited"), None)
        if ended or waited:
            yield Image(
                pid,
                (waited or ended or started).status,
                (ended or started).at_ns - started.at_ns,
                waited and waited.at_ns - called.at_ns,
            )
        else:
            yield Image(pid, None, rest[-1].at_ns - started.at_ns, lines[then].at_ns - called.at_ns)
