"""What the tests run is what a user runs: a forked command says what one says that Python starts for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import warm
from tests.commands import EXECAUDIT, execaudit
from tests.histories import make_event, make_history

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@pytest.mark.parametrize(
    "words",
    [
        ("query",),
        ("query", "--utc", "--format", "table"),
        ("export", "-o", "-", "--format", "jsonl"),
        ("report",),
        ("query", "--since", "x"),
        ("show", b"\xff"),
        ("verify", "--key=@missing"),
        ("--version",),
        ("nothing",),
        (),
    ],
    ids=str,
)
def test_a_command_that_is_forked_says_the_same(tmp_path: Path, words: Sequence[str | bytes]) -> None:
    """On both outputs, with the same status, in the same folder."""
    make_history(tmp_path / "h.db", [make_event(b"a", "ä\u202e".encode(), b"\xff\n", seconds=1)])
    cold = (*EXECAUDIT,)
    assert warm.may_run({})
    forked, started = (
        execaudit("--db", "h.db", *words, folder=tmp_path, env={"TZ": "Asia/Kolkata"}, before=before)
        for before in (EXECAUDIT, cold)
    )

    assert (forked.status, forked.err) == (started.status, started.err)
    # A report has the time when it was made.
    assert forked.out == started.out or words == ("report",)


def test_what_python_reads_when_it_begins_starts_it_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a test of it would see what was there before."""
    assert not warm.may_run({"LC_ALL": "C"})
    assert warm.may_run({"NO_COLOR": "1"})
    monkeypatch.setenv("EXECAUDIT_PURE", "1")
    assert not warm.may_run({})
