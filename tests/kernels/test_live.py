"""The live tests on Debian's kernels: the recorder is loaded there, by the verifier of that time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.kernels.kernels import SERIES

if TYPE_CHECKING:
    from tests.kernels.conftest import RunTests
    from tests.kernels.outcome import Outcome

# Slow is no failure, where processors are emulated and those that do it are shared; to hang is one.
_SECONDS = 7200
# Two, because there is order to keep between processors, and the threads that rewrite an argv while the
# kernel copies it never meet it on one.
_CPUS = 2
_CHOSEN = os.environ.get("EXECAUDIT_TEST_KERNELS", " ".join(SERIES)).split()

# Whether two threads really meet is chance where processors are emulated: `make test` looks.
_BY_CHANCE = "--deselect=tests/live/test_starts.py::test_rewriting_threads_were_at_work"

_NATIVE = "tests/kernels/inside/test_native.py"
# What the kernel does, not what the command does: a recorder takes half a minute to start on an emulated
# processor, and `make test` has the others.
_WITH_TRACEPOINT = (
    _NATIVE,
    *(
        f"tests/live/test_{name}.py"
        for name in (
            "starts", "refusals", "limits", "storm", "exits", "identity", "lineage", "snapshot",
            "seen_from_outside", "large_inode",
        )
    ),
    _BY_CHANCE,
    # A paused recorder: the loss is the ring's, which test_storm fills as well.
    "--deselect=tests/live/test_exits.py::test_missed_end_is_unknown",
    "--deselect=tests/live/test_exits.py::test_program_started_after_missed_ends_is_running",
    "--deselect=tests/live/test_exits.py::test_storm_of_missed_ends_has_no_running_program",
    "--deselect=tests/live/test_exits.py::test_program_that_outlives_a_recorder_is_there_once",
    *(
        f"tests/live/test_ring_shares.py::{name}"
        for name in (
            "test_failures_of_one_user_cost_others_and_his_own_successes_nothing",
            "test_room_is_there_again_when_the_ring_was_read",
            "test_the_largest_command_line_arrives_behind_the_noise_of_another",
        )
    ),
    "tests/live/test_probe.py::test_the_probe_says_what_was_left_out",
    "tests/live/test_probe.py::test_records_that_wrap_are_read_whole",
    "tests/live/test_record_cli.py::test_a_killed_recorder_leaves_a_good_history",
    "tests/live/test_record_cli.py::test_probe_that_the_kernel_does_not_have",
)  # fmt: skip

# What differs with kprobes: who is refused, and how; and the probe that has nothing else, which no
# recorder uses on these kernels.
_WITH_KPROBE = (
    "tests/kernels/inside",
    # Kprobes are root's to attach.
    "tests/live/test_privileges.py::test_the_probe_is_loaded_by_root",
    "tests/live/test_starts.py",
    "tests/live/test_refusals.py",
    "tests/live/test_limits.py",
    _BY_CHANCE,
)
_ARGUMENTS = {"tracepoint": _WITH_TRACEPOINT, "kprobe": _WITH_KPROBE}

# What the kernels differ in, or what is likely to be the first to break: tail calls, their bounds, the
# syscalls' tracepoints, mounts and namespaces, and a ring that is full. Being left out is no success.
_TELLING = {
    "test_native::test_compiled_functions_are_in_use",
    *(
        f"test_starts::test_start_is_in_the_history_once_byte_for_byte[{name}]"
        for name in (
            "ordinary", "5-MB", "2-MB-not-UTF-8", "55002-arguments", "100000-arguments", "20000-empty-arguments",
            "270319-bytes", "thread", "two-threads-often", "cold-pages", "overlay", "user-namespace", "core",
        )
    ),
    "test_starts::test_too_deep_cwd_is_cut_at_its_root_and_says_so",
    "test_starts::test_nothing_was_missed",
    "test_refusals::test_refusal_has_the_argv_of_the_call[empty-arguments]",
    "test_refusals::test_walk_over_too_many_arguments_stops_and_says_so",
    "test_refusals::test_refusals_in_a_row_are_recorded_in_their_order",
    "test_limits::test_argv_larger_than_the_ring_says_what_is_lost",
    "test_storm::test_storm_is_stored_whole",
    "test_storm::test_stored_and_missed_are_all[4096]",
    "test_record_cli::test_a_killed_recorder_leaves_a_good_history",
}  # fmt: skip

_TELLING_OF_KPROBE = {
    name
    for name in _TELLING
    if name.startswith(("test_native::", "test_starts::", "test_refusals::", "test_limits::"))
}


def test_the_kernels_asked_for_are_known() -> None:
    """Neither a name that is none, nor none at all, leaves a kernel out by accident."""
    assert _CHOSEN
    assert set(_CHOSEN) <= set(SERIES)


class Guest(NamedTuple):
    """A kernel, the probe that is used there, and how its tests went."""

    series: str
    probe: str
    outcome: Outcome


@pytest.fixture(
    scope="module",
    params=[(series, probe) for series in SERIES if series in _CHOSEN for probe in _ARGUMENTS],
    ids="-".join,
)
def guest(request: pytest.FixtureRequest, run_tests: RunTests) -> Guest:
    """The live tests, run in one guest."""
    series, probe = request.param
    outcome = run_tests(series, _ARGUMENTS[probe], probe=probe, cpus=_CPUS, seconds=_SECONDS)
    return Guest(series, probe, outcome)


def test_the_guest_is_the_one_that_was_meant(guest: Guest) -> None:
    """It ran that kernel, on so many processors."""
    assert guest.outcome.answer.release.startswith(f"{guest.series}.")
    assert _CPUS == guest.outcome.answer.cpus


def test_all_live_tests_passed(guest: Guest) -> None:
    """None failed, none was skipped, and pytest ended well."""
    others = guest.outcome.others()

    assert not others, others
    assert 0 == guest.outcome.answer.status


def test_the_telling_ones_were_among_them(guest: Guest) -> None:
    """Those that a kernel may differ in were run, and passed."""
    telling = _TELLING if guest.probe == "tracepoint" else _TELLING_OF_KPROBE
    assert set() == telling - guest.outcome.passed()
