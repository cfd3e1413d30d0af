"""Diagnostics on stderr."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

PROGRAM = "from execaudit.daemon import diagnostics; diagnostics.configure(); diagnostics.log.info('recording', db='x')"


def test_stderr_that_is_no_terminal_gets_json_lines() -> None:
    """A service's log is an event and its facts, for machines."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    line = json.loads(done.stderr)

    assert ("recording", "x", "info") == (line["event"], line["db"], line["level"])
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_gets_lines_for_people(environment: dict[str, str], coloured: bool) -> None:  # noqa: FBT001  # a parameter
    """On a terminal it is text, with colour unless NO_COLOR is set."""
    ours, theirs = pty.openpty()
    clean = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    subprocess.run([sys.executable, "-c", PROGRAM], stderr=theirs, env={**clean, **environment}, check=True)
    os.close(theirs)
    shown = os.read(ours, 4096)
    os.close(ours)

    assert b"recording" in shown
    assert not shown.startswith(b"{")
    assert coloured == (b"\x1b[" in shown)
