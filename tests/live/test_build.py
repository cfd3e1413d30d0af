"""A real build, against strace."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.live.recording import recording, text
from tests.truth import project, straced

if TYPE_CHECKING:
    from tests.live.recording import Row
    from tests.truth.straced import Straced

# The same search on every machine; the first two folders refuse each program that is looked for.
_PATH = "/nonexistent/sbin:/nonexistent/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Build(NamedTuple):
    """One build, as two saw it: the calls of each thread in their order."""

    traced: dict[int, list[Straced]]
    recorded: dict[int, list[Row]]
    strangers: list[Row]
    """Execs of children of the build that strace did not follow."""


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """`./configure && make` of a real project, under strace and under the recorder."""
    folder = tmp_path_factory.mktemp("build")
    top = project.unpack(folder)
    with recording(folder / "recorded") as history:
        calls = straced.run(
            ["env", f"PATH={_PATH}", "sh", "-c", project.BUILD], cwd=top, output=folder / "strace"
        )
    traced, recorded, strangers = defaultdict(list), defaultdict(list), []
    for call in calls:
        traced[call.tid].append(call)
    for row in history.rows():
        if row["tid"] in traced:
            recorded[row["tid"]].append(row)
        elif row["ppid"] in traced:
            strangers.append(row)
    return Build(traced, recorded, strangers)


def _requested(call: Straced) -> tuple[str, list[str], str | None]:
    return text(call.filename), list(map(text, call.argv)), call.errno


def _recorded(row: Row, call: Straced) -> tuple[str, list[str], str | None]:
    """Returns what a row says of the call; of a script, the caller's argv out of the interpreter's."""
    argv, script = row["argv"], [row["filename"], *map(text, call.argv[1:])]
    is_script = row["kind"] == "exec" and len(argv) > len(script) and argv[-len(script) :] == script
    return row["filename"], list(map(text, call.argv)) if is_script else argv, row["errno"]


def test_build_has_what_the_test_needs(build: Build) -> None:
    """There are many execs, many of them refused, and scripts among the others."""
    results = Counter(call.errno for calls in build.traced.values() for call in calls)
    scripts = {
        call.filename for calls in build.traced.values() for call in calls if call.filename == b"./configure"
    }

    assert results[None] > 1000
    assert results["ENOENT"] > 200
    assert scripts


def test_same_execs_as_strace(build: Build) -> None:
    """Each thread of the build made the same calls in the same order, and met the same errors."""
    assert {tid: len(calls) for tid, calls in build.traced.items()} == {
        tid: len(rows) for tid, rows in build.recorded.items()
    }
    differing = [
        (call, row)
        for tid, calls in build.traced.items()
        for call, row in zip(calls, build.recorded[tid], strict=True)
        if _requested(call) != _recorded(row, call)
    ]

    assert differing == []


def test_no_exec_that_strace_did_not_see(build: Build) -> None:
    """No child of the build has an exec in the history that was none."""
    assert build.strangers == []


def test_none_of_the_build_is_called_truncated(build: Build) -> None:
    """All argvs of a build are whole and said to be."""
    assert {None} == {row["truncated"] for rows in build.recorded.values() for row in rows}
