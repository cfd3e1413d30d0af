"""What earlier recorders stored of processes that run when another one begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from execaudit.enums import Kind
from execaudit.event import Earlier, ExecEvent
from execaudit.store.writer import Store
from tests.capture.processes import process
from tests.histories import BOOT_ID, make_event, make_exit
from tests.store.recording import child_of, recording_to

if TYPE_CHECKING:
    from pathlib import Path

    from execaudit.system.procfs import Running

# Of make_event's clock: the exec of START is at 1000 s, in ticks of 10 ms.
_EXEC_TICKS = 100_000
_OTHER_BOOT = "99999999-2222-4333-8444-555555555555"


def exec_(**values: Any) -> ExecEvent:  # noqa: ANN401  # any field
    """Returns an exec that fits runs()."""
    return make_event(
        b"sh", b"-l", **{"pid": 7, "comm": b"sh", "exe": b"/bin/sh", "inode": 11, "device": 22, **values}
    )


def runs(**facts: Any) -> Running:  # noqa: ANN401  # any field
    """Returns the process that runs it."""
    return process(7, **{"started": _EXEC_TICKS - 5, "exe": b"/bin/sh", "inode": 11, "device": 22, **facts})


def found(path: Path, *processes: Running, boot_id: str = BOOT_ID) -> dict[int, Earlier]:
    """Returns what the history knows."""
    with Store(path) as store:
        return store.earlier(boot_id, processes)


def goes_on(path: Path, process: Running) -> bool | None:
    """Says whether the last exec of the process goes on; None: it had none."""
    return next((earlier.goes_on for earlier in found(path, process).values()), None)


@pytest.mark.parametrize("kind", [Kind.EXEC, Kind.SNAPSHOT])
def test_a_process_has_its_last_exec(path: Path, kind: Kind) -> None:
    """Of all with this pid; a failed one does not count, and of others nothing is known."""
    event = exec_(kind=kind)
    with recording_to(path) as store:
        store.append([make_event(b"old", seconds=-9, pid=7), event])
        store.append([exec_(kind=Kind.FAILED, errno=2, seconds=1)])

    assert {7: Earlier(event.key, 2, goes_on=True)} == found(path, runs(), process(8))


@pytest.mark.parametrize(
    ("process", "expected"),
    [
        (runs(started=_EXEC_TICKS), True),
        (runs(started=_EXEC_TICKS + 1), None),
        (runs(exe=b"/bin/sh (deleted)"), True),
        (runs(exe=b"/usr/bin/sh"), True),
        (runs(inode=12), False),
        (runs(inode=12, device=23), True),
        (runs(inode=12, device=23, exe=b"/bin/other"), False),
        (runs(inode=None, exe=None), False),
        (runs(comm=b"title"), True),
        (runs(argv=b"title\0"), True),
        (runs(comm=b"other", argv=b"other\0"), False),
        (runs(comm=None, argv=None), False),
    ],
)
def test_a_program_is_known_again(path: Path, process: Running, expected: bool | None) -> None:  # noqa: FBT001  # a parameter
    """By when its process was forked, its file, its name and its arguments."""
    with recording_to(path) as store:
        store.append([exec_()])

    assert expected is goes_on(path, process)


def test_what_ended_does_not_go_on(path: Path) -> None:
    """A later process has the pid, or what came between was lost; stored with the exec or apart."""
    for at, event in enumerate((exec_(), exec_(seconds=3))):
        with recording_to(path) as store:
            store.append([event], (), [make_exit(event.key, 4)][at:])
            store.append([], (), [make_exit(event.key, 4)])
        assert goes_on(path, runs()) is None


def test_a_program_whose_successor_was_lost_led_to_what_runs(path: Path) -> None:
    """It was replaced: the process is the same, the program is not."""
    first = exec_()
    with recording_to(path) as store:
        store.append([first, child_of(first, 2, replaces=True, pid=7)])
    with recording_to(path) as store:
        store.maintain(lambda connection: connection.execute("DELETE FROM exec WHERE id = 2"))

    assert {7: Earlier(first.key, 1, goes_on=False)} == found(path, runs())


def test_another_boot_knows_nothing(path: Path) -> None:
    """The pids and the clock begin again."""
    with recording_to(path) as store:
        store.append([exec_()])

    assert {} == found(path, runs(), boot_id=_OTHER_BOOT)


def test_a_process_that_was_refused_for_ever_costs_little(path: Path) -> None:
    """Only the newest of its failed execs are looked at."""
    with recording_to(path) as store:
        store.append(
            [
                exec_(),
                *(exec_(kind=Kind.FAILED, errno=2, seconds=n, boot_ns=10**13 + n) for n in range(1, 1001)),
            ]
        )

    assert {} == found(path, runs())
