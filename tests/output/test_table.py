"""JSON lines, CSV and the table: safe to show, and lossless where they promise it."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import timedelta, timezone
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wcwidth import wcswidth

from execaudit.enums import Ended, Gained, GapReason, Kind, Truncated
from execaudit.escaping import printable
from execaudit.event import End, ExecEvent, Gap, Hole, Nanoseconds
from execaudit.exec_id import ExecKey
from execaudit.output.csv_lines import csv_text
from execaudit.output.json_lines import jsonl
from execaudit.output.notices import gap_line
from execaudit.output.record import FIELDS, to_record
from execaudit.output.table import Table, View, table
from execaudit.output.timecolumn import TimeColumn
from tests.histories import changed, make_event

UTC = timezone.utc
EVENT = make_event(
    b"ls", b"-l", b"my file",
    host="web-1", boot_id="8f6a1c2e-1111-4222-8333-444455556666",
    time_ns=Nanoseconds(1_795_356_307_123_456_789), boot_ns=Nanoseconds(4_200_000_000_001),
    ppid=4200, uid=1000, euid=1000, gid=1000, user="alice",
    comm=b"ls", filename=b"/bin/ls", exe=b"/usr/bin/ls", cwd=b"/root",
)  # fmt: skip
SNAPSHOT = changed(EVENT, kind=Kind.SNAPSHOT, filename=None)
FAILED = changed(
    EVENT,
    kind=Kind.FAILED,
    filename=b"/no/such",
    argv=b"such",
    holes=(Hole(4, None),),
    uid=7,
    user=None,
    errno=2,
)
SPECIAL = "=+-@'\"\t\r\n,;\x1b\x7f\x9b\u202e\u2028\uff1d\uff20 aé"
NASTY = changed(
    EVENT,
    user="'=1",
    comm=b"\r",
    filename=b"=\x7f\n",
    exe=b"\tx",
    cwd="\uff1d\u202e".encode(),
    argv=SPECIAL.encode(),
    login_user="@\u202e",
    tty=b"-\x1b",
    parent_comm=b"=\n",
    cgroup=b"+\x9b",
    interpreter=b"@\r",
    root=b"=\x1b",
)
TEXTS = st.text(SPECIAL) | st.text()
# The kernel's strings end at a NUL, and Python 3.10's csv cannot write one.
PATHS = (
    st.none()
    | TEXTS.map(lambda text: text.replace("\0", "").encode())
    | st.binary().map(lambda raw: raw.replace(b"\0", b""))
)
SMALL = st.none() | st.integers(0, 255)
KEYS = st.builds(ExecKey, *[st.integers(0, 9)] * 3)
EVENTS = st.builds(
    partial(changed, EVENT),
    kind=st.sampled_from(Kind),
    host=TEXTS,
    ppid=st.none() | st.integers(-1, 2**22),
    user=st.none() | TEXTS,
    comm=PATHS,
    filename=PATHS,
    exe=PATHS,
    cwd=PATHS,
    argv=TEXTS.map(str.encode) | st.binary(),
    holes=st.just(()) | st.just((Hole(1, 5), Hole(3, None))),
    truncated=st.none() | st.sampled_from(Truncated),
    errno=st.none() | st.integers(1, 600),
    parent=st.none() | KEYS,
    login_user=st.none() | TEXTS,
    parent_comm=PATHS,
    tty=PATHS,
    cgroup=PATHS,
    interpreter=PATHS,
    root=PATHS,
    mnt_ns=st.none() | st.integers(0, 2**32 - 1),
    traced=st.none() | st.integers(1, 2**32 - 1),
    inode=st.none() | st.integers(0, 2**64 - 1),
    device=st.none() | st.integers(0, 2**32 - 1),
    privileged=st.none() | st.builds(Gained, st.integers(0, 7)),
    end=st.none() | st.builds(End, st.sampled_from(Ended), SMALL, SMALL, SMALL, st.none() | KEYS),
)


def read_csv(text: str) -> list[list[str]]:
    """Reads CSV as a consumer does."""
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


def plain(value: object) -> str:
    """Says what a CSV cell has to hold of a record's value."""
    if isinstance(value, list):
        return json.dumps(value, separators=(",", ":"))
    return "" if value is None else str(value)


@given(st.lists(EVENTS, max_size=3))
def test_json_lines_carry_the_record(events: list[ExecEvent]) -> None:
    """Each line is one JSON object, equal to the exec's record."""
    assert [to_record(event) for event in events] == [json.loads(line) for line in jsonl(events)]


@given(EVENTS)
@example(NASTY)
def test_json_lines_are_safe_to_show(event: ExecEvent) -> None:
    """A JSON line is printable ASCII and nothing else: even DEL is escaped."""
    (line,) = jsonl([event])

    assert line.endswith("\n")
    assert line[:-1].isascii()
    assert line[:-1].isprintable()


@given(st.lists(EVENTS, max_size=3))
@example([NASTY])
def test_raw_csv_is_lossless(events: list[ExecEvent]) -> None:
    """With raw, a CSV reader gets every exact value back, line ends and quotes included."""
    header, *rows = read_csv("".join(csv_text(events, raw=True)))

    assert list(FIELDS) == header
    assert len(events) == len(rows)
    for event, row in zip(events, rows, strict=True):
        record = to_record(event)
        cells = dict(zip(header, row, strict=True))
        assert {name: plain(record.get(name)) for name in cells} == cells


@given(EVENTS)
@example(NASTY)
def test_the_csv_guard_is_reversible(event: ExecEvent) -> None:
    """Stripping one leading apostrophe of a text cell gives the shown text back."""
    header, row = read_csv("".join(csv_text([event], raw=False)))
    record = to_record(event)

    for name, cell in zip(header, row, strict=True):
        value = record.get(name)
        if isinstance(value, str):
            assert printable(value) == cell.removeprefix("'")
        elif not isinstance(value, list):
            assert plain(value) == cell


@given(EVENTS)
@example(NASTY)
def test_no_csv_cell_is_a_formula_or_obeyed(event: ExecEvent) -> None:
    """Not raw, no text starts as a formula does, and each piece is one printable line."""
    pieces = list(csv_text([event], raw=False))
    header, row = read_csv("".join(pieces))

    assert all(piece.endswith("\n") and piece[:-1].isprintable() for piece in pieces)
    for name, cell in zip(header, row, strict=True):
        assert name == "ppid" or not cell.startswith(tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20"))


def test_csv_is_as_documented() -> None:
    """Unknown is an empty cell, argv is JSON, a formula is guarded, a number is not."""
    event = changed(EVENT, argv=b"=1+1\0a,b\0", cwd=None, exe=b"=cmd|' /C calc'!A0", ppid=-1)
    event = changed(event, device=8 << 20 | 1, nlink=0, privileged=Gained.SETUID | Gained.SETGID)
    event = event._replace(end=End(Ended.EXITED, code=3, duration_ns=5))
    header, row = csv_text([event], raw=False)

    assert ",".join(FIELDS) + "\n" == header
    assert (
        f"{event.id},,2026-11-22T14:05:07.123456789Z,web-1,8f6a1c2e-1111-4222-8333-444455556666,exec,"
        "4242,4242,-1,1000,1000,1000,,,,alice,,,ls,,/bin/ls,,'=cmd|' /C calc'!A0,,8:1,0,\"setuid,setgid\",,,,,"
        '"[""=1+1"",""a,b""]",3,14,"\'\'=1+1\' a,b",,,,,,,exited,3,,5,,\n'
    ) == row


@pytest.mark.parametrize("raw", [True, False])
def test_csv_of_nothing_is_its_header(raw: bool) -> None:  # noqa: FBT001 - a case, not an option
    """Without events there is still a header, so that a program can read the file."""
    assert [",".join(FIELDS) + "\n"] == list(csv_text([], raw=raw))


def shown(*events: ExecEvent, zone: timezone = UTC, is_live: bool = False, **view: Any) -> list[str]:  # noqa: ANN401  # of View
    """Returns the lines of the table of events, which decide how wide its columns are."""
    made = Table(TimeColumn(zone, now_ns=0), View(**view), is_live=is_live)
    times = [event.time_ns for event in events] or [Nanoseconds(0)]
    made.fit(events, min(times), max(times))
    return "".join(table(events, made)).splitlines()


ENDED = EVENT._replace(end=End(Ended.EXITED, 3, duration_ns=1_234_567_890))
SETUID = changed(
    ENDED, exe=b"/tmp/x", argv=b"[kworker/0:1]\0", privileged=Gained.SETUID, end=End(Ended.RUNNING)
)
SHORT = EVENT.id[:15]


def test_the_table_is_for_people() -> None:
    """Golden table: columns in line, failed execs with the path asked for, a disguise with its program."""
    assert [
        "2026-11-22 UTC ID         PID USER  STATUS    TOOK COMMAND",
        f"14:05:07 {SHORT} 4242 alice exit 3   1.23s ls -l 'my file'",
        f"14:05:07 {SHORT} 4242 7     ENOENT       - /no/such: such [...unknown number of bytes missing...]",
        f"14:05:07 {SHORT} 4242 alice running      - [setuid] /tmp/x: '[kworker/0:1]'",
    ] == shown(ENDED, FAILED, SETUID)


def test_broad_terminals_have_more_of_the_time() -> None:
    """Milliseconds from 100 columns on, and the day from 140 on."""
    assert shown(EVENT, width=100)[1].startswith(f"14:05:07.123 {SHORT} ")
    assert shown(EVENT, width=140)[1].startswith(f"2026-11-22 14:05:07.123 {SHORT} ")


def test_what_ran_already_is_told_apart() -> None:
    """`<` stands before the time, which is not when it began; ids of one moment are whole."""
    head, row = shown(SNAPSHOT)

    assert row.startswith(f"<14:05:07 {EVENT.id} 4242 alice -")
    assert head.startswith(" 2026-11-22 UTC ID  ")
    assert head.index("PID") + 3 == row.index("4242") + 4


def test_wide_has_all_columns_whole() -> None:
    """Whole ids and times, the parent, and the program in a column of its own."""
    exe = b"/nix/store/" + b"x" * 60 + b"/bin/ls"
    name = "somebody-with-a-long-name"
    head, row = shown(changed(EVENT, exe=exe, user=name), width=40, is_cut=True, is_wide=True)

    assert ["TIME", "UTC", "ID", "PID", "PPID", "USER", "STATUS", "TOOK", "EXE", "COMMAND"] == head.split()
    assert ["2026-11-22", "14:05:07.123", EVENT.id, "4242", "4200", name] == row.split()[:6]
    assert exe.decode() == row.split()[8]
    assert row.endswith(" ls -l 'my file'")


def test_a_path_cannot_pass_for_other_columns() -> None:
    """A path with spaces is in quotes, so where EXE ends is plain."""
    odd = changed(EVENT, exe=b"/tmp/x  /bin/true")

    assert " '/tmp/x  /bin/true'      ls" in shown(odd, is_wide=True)[1]
    assert shown(odd)[1].endswith(" '/tmp/x  /bin/true': ls -l 'my file'")


@pytest.mark.parametrize("width", [80, 100, 200])
def test_lines_end_where_the_terminal_does(width: int) -> None:
    """Whatever is long is cut, and says so; nothing is cut before the end."""
    long = changed(EVENT, user="systemd-resolve", argv=b"x" * 500 + b"\0")
    head, row, short = shown(long, EVENT, width=width, is_cut=True)

    assert width == len(row)
    assert width >= len(head)
    assert row.endswith("x…")
    assert "systemd+" in row or "systemd-r+" in row
    assert short.endswith("ls -l 'my file'")


@given(EVENTS, st.integers(1, 200), st.booleans())
@example(event=NASTY, width=40, wide=False)
def test_no_line_is_longer_than_the_terminal(event: ExecEvent, width: int, wide: bool) -> None:  # noqa: FBT001  # drawn
    """Whatever was executed, and however narrow it is."""
    made = Table(TimeColumn(UTC, now_ns=0), View(width=width, is_cut=True, is_wide=wide))

    assert wide or all(wcswidth(line) <= max(width, 1) for line in (made.header(), made.row(event)))


def test_a_day_that_is_not_in_the_header_is_shown() -> None:
    """A time of another day than the first has its day, so that none is misread."""
    made = Table(TimeColumn(UTC, now_ns=0), View())
    made.fit([EVENT], EVENT.time_ns, EVENT.time_ns)
    later = EVENT._replace(time_ns=Nanoseconds(EVENT.time_ns + 86_400 * 10**9))

    assert made.row(later).startswith("2026-11-23 14:05:07 ")
    assert [
        "2026 UTC       ID ",
        "11-22 14:05:07 " + SHORT[:3],
        "11-23 14:05:07 " + SHORT[:3],
    ] == [line[:18] for line in shown(EVENT, later)]


def test_the_table_shows_the_zone_asked_for() -> None:
    """Times are local to the zone given."""
    head, row = shown(EVENT, zone=timezone(timedelta(hours=1)), width=140)

    assert row.startswith("2026-11-22 15:05:07.123 ")
    assert head.startswith("TIME +01:00 ")


def test_unknown_columns_are_a_dash() -> None:
    """What is not known takes its column all the same."""
    unknown = changed(EVENT, ppid=None, uid=None, user=None, exe=None)

    assert ["4242", "-", "-", "-", "-", "-", "ls"] == shown(unknown, is_wide=True)[1].split()[3:10]
    assert ["4242", "-", "-", "-", "ls"] == shown(unknown)[1].split()[2:7]


def test_what_has_just_happened_has_no_end() -> None:
    """The live view says only whether it started."""
    head, row, failed = shown(EVENT, FAILED, is_live=True)

    assert ["ID", "PID", "USER", "RESULT", "COMMAND"] == head.split()[2:]
    assert ["alice", "ok", "ls"] == row.split()[3:6]
    assert ["7", "ENOENT", "/no/such:"] == failed.split()[3:6]


def test_colours_say_nothing_that_the_text_does_not() -> None:
    """A failure is red, marks are yellow, and the program behind a disguise stands out."""
    events = (ENDED, FAILED, SETUID, EVENT)
    coloured = shown(*events, colour=True, width=72, is_cut=True)

    assert shown(*events, width=72, is_cut=True) == [re.sub("\x1b\\[[0-9;]*m", "", line) for line in coloured]
    assert " \x1b[31mexit 3\x1b[0m " in coloured[1]
    assert " \x1b[31mENOENT\x1b[0m " in coloured[2]
    assert "\x1b[33m[setuid]" in coloured[3]
    assert "\x1b[1;35m/tmp" in coloured[3]
    assert "\x1b" not in coloured[4]


@given(EVENTS, st.booleans())
@example(event=NASTY, wide=True)
def test_table_rows_are_safe_to_show(event: ExecEvent, wide: bool) -> None:  # noqa: FBT001  # drawn
    """Whatever was executed, its row is one printable line."""
    assert all(line.isprintable() for line in shown(event, is_wide=wide))


@pytest.mark.parametrize(("length", "more"), [(4096, 0), (4097, 1), (2_000_000, 1_995_904)])
def test_a_huge_command_is_cut_and_says_so(length: int, more: int) -> None:
    """Above 4096 characters the table says how many more there are, and where they can be seen."""
    row = shown(changed(EVENT, argv=b"x" * length + b"\0", exe=None))[1]
    note = f" [...{more} more characters: --format jsonl has all...]" if more else ""

    assert row.endswith(" " + "x" * min(length, 4096) + note)


@pytest.mark.parametrize(
    ("count", "exits", "counted"),
    [
        (120, 0, "120 execs"),
        (1, 0, "1 exec"),
        (None, 0, "an unknown number of execs"),
        (0, 1, "1 end of a program"),
        (0, 12, "12 ends of programs"),
        (5, 12, "5 execs and 12 ends of programs"),
        (None, 1, "an unknown number of execs and 1 end of a program"),
    ],
)
def test_a_gap_is_one_line(count: int | None, exits: int, counted: str) -> None:
    """A gap says how many execs and ends, when (rounded outward) and why."""
    start, end = 1_795_356_307_123_999_999, 1_795_356_307_300_000_001
    gap = Gap("web-1", Nanoseconds(start), Nanoseconds(end), GapReason.RING_FULL, count, exits)

    assert (
        f"gap: {counted} missed between 2026-11-22 14:05:07.123 and 2026-11-22 14:05:07.301 (ring_full)"
    ) == gap_line(gap, UTC)


def test_a_time_without_a_recorder_has_no_count() -> None:
    """The gap that a recorder stores when it starts reads as one that a command found."""
    start, end = 1_795_356_307_123_999_999, 1_795_356_307_300_000_001
    gap = Gap("web\n1", Nanoseconds(start), Nanoseconds(end), GapReason.RECORDER_STOPPED, None)

    assert (
        "gap: nobody recorded web\\n1 between 2026-11-22 14:05:07.123 and 2026-11-22 14:05:07.301"
    ) == gap_line(gap, UTC)


def test_a_step_of_the_clock_is_no_loss() -> None:
    """Nothing was missed, but times are not what they seem."""
    start, end = 1_795_356_307_123_999_999, 1_795_356_307_300_000_001
    gap = Gap("web-1", Nanoseconds(start), Nanoseconds(end), GapReason.CLOCK, 0)

    assert (
        "gap: the clock was stepped between 2026-11-22 14:05:07.123 and 2026-11-22 14:05:07.301: "
        "times around it mislead (clock)"
    ) == gap_line(gap, UTC)


def test_several_hosts_have_a_column() -> None:
    """One host has none; a name cannot write on the terminal, and is cut with the line."""
    view = View(width=120, is_cut=True)
    plain = Table(TimeColumn(timezone.utc, now_ns=EVENT.time_ns), view, hosts=["web1"])
    assert "HOST" not in plain.header()

    shown = Table(TimeColumn(timezone.utc, now_ns=EVENT.time_ns), view, hosts=["web1", "a" * 40, "\x1b[2J"])
    for host, cell in (("web1", "web1"), ("a" * 40, "a" * 15 + "+"), ("\x1b[2J", "\\x1b[2J")):
        row = shown.row(EVENT._replace(host=host))
        place = shown.header().index("HOST")
        assert row[place : place + 17].rstrip() == cell
        assert "\x1b" not in row
