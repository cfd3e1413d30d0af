"""`execaudit top` where it cannot show a screen: one line says why."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.commands import EXECAUDIT, PATIENCE, Terminal, environment, execaudit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# As where the extra was not installed.
_WITHOUT = "import sys; sys.modules['textual'] = None; from execaudit.cli import main; main()"


def on_terminal(words: Sequence[str], term: str = "xterm") -> tuple[int, bytes]:
    """Runs a command whose three standard files are a terminal. Returns its status and what it wrote."""
    terminal = Terminal()
    files = dict.fromkeys(("stdin", "stdout", "stderr"), terminal.theirs)
    with subprocess.Popen(words, env=environment({"TERM": term}), **files) as process:  # type: ignore[call-overload]
        said = terminal.read()
        return process.wait(PATIENCE), said


def test_without_a_terminal(history: Path) -> None:
    """What follows execs into a pipe is named."""
    done = execaudit("--db", history, "top")

    assert (1, True) == (done.status, done.failed_in_one_line())
    assert b"top needs a terminal: use `execaudit query --follow`" in done.err


def test_without_textual(history: Path) -> None:
    """How to install it is said."""
    status, said = on_terminal(
        [sys.executable, "-c", _WITHOUT, "--config=/dev/null", f"--db={history}", "top"]
    )

    assert (1, 1) == (status, said.count(b"\n"))
    assert b"top needs the library textual, which is not installed: install execaudit with its extra" in said


@pytest.mark.parametrize(
    ("words", "expected", "message"),
    [
        (["--db=HISTORY", "top", "--where", "x"], 2, b"--where': column"),
        (["--db=HISTORY", "top", "--under", "00000000"], 1, b"there is no exec"),
        (["--db=HISTORY", "top"], 1, b"this terminal can show lines only (TERM=dumb)"),
    ],
)
def test_what_is_wrong_is_said_before(words: list[str], expected: int, message: bytes, history: Path) -> None:
    """On an ordinary screen, in one line."""
    given = [word.replace("HISTORY", str(history)) for word in words]
    status, said = on_terminal([*EXECAUDIT, *given], term="dumb")

    assert (expected, 1) == (status, said.count(b"\n"))
    assert message in said
