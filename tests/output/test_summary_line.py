"""An exec in brief: words for its end, and its line, in line with others and safe to show."""

from __future__ import annotations

import re
from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import wcswidth

from execaudit.enums import Ended, Kind, Truncated
from execaudit.event import End, ExecEvent, Hole
from execaudit.output.summary_line import (
    Role,
    Style,
    day_of,
    duration_text,
    kin_line,
    local_text,
    outcome,
    short_outcome,
    tree_header,
    tree_line,
)
from execaudit.output.tree_layout import ASCII
from tests.events import events
from tests.histories import at, changed, make_event

UTC = timezone.utc
LS = make_event(
    b"ls", b"-l", b"my file", pid=4242, user="alice", comm=b"ls", filename=b"/bin/ls", exe=b"/usr/bin/ls"
)
NEXT = make_event(b"x", seconds=9)
SECOND = 1_000_000_000
ENDS: list[tuple[ExecEvent, str, str]] = [
    (LS._replace(end=End(Ended.EXITED, code=0, duration_ns=1_234_567_890)), "0", "exited 0 after 1.234 s"),
    (LS._replace(end=End(Ended.EXITED, code=255, duration_ns=0)), "255", "exited 255 after 0.000 ms"),
    (LS._replace(end=End(Ended.EXITED, code=1)), "1", "exited 1"),
    (
        LS._replace(end=End(Ended.SIGNALED, signal=9, duration_ns=125 * SECOND)),
        "SIGKILL",
        "killed by SIGKILL after 2m05s",
    ),
    (LS._replace(end=End(Ended.SIGNALED, signal=34)), "SIGRTMIN", "killed by SIGRTMIN"),
    (LS._replace(end=End(Ended.SIGNALED, signal=36)), "SIGRTMIN+2", "killed by SIGRTMIN+2"),
    (LS._replace(end=End(Ended.SIGNALED, signal=33)), "signal 33", "killed by signal 33"),
    (
        LS._replace(end=End(Ended.REPLACED, duration_ns=5_000_000, replaced_by=NEXT.key)),
        "replaced",
        f"replaced by {NEXT.id} (b\\x1bsh) after 5.000 ms",
    ),
    (LS._replace(end=End(Ended.REPLACED, duration_ns=1)), "replaced", "replaced by another exec (b\\x1bsh) after 0.000 ms"),
    (LS._replace(end=End(Ended.RUNNING)), "running", "running"),
    (LS._replace(end=End(Ended.UNKNOWN)), "-", "end unknown"),
    (LS, "-", "end unknown"),
    (LS._replace(kind=Kind.FAILED, errno=2), "ENOENT", "failed with ENOENT"),
    (LS._replace(kind=Kind.FAILED), "failed", "failed"),
    (
        LS._replace(kind=Kind.SNAPSHOT, end=End(Ended.EXITED, code=3, duration_ns=2 * SECOND)),
        "3",
        "exited 3, 2.000 s after recording began",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("event", "short", "words"), ENDS, ids=[words for *_, words in ENDS])
def test_how_it_ended(event: ExecEvent, short: str, words: str) -> None:
    """Each end has its words and its one word, and whatever is unknown is left out."""
    assert words == outcome(event, next_comm=b"b\x1bsh")
    assert short == short_outcome(event)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0.000 ms"),
        (1_999, "0.001 ms"),
        (9_999_999, "9.999 ms"),
        (10_000_000, "10.0 ms"),
        (999_999_999, "999.9 ms"),
        (SECOND, "1.000 s"),
        (60 * SECOND - 1, "59.999 s"),
        (60 * SECOND, "1m00s"),
        (3600 * SECOND - 1, "59m59s"),
        (3600 * SECOND, "1h00m"),
        (86_400 * SECOND - 1, "23h59m"),
        (86_400 * SECOND, "1d00h"),
        (400 * 86_400 * SECOND, "400d00h"),
    ],
)
def test_lengths_of_time(nanoseconds: int, text: str) -> None:
    """They are cut and never rounded up, and fit their column."""
    assert text == duration_text(nanoseconds)
    assert len(text.replace(" ", "")) <= 8


def test_local_time() -> None:
    """It names its offset, and its day is that of the zone."""
    tokyo = timezone(timedelta(hours=9))

    assert "2026-11-22 18:08:39.500 +0000" == local_text(at(0.5), UTC)
    assert "2026-11-23 03:08:39.500 +0900" == local_text(at(0.5), tokyo)
    assert ["2026-11-22", "2026-11-23"] == [day_of(at(0), UTC), day_of(at(0), tokyo)]


def test_a_tree_line() -> None:
    """All that it has stands below its title."""
    style = Style(zone=UTC)
    ended = LS._replace(end=End(Ended.EXITED, code=0, duration_ns=1_234_567_890))

    assert (
        " TIME                    USER         PID DURATION STATUS   COMMAND\n"
        " 2026-11-22 18:08:39.000 alice       4242   1.234s 0        ├─ ls -l 'my file'"
    ) == tree_header(style) + "\n" + tree_line(ended, "├─ ", Role.MATCH, style)


def test_times_of_one_day() -> None:
    """The day stands above the times, and alone where it is another; `<`: it ran already."""
    style = Style(zone=UTC, day="2026-11-22", marked=True)
    lines = [
        tree_header(style),
        tree_line(LS._replace(kind=Kind.SNAPSHOT, time_ns=at(-86_400)), "", Role.CONTEXT, style),
        tree_line(LS, "└─ ", Role.MATCH, style),
        tree_line(LS, "   └─ ", Role.BELOW, style),
    ]

    assert [
        "   2026-11-22   USER         PID DURATION STATUS   COMMAND",
        ". <2026-11-21   alice       4242        - -        ls -l 'my file'",
        "*  18:08:39.000 alice       4242        - -        └─ ls -l 'my file'",
        "   18:08:39.000 alice       4242        - -           └─ ls -l 'my file'",
    ] == lines


@pytest.mark.parametrize(
    ("event", "command"),
    [
        (changed(LS, kind=Kind.FAILED, errno=2, filename=b"/opt/my ls"), "'/opt/my ls': ls -l 'my file'"),
        (changed(LS, kind=Kind.FAILED, errno=2, filename=b"ls"), "ls -l 'my file'"),
        (changed(LS, kind=Kind.FAILED, errno=2, filename=None), "ls -l 'my file'"),
        (changed(LS, filename=b"/opt/ls"), "ls -l 'my file'"),
        (changed(LS, exe=None, argv=b"", comm=b"k\x1bd"), "[k\\x1bd]"),
        (changed(LS, exe=None, argv=b"", comm=None), ""),
        (LS._replace(argv=b"ls\0", holes=(Hole(3, 7),), truncated=Truncated.LOST), "ls [...7 bytes missing...]"),
        (changed(LS, exe=None, argv=b"[...7\0"), "'[...7'"),
        (changed(LS, exe=None, argv=b"\x1b[2J\n\0"), "$'\\x1b[2J\\n'"),
        (changed(LS, exe=b"/tmp/x"), "/tmp/x: ls -l 'my file'"),
        (changed(LS, exe=b"/memfd:x (deleted)", nlink=0), "[memfd] /memfd:x: ls -l 'my file'"),
    ],
)  # fmt: skip
def test_commands(event: ExecEvent, command: str) -> None:
    """Of a failed exec another path is named; without arguments its name stands in brackets."""
    assert tree_line(event, "", Role.MATCH, Style(zone=UTC)).endswith(f" {command}")


def test_lines_are_cut_where_the_terminal_ends() -> None:
    """To its very width, wide characters counted double; never below what can be read."""

    def command_of(text: str, width: int) -> str:
        event = make_event(text.encode(), exe=None)
        return tree_line(event, "└─ ", Role.MATCH, Style(zone=UTC, width=60 + width))[60:]

    assert "└─ " + "a" * 27 == command_of("a" * 27, 30)
    assert "└─ " + "a" * 26 + "…" == command_of("a" * 28, 30)
    assert "└─ " + "a" * 16 + "…" == command_of("a" * 28, -50)
    assert "└─ '" + "漢" * 12 + "…" == command_of("漢" * 14, 30)
    assert "└─ '" + "漢" * 12 + "'" == command_of("漢" * 12, 30)
    assert "└─ '" + "e\u0301" * 25 + "'" == command_of("e\u0301" * 25, 30)
    assert len(command_of("e" + "\u0301" * 9000, 30)) < 200


def test_ascii_is_cut_in_ascii() -> None:
    """Where lines are drawn in ASCII, so is the cut."""
    line = tree_line(
        make_event(b"a" * 50, exe=None), "`- ", Role.MATCH, Style(zone=UTC, width=90, glyphs=ASCII)
    )

    assert "`- " + "a" * 24 + "..." == line[60:]
    assert 90 == len(line)


@pytest.mark.parametrize(
    ("user", "shown"),
    [
        ("systemd-resolve", "systemd+"),
        ("漢漢漢漢", "漢漢漢漢"),
        ("漢漢漢漢漢", "漢漢漢+ "),
        ("a\x1b\n", "a\\x1b\\n "),
    ],
)
def test_names_of_users_keep_their_column(user: str, shown: str) -> None:
    """A long one is cut as ps does, so that the drawing stands in line; none is unsafe."""
    line = tree_line(changed(LS, user=user), "", Role.MATCH, Style(zone=UTC))

    assert f"39.000 {shown}    4242" in line


def test_colour_says_nothing_that_the_text_does_not() -> None:
    """What led to a match is dim, a match bold beside others, and a bad end red."""
    failed = changed(LS, kind=Kind.FAILED, errno=2, filename=b"ls")
    style = Style(zone=UTC, colour=True, marked=True)
    plain = Style(zone=UTC, marked=True)
    for role in Role:
        line = tree_line(failed, "└─ ", role, style)

        assert tree_line(failed, "└─ ", role, plain) == re.sub("\x1b\\[[0-9]*m", "", line)
        assert ("\x1b[31mENOENT\x1b[0m" in line) == (role is not Role.CONTEXT)
        assert line.startswith("\x1b[2m") == (role is Role.CONTEXT)
        assert line.startswith("\x1b[1m") == (role is Role.MATCH)
    assert "\x1b[31m" not in tree_line(LS._replace(end=End(Ended.EXITED, code=0)), "", Role.BELOW, style)
    assert "\x1b[31m2\x1b[0m" in tree_line(LS._replace(end=End(Ended.EXITED, code=2)), "", Role.BELOW, style)


def test_a_narrow_terminal_has_few_columns() -> None:
    """A drawing leaves the command half of its room, and is never without any depth."""
    assert [4, 4, 8, 50] == [Style(width=width, day="x").most_columns for width in (1, 80, 100)] + [
        Style(width=None).most_columns
    ]


@given(events(), st.sampled_from(Role), st.none() | st.integers(1, 200), st.booleans())
def test_any_exec_has_one_safe_line(event: ExecEvent, role: Role, width: int | None, day: bool) -> None:  # noqa: FBT001  # drawn
    """Whatever strangers have put into an exec, its line is printable text on one line."""
    event = event._replace(time_ns=at(0))
    style = Style(zone=UTC, width=width, day="2026-11-22" if day else None, marked=True)
    line = tree_line(event, "└─ ", role, style)

    assert line.isprintable()
    assert kin_line(event, "└─ ", style).isprintable()
    assert outcome(event, next_comm=event.launch.comm).isprintable()
    assert width is None or wcswidth(line) <= max(
        width, len(tree_line(changed(LS, argv=b"", comm=None, exe=None), "", role, style)) + 30
    )


def test_a_relative_line() -> None:
    """It begins with the id, which is what one asks for next."""
    assert f"{LS.id}  18:08:39.000    4242 -        └─ ls -l 'my file'" == kin_line(
        LS, "└─ ", Style(zone=UTC, day="2026-11-22")
    )
    long = changed(LS, argv=b"a" * 50, exe=None)
    assert f"{LS.id}  18:08:39.000    4242 -        └─ {'a' * 42}…" == kin_line(
        long, "└─ ", Style(zone=UTC, day="2026-11-22", width=100)
    )


def test_a_relative_line_on_a_narrow_terminal() -> None:
    """The command has the room of half of the id, of the milliseconds, and of the drawing."""
    style = Style(zone=UTC, day="2026-11-22", width=78)
    long = changed(LS, argv=b"a" * 50, exe=None)
    old = LS._replace(kind=Kind.SNAPSHOT, time_ns=at(-86_400), pid=812)

    assert [
        f"{LS.id[:15]} 18:08:39    4242 -        └─ {'a' * 32}…",
        "pid:812         11-21        812 -        ls -l 'my file'",
    ] == [kin_line(long, " " * 9 + "└─ ", style), kin_line(old, "", style)]
