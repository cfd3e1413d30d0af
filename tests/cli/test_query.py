"""`execaudit query`, as typed: what it finds, and how it prints that."""

from __future__ import annotations

import csv
import io
import json
import shlex
from typing import TYPE_CHECKING

import pytest

from execaudit.output.record import FIELDS
from tests.commands import execaudit, in_shell, on_terminal
from tests.histories import START, make_event, make_history

if TYPE_CHECKING:
    from pathlib import Path

ALL = [1, 0, 100, 101, 102, 103, 104, 200]
FILTERS: dict[str, list[int]] = {
    "--pid 0": [0],
    "--pid 100 --pid 0": [0, 100],
    "--ppid 0": [1, 0],
    "--ppid 0 --ppid 100": [1, 0, 101],
    "--user 0": [1, 0, 103, 104, 200],
    "--user root": [1, 0, 103, 104, 200],
    "--user alice": [100, 101],
    "--user 1000": [100, 101],
    "--user 4242": [102],
    "--user alice --user 4242": [100, 101, 102],
    "--comm curl": [100],
    "--comm 'c*'": [100, 102],
    "--comm '[!c]*'": [1, 0, 101, 103, 104, 200],
    "--comm 'C*'": [],
    "--comm ''": [],
    "--exe '/usr/bin/*'": [100, 101, 102, 103, 200],
    "--exe '*/gcc' --exe /usr/bin/curl": [100, 102],
    "--exe '/memfd:* (deleted)'": [104],
    "--cwd '/home/alice*'": [100, 101],
    "--cwd /home/alice": [100],
    "--args --flag": [101],
    "--args '-sS http://x/a'": [100],
    "--args '*'": [103],
    "--args SPLASH": [],
    "--args-regex '^curl .*(http|ftp)://'": [100],
    "--args-regex '(?i)SPLASH'": [1],
    "--args-regex ^ls --args-regex ^id$": [103, 200],
    "--login-user alice": [100, 101],
    "--login-user 1000 --login-user 4242": [100, 101, 102],
    "--login-user root": [],
    "--tty pts/3": [100],
    "--tty /dev/pts/3 --tty pts/4": [100, 101],
    "--tty pts/": [],
    "--cgroup /user.slice/a": [100],
    "--cgroup '/user.slice/*' --cgroup /init.scope": [1, 100, 101],
    "--cgroup '*.scope'": [1, 102],
    "--container 9ec39ec3": [102],
    "--container 9ec3 --container web": [102, 103],
    "--container 9ec": [],
    "--under [1]": [100, 101, 102],
    "--under [100]": [101],
    "--under [100] --under [102]": [101],
    "--under [101]": [],
    "--under [1] --failed": [101],
    "--under [1] --limit 2 --reverse": [102, 101],
    "--under [1] --since @{3}": [101, 102],
    "--host db1": [200],
    "--host web1 --host db1 --limit 3": [103, 104, 200],
    "--host nowhere": [],
    "--failed": [101],
    "--truncated": [102],
    "--failed --truncated": [],
    "--limit 0": [],
    "--limit 2": [104, 200],
    "--limit 2 --reverse": [200, 104],
    "--limit 99999999999999999999999": ALL,
    "--reverse": ALL[::-1],
    "--user root --ppid 0 --limit 1": [0],
    "--user alice --failed": [101],
    "--since @{2}": [100, 101, 102, 103, 104, 200],
    "--until @{2}": [1, 0],
    "--since @{2} --until @{4}": [100, 101],
    "--since @{2}.000000001 --until @{4}.000000001": [101, 102],
    "--since '2026-11-22 18:08:41' --until 2026-11-22T18:08:42Z": [100],
    "--since @0": ALL,
    "--since @{900}": [],
    "--until @1": [],
}


# When the execs that have descendants, or could have, happened.
_SECONDS = {1: 0, 100: 2, 101: 3, 102: 4}


def words(options: str) -> list[str]:
    """Returns the arguments that options are.

    `{2}` is two seconds after the history's start, `[100]` the id of the exec with that pid.
    """
    for pid, seconds in _SECONDS.items():
        options = options.replace(f"[{pid}]", make_event(pid=pid, seconds=seconds).id)
    return shlex.split(options.format(*range(START, START + 901)))


@pytest.mark.parametrize("options", FILTERS)
def test_filters(options: str, history: Path) -> None:
    """
    Different options combine with AND, the same with OR, 0 filters, a range excludes its end.
    """
    done = execaudit("--db", history, "query", *words(options))

    assert (0, FILTERS[options]) == (done.status, done.pids())


def test_an_id_that_is_none_is_wrong_usage(history: Path) -> None:
    """
    --under takes an id, and says what one is.
    """
    for text in ("", "1", "i" * 22, "u" * 22, make_event().id + "0"):
        done = execaudit("--db", history, "query", "--under", text)

        assert 2 == done.status
        assert done.failed_in_one_line()
        assert b"no exec id: those have 22 characters" in done.err


def test_an_id_of_nothing_is_no_empty_answer(history: Path) -> None:
    """
    --under an exec that this history does not have fails; one of which nothing came finds nothing.
    """
    text = make_event(pid=999).id
    for command in ("query", "export"):
        done = execaudit("--db", history, command, "--under", text)

        assert 1 == done.status
        assert done.failed_in_one_line()
        assert f"there is no exec {text} in this history: ".encode() in done.err
    assert (
        execaudit("--db", history, "query", "--under", make_event(pid=101, seconds=3).id.upper()).status == 0
    )


def test_a_login_user_that_nobody_knows(history: Path) -> None:
    """
    A name that is known nowhere is a mistake, and the message names the option.
    """
    done = execaudit("--db", history, "query", "--login-user", "nobody-at-all")

    assert 2 == done.status
    assert done.failed_in_one_line()
    assert b"--login-user: nobody is called" in done.err


def test_lineage_and_end_are_in_the_record(history: Path) -> None:
    """
    A record names its parent, and says how its program ended.
    """
    init, curl = execaudit("--db", history, "query", "--pid", "1", "--pid", "100").rows()

    assert (None, init["id"]) == (init["parent_id"], curl["parent_id"])
    assert ["snapshot", "exec"] == [init["kind"], curl["kind"]]
    assert ["unknown", None, None] == [init[name] for name in ("ended", "exit_code", "duration_ns")]
    assert ["exited", 1, 7_000_000_000] == [curl[name] for name in ("ended", "exit_code", "duration_ns")]


def test_json_lines_when_piped(history: Path) -> None:
    """
    Without a terminal an exec is one JSON object on a line, with the record's keys in order.
    """
    row = execaudit("--db", history, "query", "--pid", "100").rows()[0]

    assert list(FIELDS[:-1]) == list(row)
    assert ["curl", "-sS", "http://x/a b"] == row["argv"]
    assert "curl -sS 'http://x/a b'" == row["command"]
    assert "2026-11-22T18:08:41.000000000Z" == row["time"]


def test_table_on_a_terminal(history: Path) -> None:
    """
    On a terminal it is a table, without colour if that is not wanted, in the zone of who asks.
    """
    env = {"TZ": "Asia/Tokyo", "NO_COLOR": "1"}
    shown = on_terminal("--db", history, "query", "--pid", "100", "--pid", "101", env=env)
    lines = shown.out.decode().splitlines()

    titles = ["2026-11-23", "+09:00", "HOST", "ID", "PID", "USER", "STATUS", "TOOK", "COMMAND"]
    assert titles == lines[0].split()
    assert ["03:08:41", "100", "alice", "exit", "1", "7.00s"] == [lines[1][:8], *lines[1].split()[3:8]]
    assert lines[2].split()[5:] == ["ENOENT", "-", "/opt/tool:", "tool", "--flag"]
    assert b"\x1b" not in shown.out


@pytest.mark.parametrize("fmt", ["table", "jsonl", "csv"])
def test_the_format_is_the_same_on_a_terminal(fmt: str, history: Path) -> None:
    """
    A format that is asked for is written whatever the output is, and byte for byte the same where it fits.
    """
    arguments = ("--db", history, "query", "--format", fmt)
    piped = execaudit(*arguments, env={"COLUMNS": "130"})

    assert piped.out
    assert piped.out == on_terminal(*arguments, env={"COLUMNS": "130", "NO_COLOR": "1"}).out


def test_csv_says_what_json_lines_say(history: Path) -> None:
    """
    What csv.reader reads back is the record of the JSON lines: null is an empty cell.
    """
    rows = execaudit("--db", history, "query").rows()
    text = execaudit("--db", history, "query", "--format", "csv").out.decode()
    header, *cells = csv.reader(io.StringIO(text, newline=""), strict=True)

    assert list(FIELDS) == header
    assert [[as_cell(row.get(name)) for name in FIELDS] for row in rows] == cells


def as_cell(value: object) -> str:
    """Returns what a CSV cell has for a value that no spreadsheet would run."""
    if isinstance(value, list):
        return json.dumps(value, separators=(",", ":"))
    return "" if value is None else str(value)


def test_finding_nothing_is_no_failure(history: Path) -> None:
    """
    A query without an answer ends with 0 and prints nothing, but for a table's header.
    """
    options = words("--since @{800} --until @{900}")

    assert (0, b"", b"") == execaudit("--db", history, "query", *options)
    assert 1 == execaudit("--db", history, "query", *options, "--format", "table").out.count(b"\n")


@pytest.mark.parametrize(
    ("options", "warned"),
    [
        ("", ["7 execs and 3 ends of programs", "an unknown number of execs"]),
        ("--since @{3}", ["7 execs and 3 ends of programs", "an unknown number of execs"]),
        ("--until @{6}", ["7 execs and 3 ends of programs"]),
        ("--since @{6}", ["an unknown number of execs"]),
        ("--since @{4} --until @{6}", []),
        ("--until @{3}", []),
        ("--pid 0", ["7 execs and 3 ends of programs", "an unknown number of execs"]),
        ("--host db1", []),
    ],
)
def test_gaps_in_the_range_are_named(options: str, warned: list[str], history: Path) -> None:
    """
    Where execs are missing in the range, stderr says when and how many; outside of it, nothing.
    """
    done = execaudit("--db", history, "query", *words(options))
    lines = done.err.decode().splitlines()

    assert len(warned) == len(lines)
    assert all(line.startswith(f"gap: {count} ") for line, count in zip(lines, warned, strict=True))
    assert len(warned) == sum(gap["reason"] == "ring_full" for gap in done.gaps())


@pytest.mark.parametrize("fmt", ["table", "jsonl", "csv"])
def test_a_closed_pipe_is_silent(fmt: str, long_history: Path) -> None:
    """
    `| head` gets its line, and nobody complains.
    """
    script = f"set -o pipefail; $execaudit --db {long_history} query --format {fmt} | head -1"
    done = in_shell(script, folder=long_history.parent)

    assert (0, 1, b"") == (done.status, done.out.count(b"\n"), done.err)


def test_a_closed_pipe_is_silent_on_stderr_too(history: Path) -> None:
    """
    When nobody reads the talk either, there is still no traceback and no bad status.
    """
    script = f"set -o pipefail; $execaudit --db {history} query 2>&1 >/dev/null | true"

    assert (0, b"", b"") == in_shell(script, folder=history.parent)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_descriptors(closed: str, history: Path) -> None:
    """
    Started without stdin, stdout or stderr, it works, and no file takes their numbers.
    """
    before = history.read_bytes()
    done = in_shell(f"$execaudit --db {history} query --since nonsense {closed}", folder=history.parent)
    found = in_shell(f"$execaudit --db {history} query --pid 0 {closed}", folder=history.parent)

    assert (2, 0) == (done.status, found.status)
    assert b"Traceback" not in done.err + found.err
    assert before == history.read_bytes()


def test_output_is_utf8_in_every_locale(tmp_path: Path) -> None:
    """
    A pipe gets UTF-8 and a terminal what it can show; no name stops the answer.
    """
    path = make_history(tmp_path / "history.db", [make_event("naïve ☃".encode(), user="bj\udcf6rn")])
    piped = execaudit("--db", path, "query", "--format", "csv", env={"PYTHONIOENCODING": "latin-1"})
    raw = execaudit("--db", path, "query", "--format", "csv", "--raw")
    shown = on_terminal("--db", path, "query", env={"PYTHONIOENCODING": "ascii"})

    assert (0, 0, 0) == (piped.status, raw.status, shown.status)
    assert "'naïve ☃'" in piped.out.decode()
    assert "'naïve ☃'" in raw.out.decode()
    assert rb"'na\xefve \u2603'" in shown.out


def test_raw_is_exact(tmp_path: Path) -> None:
    """
    --raw leaves a cell as it was recorded, formula or control; without it a cell is neither.
    """
    path = make_history(tmp_path / "history.db", [make_event(b"x", comm=b"=1+1", cwd=b"/a\x1b[31m")])
    guarded, raw = (
        list(
            csv.DictReader(
                io.StringIO(execaudit("--db", path, "query", "--format", "csv", *more).out.decode())
            )
        )
        for more in ([], ["--raw"])
    )

    assert ("'=1+1", "/a\\x1b[31m") == (guarded[0]["comm"], guarded[0]["cwd"])
    assert ("=1+1", "/a\x1b[31m") == (raw[0]["comm"], raw[0]["cwd"])
