"""While a long answer is looked for, a terminal says how many execs are read."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.commands import PATIENCE, Terminal, running
from tests.histories import make_event, make_history

if TYPE_CHECKING:
    from pathlib import Path

_EXECS = 3000
# At once, and often, as if it took long.
_PROGRAM = """
from execaudit.cli import context, main
from execaudit.cli.run import progress
progress._QUIET_SECONDS, progress._TERMINAL_SECONDS, context._STEPS = -1, 0, 100
main()
"""
_IMPATIENT = (sys.executable, "-c", _PROGRAM)
_SAID = re.compile(rb"\r\x1b\[Kreading 3,000 execs: (\d+) %")


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history in which one exec, the last, is of another program."""
    events = [
        make_event(b"a", seconds=n, pid=n + 1, exe=b"/bin/last" if n == _EXECS - 1 else b"/bin/a")
        for n in range(_EXECS)
    ]
    return make_history(tmp_path_factory.mktemp("reading") / "history.db", events)


def shown(history: Path, command: str, *, both: bool = True) -> tuple[bytes, bytes]:
    """Returns what a terminal shows, and what is on standard output if the terminal is only the other one."""
    terminal = Terminal()
    out = terminal.theirs if both else subprocess.PIPE
    words = ("--config", "/dev/null", "--db", str(history), *command.split())
    with running(
        *words, before=_IMPATIENT, stdout=out, stderr=terminal.theirs, env={"PAGER": "cat"}
    ) as process:
        seen = terminal.read()
        written = process.stdout.read() if process.stdout else b""
        assert process.wait(PATIENCE) == 0
    return seen, written


@pytest.mark.parametrize(
    "command",
    ["query --exe last --limit 1", "query --count --exit-code 3", "tree --exe last"],
)
def test_a_terminal_says_what_is_read_and_then_the_answer_alone(history: Path, command: str) -> None:
    """The line is written over, and is gone before the answer begins."""
    seen, _ = shown(history, command)
    before, _, after = seen.rpartition(b"\r\x1b[K")

    assert _SAID.search(before)
    assert all(0 <= int(percent) <= 100 for percent in _SAID.findall(before))
    assert b"reading" not in after
    assert after.strip()


def test_an_answer_that_is_piped_has_nothing_of_it(history: Path) -> None:
    """Standard error is a terminal still: it shows the line while nothing is found."""
    seen, written = shown(history, "query --exe last", both=False)

    assert _SAID.search(seen)
    assert seen.rpartition(b"\r\x1b[K")[2].count(b"reading") == 0
    assert written.count(b"\n") == written.count(b'{"') > 0


def test_no_terminal_says_nothing_of_it(history: Path) -> None:
    """Scripts read standard error."""
    with running("--db", history, "query", "--count", "--exit-code", "3", before=_IMPATIENT) as process:
        out, err = process.communicate(timeout=PATIENCE)

    assert b"0\n" == out
    assert b"reading" not in err
