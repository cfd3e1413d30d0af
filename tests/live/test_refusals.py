"""Every way in which the kernel refuses an exec, against what the caller did and was told."""

from __future__ import annotations

import errno
import os
import platform
from typing import TYPE_CHECKING

import pytest

from tests.live.conftest import AT_RANDOM as RANDOM_RUN
from tests.live.conftest import COLD, FILTERED
from tests.live.recording import argv_of
from tests.truth import lines
from tests.truth.refusals import (
    AS_THE_PLACE,
    AT_RANDOM,
    HALF,
    LINE,
    NOWHERE_32_BITS,
    PARTLY_KNOWN,
    REFUSALS,
    TOO_MANY,
)
from tests.truth.starts import NOBODY

if TYPE_CHECKING:
    from tests.live.conftest import History
    from tests.live.recording import Row
    from tests.truth.refusals import Refusal
    from tests.truth.starts import Stage

_CHECK_SINCE = (6, 14)  # the first kernel that knows AT_EXECVE_CHECK
_OPENS_FIRST_SINCE = (6, 8)  # the first that looks for the file before it copies the arguments

# Kprobes stand in the functions behind the system calls: what a filter refuses never comes there.
_BY_KPROBE = os.environ.get("EXECAUDIT_TEST_PROBE") == "kprobe"
_FILTERED = "filtered"
_SEEN = [refusal for refusal in REFUSALS.values() if not (_BY_KPROBE and refusal.name == _FILTERED)]

refusals = pytest.mark.parametrize("refusal", _SEEN, ids=lambda refusal: refusal.name)


def _kernel() -> tuple[int, ...]:
    return tuple(map(int, platform.release().split(".")[:2]))


def _only(history: History, name: str) -> Row:
    (row,) = history.failed(history.refused[name].pid)
    return row


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=lambda refusal: refusal.name)
def test_refusal_happened(history: History, refusal: Refusal) -> None:
    """The kernel refused, for the reason that the caller was after."""
    attempt = history.refused[refusal.name]
    # What fails when the old image is gone has nobody to return to.
    expected = () if refusal.status else (getattr(errno, refusal.errno),)

    assert refusal.status == attempt.status
    assert expected == attempt.errnos


@refusals
def test_refusal_is_in_the_history_once(history: History, refusal: Refusal) -> None:
    """A refused exec is one record, with the errno and the thread that called."""
    attempt = history.refused[refusal.name]

    assert [(refusal.errno, attempt.tids[0])] == [
        (row["errno"], row["tid"]) for row in history.failed(attempt.pid)
    ]


@pytest.mark.parametrize(
    "refusal",
    [refusal for refusal in _SEEN if refusal.name not in PARTLY_KNOWN],
    ids=lambda refusal: refusal.name,
)
def test_refusal_has_the_argv_of_the_call(history: History, refusal: Refusal) -> None:
    """Argv is the caller's, byte for byte; where some of it cannot be known, the record says so."""
    row = _only(history, refusal.name)
    argv = refusal.line if refusal.argv is None else refusal.argv
    argc = refusal.line.count(b"\0") if refusal.argc == -1 else refusal.argc

    assert argv == argv_of(row)
    assert (argc, refusal.truncated) == (row["argc"], row["truncated"])
    assert (row["argv_bytes"], row["argv_missing"] is None) == (
        (len(argv), True) if refusal.truncated is None else (None, False)
    )


@refusals
def test_refusal_has_the_name_of_the_call(history: History, refusal: Refusal) -> None:
    """The file name is what execve was given, or null where it could not be read."""
    name = refusal.filename
    if name == AS_THE_PLACE:
        # pathlib drops the "./" that the launcher was given.
        name = str(history.refused[refusal.name].program)
    assert name == _only(history, refusal.name)["filename"]


@refusals
def test_refusal_says_who_asked(history: History, stage: Stage, refusal: Refusal) -> None:
    """Image, comm, pid and user of a refused exec are the caller's, which goes on."""
    attempt = history.refused[refusal.name]
    row = _only(history, refusal.name)
    uid = NOBODY if refusal.name == "as-nobody" else 0

    assert (attempt.pid, uid, uid, uid) == tuple(row[key] for key in ("pid", "uid", "euid", "gid"))
    if refusal.status == 0:
        assert (str(stage.programs.refused), "refused") == (row["exe"], row["comm"])


def test_unreadable_argument_leaves_a_mark_where_it_stood(history: History) -> None:
    """The arguments around one that cannot be read are there, and the hole is between them."""
    row = _only(history, "bad-argument")

    assert row["argv"] == ["program", "behind", ""]
    assert row["argv_missing"] == [[1, None]]


def test_argument_that_cannot_be_read_to_its_end_keeps_its_beginning(history: History) -> None:
    """What could be read of an argument is there, the rest is marked, the next one is not joined to it."""
    row = _only(history, HALF)
    name, beginning, *behind = row["argv"]

    assert [name, *behind] == ["program", "behind", ""]
    assert set(beginning) == {"x"}
    assert len(beginning) > 8192
    assert row["argv_missing"] == [[2, None]]
    assert (row["truncated"], row["argc"], row["argv_bytes"]) == ("fault", 4, None)


def test_walk_over_too_many_arguments_stops_and_says_so(history: History) -> None:
    """Of 100 000 refused arguments the first 15 000 and more are there, and the end is marked."""
    row = _only(history, TOO_MANY)
    argv = argv_of(row)

    assert argv == lines.TOO_MANY[: len(argv)]
    assert len(row["argv"]) >= lines.WALKED
    assert (row["truncated"], row["argc"], row["argv_bytes"]) == ("limit", None, None)
    assert row["argv_missing"] == [[len(row["argv"]), None]]


def test_refusals_in_a_row_are_recorded_in_their_order(history: History) -> None:
    """Of 200 refusals, their lengths at random around the probe's seams, none is missing or mixed up."""
    rows = history.failed(history.refused[RANDOM_RUN].pid)

    assert [argv_of(row) for row in rows] == AT_RANDOM
    assert {(None, None)} == {(row["truncated"], row["argv_missing"]) for row in rows}
    assert [line.count(b"\0") for line in AT_RANDOM] == [row["argc"] for row in rows]


def test_arguments_that_nobody_has_read_are_there_or_said_to_be_missing(history: History) -> None:
    """What is not in memory cannot be recorded, if the kernel refuses the file before it reads argv."""
    row = _only(history, COLD)

    if _kernel() >= _OPENS_FIRST_SINCE:
        assert (row["truncated"], row["argv_bytes"]) == ("fault", None)
        assert row["argv"] == []
    else:
        assert row["truncated"] is None
        assert argv_of(row) == LINE


def test_refusal_by_a_filter_is_seen_by_tracepoints_alone(history: History) -> None:
    """A filter of system calls stands before the function behind the call."""
    assert (0 if _BY_KPROBE else 1) == len(history.failed(history.refused[_FILTERED].pid))


def test_refusals_of_32_bit_programs_are_seen_by_kprobes_alone(history: History) -> None:
    """The kernel has no tracepoints for their system calls."""
    expected = [("ENOENT", NOWHERE_32_BITS[0], NOWHERE_32_BITS, 3, None)] * 2 if _BY_KPROBE else []

    assert expected == [
        tuple(row[key] for key in ("errno", "filename", "argv", "argc", "truncated"))
        for row in history.failed(history.refused_32_bits)
    ]


def test_success_without_an_exec_is_no_exec(history: History) -> None:
    """A filter of system calls can have execve return 0: nothing ran, and no record says so."""
    attempt = history.refused[FILTERED]

    assert (attempt.status, attempt.errnos) == (0, (0,))
    assert [row["kind"] for row in history.by_pid[attempt.pid]] == ["exec"]  # the caller's own


def test_check_is_no_exec(history: History) -> None:
    """AT_EXECVE_CHECK runs nothing, says yes or no, and leaves no record either way."""
    known = _kernel() >= _CHECK_SINCE
    answers = [(0,), (errno.ENOENT,)] if known else [(errno.EINVAL,), (errno.EINVAL,)]

    assert answers == [attempt.errnos for attempt in history.checks]
    # Each of the two processes was started itself, which is an exec.
    assert [[row["kind"] for row in history.by_pid[attempt.pid]] for attempt in history.checks] == [
        ["exec"],
        ["exec"],
    ]
