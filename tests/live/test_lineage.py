"""What led to an exec, against a forest of processes that write down who their parents are."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.live.lineage import by_id, end_of, execs_of
from tests.live.recording import recording
from tests.truth import forest
from tests.truth.acts import play
from tests.truth.forest import Forest, Node, scarce_pids
from tests.truth.starts import CORE, HOP32, MISC, STARTS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.conftest import History
    from tests.live.recording import Recorded, Row
    from tests.truth.programs import Programs

_KTHREADD = 2
_MANY = 600


class Grown(NamedTuple):
    """A forest, and what was recorded of it."""

    recorded: Recorded
    forest: Forest
    rows: dict[str, Row]
    """By the nodes' paths."""
    failed: list[Row]
    paths: dict[str, str]
    """The nodes' paths, by the ids of their records."""
    everything: dict[str, Row]
    """By ids."""

    def path_of(self, key: str | None) -> str | None:
        """Returns the path of the node whose record has this id."""
        return self.paths.get(key or "")


@pytest.fixture(scope="module")
def grown(built: Programs, tmp_path_factory: pytest.TempPathFactory) -> Grown:
    """A forest that grows under a recorder, while pids are so few that each comes back soon."""
    folder = tmp_path_factory.mktemp("forest")
    with recording(folder) as recorded:
        with scarce_pids():
            grown = forest.grow(built, folder)
        _use_pid_again(built, folder)
    rows = recorded.rows()
    execs = execs_of(rows, built.forest)
    failed = [row for row in rows if row["kind"] == "failed" and row["argv"][:1] == ["forest"]]
    paths = {row["id"]: row["argv"][1] for row in execs}
    return Grown(recorded, grown, {row["argv"][1]: row for row in execs}, failed, paths, by_id(rows))


def _use_pid_again(built: Programs, folder: Path) -> None:
    """A parent ends, another program gets its pid, and only then the parent's orphan execs."""
    go, done = folder / "go", folder / "done"
    orphan = ("leave", "[", "await", go, "exec", built.acts, "touch", done, "exit", "3", "]")
    usurper = ("exec", built.acts, "touch", go, "await", done, "exit", "4")
    play(
        built.acts,
        "fork",
        "[",
        "exec",
        built.acts,
        *orphan,
        "exit",
        "5",
        "]",
        "again",
        "[",
        *usurper,
        "]",
        "reap",
    )


def _differing(expected: dict[str, object], recorded: dict[str, object]) -> dict[str, tuple[object, object]]:
    """Returns what is not as it should be, so that a failure shows no more than that."""
    return {
        path: (expected.get(path), recorded.get(path))
        for path in [*expected, *recorded]
        if expected.get(path) != recorded.get(path)
    }


def test_forest_has_grown_whole(grown: Grown) -> None:
    """As many nodes as were planned, in all ways if they are many, and most pids were used again."""
    nodes = grown.forest.nodes

    assert forest.EXECS == len(nodes) == len({node.path for node in nodes})
    assert len({node.pid for node in nodes}) < len(nodes) / 2
    assert grown.forest.failed
    if forest.NODES >= _MANY:
        assert set("abBcdDeEfgikopsStv") == {node.way for node in nodes}


def test_no_exec_of_the_forest_is_missing(grown: Grown) -> None:
    """Each node is recorded once, and no gap is."""
    expected = Counter(node.path for node in grown.forest.nodes)
    recorded = Counter(grown.paths.values())

    assert not expected - recorded
    assert not recorded - expected
    assert grown.recorded.gaps() == []


def test_parent_id_is_the_true_parents(grown: Grown) -> None:
    """The exec that led to another one is known, whatever became of the processes between them."""
    expected = {node.path: node.parent for node in grown.forest.nodes if node.parent}
    recorded = {path: grown.path_of(row["parent_id"]) for path, row in grown.rows.items() if "." in path}

    assert not _differing(dict(expected), dict(recorded))


def test_root_was_led_to_by_what_ran_before_the_recorder(grown: Grown) -> None:
    """Who started the forest ran before recording began, and is a snapshot."""
    parents = [grown.everything[grown.rows[root]["parent_id"]] for root in grown.forest.roots]

    assert {(row["kind"], row["pid"]) for row in parents} == {("snapshot", grown.rows["a"]["ppid"])}


def test_process_ids_are_true(grown: Grown) -> None:
    """Process, calling thread and parent are those that the process saw, where only one answer is true."""
    nodes = grown.forest.nodes
    pids = {node.path: node.pid for node in nodes}
    tids = {node.path: node.tid for node in nodes if node.tid}
    ppids = {node.path: node.ppid for node in nodes if node.ppid}

    assert not _differing(dict(pids), {path: row["pid"] for path, row in grown.rows.items()})
    assert not _differing(dict(tids), {path: grown.rows[path]["tid"] for path in tids})
    assert not _differing(dict(ppids), {path: grown.rows[path]["ppid"] for path in ppids})
    assert {"forest", "exe"} == {grown.rows[path]["parent_comm"] for path in ppids}


def test_ends_are_true(grown: Grown) -> None:
    """Each node ends as it meant to, or is replaced by the one that it says it became."""
    successors = {node.parent: node.path for node in grown.forest.nodes if node.way in "sS"}
    expected = {node.path: (node.end, successors.get(node.path)) for node in grown.forest.nodes}
    recorded = {path: (_end(row), grown.path_of(row["replaced_by"])) for path, row in grown.rows.items()}

    assert not _differing(dict(expected), dict(recorded))
    assert all(row["duration_ns"] > 0 for row in grown.rows.values())


def _end(row: Row) -> str:
    ended, code, signal = end_of(row)
    return {"exited": f"exit-{code}", "signaled": f"signal-{signal}"}.get(str(ended), str(ended))


def test_failed_exec_was_led_to_by_what_its_process_ran(grown: Grown) -> None:
    """Of a process that was only forked, that is what it was forked from."""

    def facts_of(nodes: list[Node]) -> Counter[tuple[object, ...]]:
        return Counter((node.path, node.pid, node.tid, node.parent) for node in nodes)

    recorded = Counter(
        (row["argv"][1], row["pid"], row["tid"], grown.path_of(row["parent_id"])) for row in grown.failed
    )
    ppids = {node.path: node.ppid for node in grown.forest.failed if node.ppid}

    assert facts_of(grown.forest.failed) == recorded
    assert not _differing(
        dict(ppids), {row["argv"][1]: row["ppid"] for row in grown.failed if row["argv"][1] in ppids}
    )


def test_pid_that_was_used_again_misleads_nobody(grown: Grown, built: Programs) -> None:
    """An orphan's parent is the program that is gone, not the one that has its pid now."""
    execs = execs_of(grown.everything.values(), built.acts)
    first, parent, usurper, orphan = execs

    assert parent["pid"] == usurper["pid"] != orphan["pid"]
    assert [row["parent_id"] for row in execs[1:]] == [first["id"], first["id"], parent["id"]]
    assert [row["exit_code"] for row in execs] == [0, 5, 4, 3]


@pytest.mark.parametrize("path", ["a", "b", "a.k0.k0.k0", "first parent", "leaf"])
def test_under_finds_exactly_the_descendants(grown: Grown, path: str) -> None:
    """`query --under` has all that an exec led to, and nothing else, the exec itself not."""
    parents = {node.parent for node in grown.forest.nodes}
    if path == "first parent":
        path = next(
            node.path for node in grown.forest.nodes if node.path in parents and node.way not in "abk"
        )
    elif path == "leaf":
        path = next(node.path for node in grown.forest.nodes if node.path not in parents)
    answer = grown.recorded.rows("--under", grown.rows[path]["id"])
    below = re.compile(re.escape(path) + r"\.")
    expected = Counter(
        node.path for node in [*grown.forest.nodes, *grown.forest.failed] if below.match(node.path)
    )

    assert Counter(row["argv"][1] for row in answer) == expected


# ---- every way to start a program, and to be refused


@pytest.mark.parametrize("name", [*STARTS])
def test_start_was_led_to_by_the_launcher(history: History, stage_launcher: Path, name: str) -> None:
    """However a program is started, what ran when it was forked, or before it, led to it."""
    launchers = [
        execs_of(history.by_pid[attempt.pid], stage_launcher)[-1] for attempt in history.starts[name]
    ]

    assert Counter(row["id"] for row in launchers) == Counter(
        row["parent_id"] for row in history.by_start[name]
    )


@pytest.fixture(scope="module")
def stage_launcher(built: Programs) -> Path:
    """The program that starts the others."""
    return built.launcher


def test_refused_exec_was_led_to_by_its_caller(history: History, built: Programs) -> None:
    """A process that calls execve in vain still runs what it ran."""
    for attempt in history.refused.values():
        (caller,) = execs_of(history.by_pid[attempt.pid], built.refused)

        assert {row["parent_id"] for row in history.failed(attempt.pid)} <= {caller["id"]}


def test_program_started_by_the_kernel_stands_under_kthreadd(history: History) -> None:
    """The kernel's own threads lead to a program as kthreadd, which was there before any recorder."""
    (row,) = history.by_start[CORE]
    parent = by_id(history.rows)[row["parent_id"]]

    assert ("snapshot", _KTHREADD) == (parent["kind"], parent["pid"])


@pytest.mark.parametrize("name", [HOP32, MISC])
def test_start_was_led_to(history: History, name: str) -> None:
    """Neither 32-bit programs nor registered formats lose the line."""
    (row,) = history.by_start[name]
    parent = by_id(history.rows)[row["parent_id"]]

    assert parent["pid"] == (row["pid"] if name == HOP32 else row["ppid"])


def test_no_exec_stands_alone(history: History) -> None:
    """Each exec of the host was led to by a row that is there, and is not younger."""
    rows = by_id(history.rows)
    alone = [row for row in history.rows if row["kind"] != "snapshot" and row["parent_id"] not in rows]
    parents = [(rows[row["parent_id"]], row) for row in rows.values() if row["parent_id"] in rows]

    assert not alone
    assert all(parent["time"] <= row["time"] for parent, row in parents)
