"""`execaudit top` in a real terminal, tmux: typed keys, what is on the screen, and what is left behind."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.commands import EXECAUDIT, PATIENCE, environment
from tests.families import make_family

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Tmux:
    """A terminal of 80x24 in which a shell runs."""

    def __init__(self, folder: Path) -> None:
        self._program = ("tmux", "-S", str(folder / "socket"), "-f", os.devnull)
        self._ask("new-session", "-d", "-x", "80", "-y", "24", "env PS1='$ ' sh")

    def _ask(self, *words: str) -> str:
        done = subprocess.run(
            [*self._program, *words],
            env=environment({"LC_ALL": "C.UTF-8"}), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout

    def type(self, text: str) -> None:
        """Types a text."""
        self._ask("send-keys", "-l", text)

    def press(self, *keys: str) -> None:
        """Presses keys that tmux has names for."""
        self._ask("send-keys", *keys)

    def resize(self, width: int, height: int) -> None:
        """Gives the terminal another size."""
        self._ask("resize-window", "-x", str(width), "-y", str(height))

    def lines(self) -> list[str]:
        """Returns what is on the screen."""
        return self._ask("capture-pane", "-p").splitlines()

    def until(self, is_so: Callable[[list[str]], object]) -> list[str]:
        """Waits until the screen is so."""
        deadline = time.monotonic() + PATIENCE
        while not is_so(lines := self.lines()):
            assert time.monotonic() < deadline, "\n".join(lines)
            time.sleep(0.1)
        return lines

    def until_has(self, *texts: str) -> list[str]:
        """Waits until all texts are on the screen."""
        return self.until(lambda lines: all(text in "\n".join(lines) for text in texts))

    def close(self) -> None:
        """Ends the shell and what runs in it."""
        self._ask("kill-server")


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    """A terminal."""
    made = Tmux(tmp_path)
    yield made
    made.close()


def test_a_session(tmux: Tmux, tmp_path: Path) -> None:
    """It is watched, filtered by typing, resized, looked at and left, or ended; the terminal is as it was."""
    path = make_family(tmp_path / "history.db").path
    command = shlex.join([*EXECAUDIT, "--db", str(path), "top", "--user", "alice"])
    tmux.type(f"COLUMNS=80 LINES=24 NO_COLOR=1 {command}\n")
    lines = tmux.until_has("-bash", "q quit")
    assert lines[0].startswith("execaudit top  nobody records")
    assert "filter    --user alice" in lines
    assert "2026-11-22     913 alice    SIGSEGV  cc1 x.c" in lines

    tmux.type('/comm == "gcc" ad')
    tmux.until_has('/ comm == "gcc" ad', " " * 16 + "^ ad does not fit: did you mean and?")
    tmux.press("BSpace", "BSpace")
    lines = tmux.until(lambda lines: "mkdir out" not in "\n".join(lines))
    assert "2026-11-22     911 alice    exit 1   gcc -c x.c" in lines
    tmux.press("Enter")
    tmux.until_has('filter    --user alice  comm == "gcc"', "/ filter")

    tmux.resize(120, 30)
    tmux.until_has("TOOK", "650ms gcc -c x.c")
    tmux.press("Down", "Enter")
    tmux.until_has("/opt/gcc: gcc -c x.c", "failed with ENOENT", "filename      /opt/gcc")
    tmux.press("Escape")
    tmux.until_has("newest first")
    tmux.press("C-z")
    tmux.until_has("Stopped", "$ ")
    tmux.type("fg\n")
    tmux.until_has("newest first", "q quit", "650ms gcc -c x.c")
    tmux.type("q")
    tmux.until(lambda lines: "q quit" not in "\n".join(lines))
    tmux.type("echo status $?; stty -a\n")
    lines = tmux.until_has("status 0", "icanon")
    assert "newest first" not in "\n".join(lines)
    assert " icanon" in "\n".join(lines)
    assert " echo " in "\n".join(lines)

    tmux.type(f"clear; sh -c 'echo $$ >{tmp_path}/pid; exec {command}'; echo status $?; stty -a\n")
    tmux.until_has("-bash", "q quit")
    os.kill(int((tmp_path / "pid").read_text()), 15)
    lines = tmux.until_has("status 143", " icanon")
    assert "newest first" not in "\n".join(lines)
