"""Every way to start a program, against what the program itself says of its start."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.live.recording import argv_of, text, without_end
from tests.truth.starts import CORE, HOP32, METHODS, MISC, SCRIPT, START_DIRFD, STARTS, TORN

if TYPE_CHECKING:
    from tests.live.conftest import History
    from tests.live.recording import Row
    from tests.truth.starts import Stage
    from tests.truth.witnessed import Witnessed

_BY_DIRFD = ("fexecve", "memfd", "deleted-file")
_CUT_CWD = ("deep-cwd", "long-cwd")
_CHROOTED, DETACHED = ("chroot", "chroot-from-outside"), "detached-mount"
_COMPONENTS = 100  # of a cwd too deep to be recorded whole: at least so many are
_LONGEST_PATH = 4096

_ALL = [*STARTS, CORE, HOP32, MISC]
starts = pytest.mark.parametrize("name", _ALL)
launched = pytest.mark.parametrize("name", STARTS)


def _times(name: str) -> int:
    return STARTS[name].times if name in STARTS else 1


def _method(name: str) -> str:
    return name.removesuffix("-long")


def _as_the_host_sees(name: str, truth: Witnessed, stage: Stage) -> Witnessed:
    if name in _CHROOTED:
        truth = truth._replace(exe=_jail(stage, name) + truth.exe)
    # In a user namespace without a mapping everybody is "nobody" to himself.
    return truth._replace(uid=0, euid=0, gid=0) if _method(name) == "user-namespace" else truth


def _jail(stage: Stage, name: str) -> bytes:
    """Returns what such a start takes for its root."""
    return os.fsencode(stage.folder / f"root-{name}")


@starts
def test_root_is_said_where_it_is_not_the_hosts(history: History, stage: Stage, name: str) -> None:
    """Of a start in a chroot, and of no other."""
    expected = {text(_jail(stage, name)) if name in _CHROOTED else None}

    assert expected == {row["root"] for row in history.by_start[name]}


def _identity(row: Row) -> tuple[object, ...]:
    return tuple(row[key] for key in ("pid", "ppid", "uid", "euid", "gid", "comm", "exe"))


@launched
def test_every_start_happened(history: History, name: str) -> None:
    """The launcher got as far as the witness, which ended well, each time."""
    assert [0] * _times(name) == [attempt.status for attempt in history.starts[name]]
    assert _times(name) == len(history.witnessed[name])


@pytest.mark.parametrize("name", [name for name, start in STARTS.items() if start.verbatim])
def test_the_witness_saw_what_it_was_sent(history: History, name: str) -> None:
    """The truth is no accident: it is what the launcher passed, unless kernel or threads change that."""
    start = STARTS[name]

    assert [truth.argv for truth in history.witnessed[name]] == [start.line] * start.times


@starts
def test_start_is_in_the_history_once_byte_for_byte(history: History, name: str) -> None:
    """Each start is one exec of the history, with the argv that the program found."""
    truths = sorted((truth.pid, truth.argv) for truth in history.witnessed[name])

    assert _times(name) == len(truths)
    assert truths == sorted((row["pid"], argv_of(row)) for row in history.by_start[name])


@starts
def test_start_is_not_called_truncated(history: History, name: str) -> None:
    """A whole argv is said to be whole, and its totals are right."""
    expected = sorted(
        (truth.pid, truth.argv.count(b"\0"), len(truth.argv), None, None) for truth in history.witnessed[name]
    )
    recorded = sorted(
        (row["pid"], row["argc"], row["argv_bytes"], row["truncated"], row["argv_missing"])
        for row in history.by_start[name]
    )

    assert expected == recorded


@starts
def test_start_says_who_and_what(history: History, stage: Stage, name: str) -> None:
    """Pid, parent, user, group, comm and image are those that the program found in /proc."""
    truths = [_as_the_host_sees(name, truth, stage) for truth in history.witnessed[name]]
    expected = sorted(
        (truth.pid, truth.ppid, truth.uid, truth.euid, truth.gid, text(truth.comm), text(truth.exe))
        for truth in truths
    )

    assert expected == sorted(_identity(row) for row in history.by_start[name])


@pytest.mark.parametrize("name", [name for name in _ALL if name not in _CUT_CWD])
def test_start_says_where(history: History, stage: Stage, name: str) -> None:
    """The working directory is the one that /proc shows from outside, marked if it is in no tree."""
    before = {"chroot": _jail(stage, name), DETACHED: b"(unreachable)"}.get(name, b"")
    expected = sorted((truth.pid, text(before + truth.cwd)) for truth in history.witnessed[name])

    assert expected == sorted((row["pid"], row["cwd"]) for row in history.by_start[name])


def test_too_deep_cwd_is_cut_at_its_root_and_says_so(history: History) -> None:
    """Of a working directory 220 levels deep the lower part is there, marked."""
    (row,) = history.by_start["deep-cwd"]
    (truth,) = history.witnessed["deep-cwd"]
    mark, kept = row["cwd"][:5], row["cwd"][5:]

    assert mark == "(cut)"
    assert kept.startswith("/")
    assert kept.count("/") >= _COMPONENTS
    assert text(truth.cwd).endswith(kept)


def test_too_long_cwd_is_cut_at_its_root_and_says_so(history: History) -> None:
    """Of a working directory whose path is longer than PATH_MAX the lower part is there, marked."""
    (row,) = history.by_start["long-cwd"]
    _, *components = row["cwd"].split("/")

    assert row["cwd"].startswith("(cut)/")
    assert {"d" * 200} == set(components)
    assert _LONGEST_PATH - 201 <= len(row["cwd"]) - len("(cut)") <= _LONGEST_PATH + 256


@launched
def test_start_says_the_name_that_execve_was_given(history: History, name: str) -> None:
    """The file name is the caller's, for execveat as the kernel spells it, for a script the script."""
    program = str(history.starts[name][0].program)
    base = program.rpartition("/")[2]
    expected = {
        "execveat": f"/dev/fd/{START_DIRFD}/{base}",
        "bind-mount": f"{history.by_start[name][0]['cwd']}/{base}",
        "overlay": f"{history.by_start[name][0]['cwd']}/{base}",
        **dict.fromkeys(_BY_DIRFD, f"/dev/fd/{START_DIRFD}"),
    }.get(_method(name), program)

    assert {expected} == {row["filename"] for row in history.by_start[name]}


@launched
def test_start_says_which_thread_called(history: History, name: str) -> None:
    """The tid is that of a thread that called execve, and not the pid's when another one did."""
    for attempt, row in zip(
        sorted(history.starts[name]), sorted(history.by_start[name], key=lambda row: row["pid"]), strict=True
    ):
        if _method(name) in ("thread", "two-threads", "two-threads-often"):
            assert row["tid"] in attempt.tids
            assert _method(name) != "thread" or row["tid"] != row["pid"]
        else:
            assert row["pid"] == row["tid"]


def test_threads_other_than_the_leader_were_seen_to_win(history: History) -> None:
    """The race of two threads is one: each of them won at times."""
    winners = {row["tid"] == row["pid"] for row in history.by_start["two-threads-often"]}

    assert {True, False} == winners


def test_thread_that_loses_the_race_does_not_leak_the_kernels_own_errors(history: History) -> None:
    """A thread that is killed inside its execve failed with no error that a program could see."""
    pids = {attempt.pid for attempt in history.starts["two-threads-often"]}
    errors = {row["errno"] for pid in pids for row in history.failed(pid)}

    # 512 and above, such as ERESTARTNOHAND, stay inside the kernel: they have no names.
    assert not {name for name in errors if name[1:].isdigit()}


def test_rewriting_threads_were_at_work(history: History) -> None:
    """The argv that another thread rewrites was not the same for all programs, and was torn at times."""
    line = STARTS[TORN].line
    middle = line.index(b"\0") + 1 + len(line.split(b"\0")[1]) // 2
    never_torn = {line, line[:middle] + b"\0end\0", line[:middle] + b"X" + line[middle + 1 :]}

    assert len({truth.argv for truth in history.witnessed["rewritten"]}) > 1
    assert {truth.argv for truth in history.witnessed[TORN]} - never_torn


def test_process_that_replaces_itself_twice_has_three_execs(history: History, stage: Stage) -> None:
    """One pid's execs are three rows in their order: the launcher, the launcher again, the witness."""
    (attempt,) = history.starts["chain"]
    launcher, witness = str(stage.programs.launcher), str(attempt.program)

    assert [launcher, launcher, witness] == [row["exe"] for row in history.by_pid[attempt.pid]]


def test_script_has_the_argv_of_its_interpreters(history: History, stage: Stage) -> None:
    """Of a script three deep the argv is what runs: the image, options, and all three scripts."""
    (row,) = history.by_start[SCRIPT]
    inner, middle, outer = (str(stage.folder / f"{SCRIPT}-{level}") for level in ("inner", "middle", "outer"))

    assert [
        str(stage.programs.witness_named(SCRIPT)),
        "-x",
        inner,
        middle,
        "two words",
        outer,
        "one",
        "two words",
    ] == (row["argv"])


def test_program_with_argc_0_has_one_empty_argument(history: History) -> None:
    """Since Linux 5.18 the kernel gives an empty name to a program started without any argument."""
    assert [history.by_start[name][0]["argv"] for name in ("argc-0", "null-argv")] == [[""], [""]]


def test_program_of_32_bits_is_recorded_like_any_other(history: History, stage: Stage) -> None:
    """Into a 32-bit program and out of it again are two execs of one pid."""
    hop, witness = str(stage.programs.hop32), str(stage.programs.witness_named(HOP32))

    assert [(hop, [hop, witness, "", "two words"]), (witness, [witness, "", "two words"])] == [
        (row["exe"], row["argv"]) for row in history.by_pid[history.through_32_bits]
    ]


def test_program_started_by_the_kernel_has_its_argv(history: History, stage: Stage) -> None:
    """A core dump helper, which no process started, is recorded like any other program."""
    (row,) = history.by_start[CORE]

    assert [str(stage.programs.witness_named(CORE)), "11", "two"] == row["argv"]


def test_program_run_by_its_magic_bytes_has_the_argv_of_its_interpreter(
    history: History, stage: Stage
) -> None:
    """A file of a format registered with binfmt_misc is named, and its interpreter's argv is recorded."""
    (row,) = history.by_start[MISC]
    program = str(stage.folder / "misc")

    assert row["filename"] == program
    assert row["argv"] == [str(stage.programs.witness_named(MISC)), program, "", "two words"]


def test_ids_and_times_are_those_of_the_starts(history: History) -> None:
    """No id comes twice, and rows come in the order of their times, which are those of the session."""
    began, ended = history.span
    ids = [row["id"] for row in history.rows]
    times = [row["time"] for row in history.rows]

    assert len(ids) == len(set(ids))
    assert sorted(times) == times
    assert began <= times[0][: len(began)] <= times[-1][: len(ended)] <= ended


def test_json_log_has_the_same_records_as_the_history(history: History) -> None:
    """Each exec is one line of the JSON log, with the same values as a query gives, but for its end."""
    logged = {row["id"]: row for row in history.logged}

    assert len(logged) == len(history.logged)
    assert {row["id"]: without_end(row) for row in history.rows} == logged


def test_nothing_was_missed(history: History) -> None:
    """So few execs leave no gap, and the recorder ends with status 0."""
    assert history.recorded.gaps() == []
    assert history.recorded.status == 0


def test_methods_cover_the_design(history: History) -> None:
    """Each way of starting was tried with a short and with a long argv."""
    for method in METHODS:
        assert (
            len(argv_of(history.by_start[method][0]))
            < 100
            < len(argv_of(history.by_start[f"{method}-long"][0]))
        )
