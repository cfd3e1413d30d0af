"""What `execaudit stats` counts: the same as a plain model, whatever the filter; and as typed."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.enums import Kind
from execaudit.query import find, stats, tally
from execaudit.store.writer import Store
from tests.commands import execaudit, on_terminal
from tests.examples import examples
from tests.histories import at, begin_run, make_event, make_gap, make_history
from tests.query.filter_model import alone, filter_of, histories, reference, stored

if TYPE_CHECKING:
    from pathlib import Path

    from execaudit.event import ExecEvent
    from execaudit.query.filter import Filter
    from tests.events import Batch

_SECOND = 1_000_000_000
_NOW = 40 * _SECOND


@examples(15)
@given(
    histories,
    st.lists(st.lists(alone, max_size=2).map(filter_of), min_size=1, max_size=8),
    st.integers(1, 3),
    st.sampled_from((1, 3, 500_000)),
)
def test_it_counts_what_a_query_finds(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[Batch],
    asked: list[Filter],
    top: int,
    part: int,
) -> None:
    """Totals and the most frequent, by value; and every exec is in one of the pieces of time.

    In how many parts it is counted does not show.
    """
    with (
        stored(tmp_path_factory.mktemp("history"), batches) as (connection, everything),
        pytest.MonkeyPatch.context() as patched,
    ):
        patched.setattr(find, "_COUNTED", part)
        for wanted in asked:
            expected = reference(everything, wanted)
            found = stats.gather(connection, wanted, now_ns=_NOW, top=top)

            assert found.execs == len(expected)
            assert found.failed == sum(event.kind is Kind.FAILED for event in expected)
            assert found.already == sum(event.kind is Kind.SNAPSHOT for event in expected)
            assert found.programs == len({event.launch.exe for event in expected} - {None})
            for counted, values in (
                (found.commands, Counter(event.launch.comm for event in expected)),
                (found.users, Counter(tally.User(event.launch.user, event.launch.uid) for event in expected)),
                (found.parents, Counter(event.launch.parent_comm for event in expected)),
            ):
                assert [count for _, count in counted] == [count for _, count in values.most_common(top)]
                assert all(values[value] == count for value, count in counted)  # type: ignore[index]  # each its own
            assert stats.by_host(connection, wanted) == by_host_of(expected)
            assert sum(found.counts) == len(expected)
            if found.times is not None:
                start, width, pieces = found.times
                assert pieces == len(found.counts)
                assert found.counts == [
                    sum(start + n * width <= event.time_ns < start + (n + 1) * width for event in expected)
                    for n in range(pieces)
                ]


def by_host_of(events: list[ExecEvent]) -> list[stats.HostCount]:
    """Returns the counts of hosts."""
    by_host: dict[str, list[ExecEvent]] = {}
    for event in events:
        by_host.setdefault(event.host, []).append(event)
    counts = [
        stats.HostCount(
            host,
            len(its),
            sum(event.kind is Kind.FAILED for event in its),
            min(event.time_ns for event in its),
            max(event.time_ns for event in its),
        )
        for host, its in by_host.items()
    ]
    return sorted(counts, key=lambda each: (-each.execs, each.host))


@given(st.integers(0, 2**62), st.integers(1, 2**61), st.integers(-12, 14))
def test_pieces_of_time_cover_the_range(start: int, length: int, hours: int) -> None:
    """They are at most 25, round where people are, and leave nothing out."""
    first, width, pieces = stats.divide(start, start + length, hours * 3600 * _SECOND)
    assert 1 <= pieces <= 25
    assert first <= start < first + width
    assert first + (pieces - 1) * width < start + length <= first + pieces * width
    assert (first + hours * 3600 * _SECOND) % width == 0


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three hours: five ls, each half an hour, of whom alice ran two; and a curl that failed."""
    events = [
        make_event(
            b"ls", seconds=1800 * n, pid=n + 1, comm=b"ls", exe=b"/usr/bin/ls", parent_comm=b"bash",
            uid=1000 if n < 2 else 7, user="alice" if n < 2 else None,
        )
        for n in range(5)
    ]  # fmt: skip
    curl = make_event(
        b"curl", seconds=9000, pid=9, kind=Kind.FAILED, errno=2, comm=b"sh\x1b[31m", exe=b"/usr/bin/dash", parent_comm=None,
        uid=0, user="root",
    )  # fmt: skip
    return make_history(
        tmp_path_factory.mktemp("stats") / "history.db", [*events, curl], [make_gap(10, 20, count=7)], []
    )


def test_a_script_reads_it(path: Path) -> None:
    """All of it as one JSON object, whose keys do not depend on what there is."""
    whole = json.loads(execaudit("--db", path, "stats", "--format", "json").out)

    assert (whole["execs"], whole["programs"]) == (6, 2)
    assert (whole["failed"], whole["already_running"]) == (1, 0)
    assert whole["commands"] == [{"comm": "ls", "count": 5}, {"comm": "sh\x1b[31m", "count": 1}]
    assert whole["users"] == [
        {"user": None, "uid": 7, "count": 3},
        {"user": "alice", "uid": 1000, "count": 2},
        {"user": "root", "uid": 0, "count": 1},
    ]
    assert whole["parents"] == [{"parent_comm": "bash", "count": 5}, {"parent_comm": None, "count": 1}]
    assert sum(piece["count"] for piece in whole["over_time"]) == 6
    assert [(gap["count"], gap["reason"]) for gap in whole["gaps"]] == [
        (7, "ring_full"),
        (None, "recorder_stopped"),
    ]
    assert whole["pruned"] is None
    assert whole["bytes"] == path.stat().st_size

    assert whole["hosts"] is None

    nothing = json.loads(execaudit("--db", path, "stats", "--format", "json", "--comm", "nowhere").out)
    assert nothing.keys() == whole.keys()
    assert (nothing["execs"], nothing["commands"]) == (0, [])


def test_people_read_it(path: Path) -> None:
    """Tables, a chart, and the gaps; nothing in it moves the terminal's cursor."""
    shown = execaudit(
        "--db", path, "stats", "--top", "1", env={"TZ": "Asia/Tokyo", "PYTHONIOENCODING": "utf-8"}
    )
    lines = shown.out.decode().splitlines()

    assert shown.status == 0
    assert lines[0] == "6 execs of 2 programs; 1 failed, 0 ran when recording began"
    assert lines[1] == f"The history takes {path.stat().st_size} bytes on the disk."
    assert "ls                                5   83.3" in lines
    assert "7                                 3   50.0" in lines
    assert not any("alice" in line for line in lines)
    bars = [line for line in lines if "█" in line]
    assert len(bars) == 6
    assert len({len(bar) for bar in bars}) == 1
    assert [line for line in lines if line.startswith("gap: 7 execs missed")]
    assert "\x1b" not in shown.out.decode()


@pytest.mark.parametrize(("encoding", "full"), [("ascii", "#"), ("utf-8", "█")])
def test_the_chart_is_made_of_what_can_be_shown(path: Path, encoding: str, full: str) -> None:
    """Where the terminal's encoding has no blocks, there are number signs."""
    done = on_terminal("--db", path, "stats", env={"PYTHONIOENCODING": encoding})
    assert full * 40 in done.out.decode()


def test_filters_and_mistakes(path: Path) -> None:
    """The filters are those of query; a mistake is one line."""
    since = at(1800) // _SECOND
    found = json.loads(
        execaudit(
            "--db", path, "stats", "--format", "json", "--since", f"@{since}", "--until", f"@{since + 3601}"
        ).out
    )
    assert found["execs"] == 3
    assert [piece["count"] for piece in found["over_time"] if piece["count"]] == [1, 1, 1]
    assert json.loads(execaudit("--db", path, "stats", "--format", "json", "--limit", "2").out)["execs"] == 2
    assert execaudit("--db", path, "stats", "--top", "0").status == 2
    missing = execaudit("--db", path.with_name("none.db"), "stats")
    assert missing.status == 1
    assert missing.failed_in_one_line()


def test_a_configuration_sets_its_options(path: Path, tmp_path: Path) -> None:
    """Those that a command of its own may have, filters too; the command line beats them."""
    config = tmp_path / "config.toml"
    config.write_text("[stats]\ntop = 1\nformat = 'json'\nuser = 'alice'\n")
    arguments = ("--config", config, "--db", path, "stats")

    found = json.loads(execaudit(*arguments, "--user", "root").out)
    assert found["commands"] == [{"comm": "sh\x1b[31m", "count": 1}]
    assert [each["user"] for each in json.loads(execaudit(*arguments).out)["users"]] == ["alice"]


def test_an_empty_history(tmp_path: Path) -> None:
    """Nothing is counted, and nothing is drawn."""
    empty = make_history(tmp_path / "empty.db", [], [], [])
    shown = execaudit("--db", empty, "stats")
    assert shown.status == 0
    assert shown.out.decode().startswith("0 execs of 0 programs")


def test_hosts_are_counted(tmp_path: Path) -> None:
    """With --by host: each with its last exec; whatever is in a name moves no terminal's cursor."""
    path = tmp_path / "fleet.db"
    with Store(path) as opened:
        for host, count in (("web1", 3), ("web2", 1), ("db\x1b[2J[1", 2)):
            begin_run(opened, host)
            opened.append([make_event(b"ls", host=host, seconds=number) for number in range(count)])

    def asked(*options: str) -> list[tuple[str, int, int, str]]:
        found = json.loads(execaudit("--db", path, "stats", "--by=host", "--format=json", *options).out)
        return [(each["host"], each["count"], each["failed"], each["last"][17:20]) for each in found["hosts"]]

    assert [("web1", 3, 0, "41."), ("db\x1b[2J[1", 2, 0, "40."), ("web2", 1, 0, "39.")] == asked()
    assert [("web1", 3, 0, "41."), ("web2", 1, 0, "39.")] == asked("--host=web*")
    assert [("web1", 3, 0, "41.")] == asked("--top=1")
    assert [("db\x1b[2J[1", 2, 0, "40.")] == asked("--host=db\x1b[[]2J[[]1")
    assert [] == asked("--host=nowhere*")

    shown = execaudit("--db", path, "stats", "--by=host", "--utc").out.decode()
    at = shown.splitlines().index(f"{'HOST':<24} {'EXECS':>10} {'FAILED':>10}  LAST UTC")
    assert [
        ["web1", "3", "0", "18:08:41.000"],
        ["db\\x1b[2J[1", "2", "0", "18:08:40.000"],
        ["web2", "1", "0", "18:08:39.000"],
    ] == [[*line.split()[:3], line.split()[-1]] for line in shown.splitlines()[at + 1 : at + 4]]
    assert "\x1b" not in shown
