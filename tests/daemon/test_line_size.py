"""What an exec is charged in the JSON log, against the line that it gets."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from execaudit.daemon.backlog import Finished
from execaudit.daemon.budget import JSON_LOG, Budget
from execaudit.enums import Kind
from execaudit.event import ExecEvent, Hole
from execaudit.output.json_lines import json_line
from tests.events import events
from tests.histories import HOST, at, make_event

_REPEATED = 3000
# One pattern for each way in which a byte is shown.
_PATTERNS = [
    b"x", b"'", b'"', b"\\", b"\x01", b"\n", b"\x7f", b"\xff", b"\0", b"'\0", b"(\0", b"\x01\0", b"a\0",
    "é".encode(), "語".encode(), "\u0080".encode(), "😀".encode(), "\U000e0001".encode(), b"\x01\xff", b"'\xff\x01",
]  # fmt: skip


def charged(*some: ExecEvent) -> int:
    """Returns what execs are charged in the JSON log."""
    return Budget(HOST, JSON_LOG).taken_by(Finished(some, [], [], at(0)))


@pytest.mark.parametrize("pattern", _PATTERNS, ids=ascii)
def test_a_long_command_line_is_charged_what_its_line_takes(pattern: bytes) -> None:
    """Never less, whatever the bytes are; and not much more: an honest account would be refused instead."""
    event = make_event(pattern * _REPEATED)
    line = len(json_line(event))
    assert line <= charged(event)
    assert charged(event) <= 3 * line


@pytest.mark.parametrize("pattern", _PATTERNS, ids=ascii)
def test_so_are_many_short_ones_and_their_paths(pattern: bytes) -> None:
    """Execs that fail by such a path, with a few such arguments, among ordinary ones.

    Where a path has quotes, or may have a container's name, its charge is less exact.
    """
    path = b"/" + pattern.replace(b"\0", b"") * 500
    failed = make_event(b"-" + pattern * 30, kind=Kind.FAILED, errno=2, filename=path, cwd=path, cgroup=path)
    execs = [failed, make_event(b"ls", b"-l")] * 50
    lines = sum(len(json_line(event)) for event in execs)
    assert lines <= charged(*execs)
    assert charged(*execs) <= 5 * lines


def test_an_ordinary_line_is_charged_about_its_length() -> None:
    """A compiler's, as in a build."""
    event = make_event(b"cc", *[b"-I/usr/include/%d" % number for number in range(200)])
    assert len(json_line(event)) <= charged(event) <= 1.2 * len(json_line(event))


@given(events(), st.binary(max_size=300))
@example(make_event(), b"")
def test_no_line_is_longer_than_its_charge(event: ExecEvent, argv: bytes) -> None:
    """Wherever bytes of it are missing."""
    holes = [Hole(at, None) for at in sorted({0, *range(0, len(argv), 3), len(argv)})]
    for each in (event, event._replace(argv=argv), event._replace(argv=argv, holes=tuple(holes))):
        assert len(json_line(each)) <= charged(each)
