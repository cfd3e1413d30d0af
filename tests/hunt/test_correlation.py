"""Rules that count the hits of others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.commands import execaudit
from tests.histories import make_event, make_history
from tests.hunt.rules import write_rule

if TYPE_CHECKING:
    from pathlib import Path

# Of each: the correlation, and the pids of the execs with which it comes true. alice runs nc at 0, 10, 20, 30
# and 200 s, bob at 5, 15 and 25 s; pids are the seconds.
_CASES: dict[str, tuple[str, list[int]]] = {
    "count": ("{type: event_count, rules: nc, timespan: 1m, group-by: [User], condition: {gte: 3}}", [20, 25]),
    "in one group": ("{type: event_count, rules: [nc], timespan: 1m, condition: {gte: 8}}", []),
    "in a short time": ("{type: event_count, rules: nc, timespan: 21s, group-by: User, condition: {gt: 1}}", [10, 15]),
    "exactly": ("{type: event_count, rules: nc, timespan: 1m, group-by: User, condition: {eq: 4}}", [30]),
    "once more": ("{type: event_count, rules: nc, timespan: 1m, group-by: User, condition: {gte: 1}}", [0, 5, 200]),
    "two rules": ("{type: event_count, rules: [nc, any], timespan: 1m, group-by: User, condition: {gte: 4}}", [30]),
    "values": ("{type: value_count, rules: nc, timespan: 1m, condition: {gte: 2, field: User}}", [5]),
    "values of one": ("{type: value_count, rules: nc, timespan: 1m, group-by: User, condition: {gte: 2, field: User}}", []),
}  # fmt: skip
_REFUSED = {
    "temporal": ("{type: temporal, rules: [nc], timespan: 1m}", "it needs the correlation temporal"),
    "unknown": (
        "{type: event_count, rules: nothing, timespan: 1m, condition: {gte: 1}}",
        "it needs the rule nothing",
    ),
    "less": ("{type: event_count, rules: nc, timespan: 1m, condition: {lt: 1}}", "it needs the condition lt"),
    "parent": (
        "{type: event_count, rules: nc, timespan: 1m, group-by: ParentImage, condition: {gte: 1}}",
        "it needs to count by ParentImage",
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history, and rules: two and many that count their hits."""
    folder = tmp_path_factory.mktemp("hunt")
    times = dict.fromkeys((0, 10, 20, 30, 200), "alice") | dict.fromkeys((5, 15, 25), "bob")
    events = [make_event(b"nc", seconds=second, pid=second, user=times[second]) for second in sorted(times)]
    make_history(folder / "history.db", events)
    for name in ("nc", "any"):
        write_rule(folder / "base" / f"{name}.yml", "{CommandLine: nc}", level="low", more=f"name: {name}\n")
    for name, (correlation, _) in (_CASES | _REFUSED).items():
        kind = "rules" if name in _CASES else "refused"
        (folder / kind).mkdir(exist_ok=True)
        (folder / kind / f"{name}.yml").write_text(
            f"title: {name}\nlevel: high\ncorrelation: {correlation}\n"
        )
    (folder / "shown.yml").write_text(
        "title: shown\ncorrelation: {type: event_count, rules: nc, timespan: 1s, generate: true, condition: {gte: 9}}\n"
    )
    return folder


def hits(folder: Path, *arguments: str) -> list[tuple[str, int]]:
    """Returns titles and pids."""
    done = execaudit("--db", folder / "history.db", "hunt", folder / "base", *arguments)
    rows = [json.loads(line) for line in done.out.splitlines()]
    return [(row["rule"]["title"], row["exec"]["pid"]) for row in rows if "rule" in row]


def test_hits_are_counted(folder: Path) -> None:
    """At the exec with which the condition comes true. Those that are counted are not shown."""
    found = hits(folder, str(folder / "rules"), "--level=high")

    assert {name: pids for name, (_, pids) in _CASES.items()} == {
        name: [pid for title, pid in found if title == name] for name in _CASES
    }
    assert len(found) == sum(len(pids) for _, pids in _CASES.values())


def test_a_limit_and_the_order(folder: Path) -> None:
    """They count in the order of recording all the same."""
    rule = str(folder / "rules" / "count.yml")

    assert [("any", 200), ("any", 30), ("count", 25)] == hits(folder, rule, "--reverse", "--limit=3")
    assert [("count", 25)] == hits(folder, rule, "--limit=1", "--level=high")


def test_the_hits_that_are_counted_can_be_shown(folder: Path) -> None:
    """If the correlation says so."""
    assert 16 == len(hits(folder, str(folder / "shown.yml")))


def test_what_cannot_be_counted_is_said(folder: Path) -> None:
    """A line for each, with its file."""
    done = execaudit("--db", folder / "history.db", "hunt", folder / "base", folder / "refused", "--strict")

    assert 1 == done.status
    for name, (_, why) in _REFUSED.items():
        assert f"refused/{name}.yml: not hunted: {why}" in done.err.decode()
