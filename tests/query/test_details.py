"""What `execaudit stats` counts further: the same as a plain model, whatever the filter; and as typed."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.enums import Gained, Kind
from execaudit.query import find, stats
from execaudit.query.container import container_id
from tests.commands import execaudit
from tests.examples import examples
from tests.histories import at, make_event, make_exit, make_history
from tests.query.filter_model import alone, filter_of, histories, reference, stored

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from execaudit.event import ExecEvent
    from execaudit.query.filter import Filter
    from tests.events import Batch

_SECOND = 1_000_000_000
_MANY = 1000


def bad_ends(events: list[ExecEvent]) -> Iterator[tuple[int | None, int | None]]:
    """Yields exit status and signal of programs that did not exit with 0."""
    for event in events:
        end = event.end
        if end is not None and (end.code or end.signal):
            yield end.code, end.signal


@examples(15)
@given(
    histories,
    st.lists(st.lists(alone, max_size=2).map(filter_of), min_size=1, max_size=8),
    st.sampled_from((1, 3, 500_000)),
)
def test_it_counts_what_a_query_finds(
    tmp_path_factory: pytest.TempPathFactory, batches: list[Batch], asked: list[Filter], part: int
) -> None:
    """Errors, statuses, containers and privileges by value, and the longest; in however many parts."""
    with (
        stored(tmp_path_factory.mktemp("history"), batches) as (connection, everything),
        pytest.MonkeyPatch.context() as patched,
    ):
        patched.setattr(find, "_COUNTED", part)
        for wanted in asked:
            expected = reference(everything, wanted)
            found = stats.gather(connection, wanted, now_ns=40 * _SECOND, top=_MANY)
            cgroups = [event.origin.cgroup for event in expected]
            took = [
                event.end.duration_ns for event in expected if event.end and event.end.duration_ns is not None
            ]

            assert dict(found.errors) == Counter(event.errno for event in expected if event.errno is not None)
            assert {(end.code, end.signal): count for end, count in found.ends} == Counter(bad_ends(expected))
            assert len({(end.code, end.signal) for end, _ in found.ends}) == len(found.ends)
            assert dict(found.containers) == Counter(
                name
                for name in map(container_id, (each for each in cgroups if each is not None))
                if name is not None
            )
            assert dict(found.privileged) == Counter(
                (event.launch.exe, event.launch.privileged) for event in expected if event.launch.privileged
            )
            assert [event.end and event.end.duration_ns for event in found.longest] == sorted(
                took, reverse=True
            )


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A failure, a program that was killed later, a setuid one in a container, and one that comes late."""
    killed = make_event(b"sleep", b"9", seconds=1, pid=2)
    container = f"/system.slice/docker-{'9e' * 32}.scope".encode()
    events = [
        make_event(b"x", kind=Kind.FAILED, errno=13, pid=1),
        killed,
        make_event(
            b"su", seconds=2, pid=3, exe=b"/bin/su", comm=b"su", privileged=Gained.SETUID, cgroup=container
        ),
        make_event(b"nc\x1b[31m", seconds=50, pid=4, exe=b"/tmp/nc\x1b", comm=b"nc"),
    ]
    return make_history(
        tmp_path_factory.mktemp("details") / "history.db", events, [], [make_exit(killed.key, 8, 9)]
    )


def test_people_read_it(path: Path) -> None:
    """A table of each; nothing moves the terminal's cursor."""
    lines = execaudit("--db", path, "stats", "--new-since", f"@{at(40) // _SECOND}").out.decode().splitlines()

    assert "EACCES                            1   25.0" in lines
    assert "SIGKILL                           1   25.0" in lines
    assert f"      1  {'9e' * 32}" in lines
    assert "      1  /bin/su [setuid]" in lines
    assert [line for line in lines if line.startswith("  7.00s  ") and "sleep 9" in line]
    assert lines[lines.index("      1  /bin/su [setuid]") + 1] == ""
    assert [r"      1  2026-11-22 18:09:29.000  /tmp/nc\x1b"] == [line for line in lines if "/tmp/nc" in line]
    assert "\x1b" not in "".join(lines)


def test_a_script_reads_it(path: Path) -> None:
    """In the same object, with keys that do not depend on what there is."""
    whole = json.loads(execaudit("--db", path, "stats", "--format", "json").out)

    assert [{"errno": "EACCES", "count": 1}] == whole["errors"]
    assert [{"exit_code": None, "exit_signal": 9, "count": 1}] == whole["exits"]
    assert [{"container_id": "9e" * 32, "count": 1}] == whole["containers"]
    assert [{"exe": "/bin/su", "privileged": "setuid", "count": 1}] == whole["privileged"]
    assert [["sleep", "9"]] == [each["argv"] for each in whole["longest"]]
    assert whole["new_programs"] is None
    assert whole["bytes_a_day"] > 0
    assert whole["max_bytes"] > whole["bytes"]

    nothing = json.loads(execaudit("--db", path, "stats", "--format", "json", "--comm", "nowhere").out)
    assert nothing.keys() == whole.keys()
    assert ([], [], None) == (nothing["errors"], nothing["longest"], nothing["bytes_a_day"])


def test_a_core_dump_is_no_other_end(tmp_path: Path) -> None:
    """Programs that a signal killed are in one line, whether they left a core or not."""
    died = [make_event(b"x", b"%d" % n, seconds=n, pid=n + 1) for n in range(2)]
    exits = [make_exit(died[0].key, 8, 11), make_exit(died[1].key, 9, 11 | 0x80)]
    path = make_history(tmp_path / "history.db", died, [], exits)
    whole = json.loads(execaudit("--db", path, "stats", "--format", "json").out)

    assert [{"exit_code": None, "exit_signal": 11, "count": 2}] == whole["exits"]


def test_how_it_grows(path: Path, tmp_path: Path) -> None:
    """Only where all execs of the range are counted; with the limit that is configured."""
    config = tmp_path / "config.toml"
    config.write_text("[retention]\nmax_size = '3MB'\n")
    arguments = ("--config", config, "--db", path, "stats")
    shown, part = execaudit(*arguments).out.decode(), execaudit(*arguments, "--user", "root").out.decode()

    assert "At the rate of this range it grows by " in shown
    assert " a day: its limit of 3.0 MB comes within two hours.\n" in shown
    assert "it grows by" not in part
