"""The line of JSON that the recorder writes, against the record that it stands for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hypothesis import example, given
from hypothesis import strategies as st

from execaudit.enums import Ended
from execaudit.event import End
from execaudit.exec_id import ExecKey
from execaudit.output.json_lines import json_line, json_text
from execaudit.output.record import to_record
from execaudit.output.shared_fields import SharedFields
from tests.events import events, tasks
from tests.output.test_record import EVENT

if TYPE_CHECKING:
    from execaudit.event import ExecEvent

keys = st.builds(ExecKey, st.integers(0, 2**28 - 1), st.integers(0, 2**60 - 1), tasks)
few = st.none() | st.integers(0, 2**40)
ends = st.builds(End, st.sampled_from(Ended), few, few, few, st.none() | keys)


def with_argv(argv: bytes) -> ExecEvent:
    """Returns an exec with these arguments."""
    return EVENT._replace(argv=argv, argv_bytes=len(argv), argc=argv.count(b"\0"))


@given(events(), st.none() | keys, st.none() | ends)
@example(EVENT, None, None)
@example(with_argv(b""), None, None)
@example(with_argv(b"\0"), None, None)
@example(with_argv(b"plain\0-x\0a=b\0"), None, None)
@example(with_argv(b"A=b\0"), None, None)
@example(with_argv(b"plain\0\0"), None, None)
@example(with_argv(b'"\0\\\0\x1b\xff\0'), None, None)
@example(with_argv("ü\u202e\0".encode()), None, None)
def test_it_is_the_record(event: ExecEvent, parent: ExecKey | None, end: End | None) -> None:
    """Byte for byte what the record is as JSON, whatever the exec."""
    event = event._replace(parent=parent, end=end)
    line = json_line(event)

    assert json_text(to_record(event)) == line
    assert line.isascii()
    assert line.isprintable()
    assert to_record(event) == json.loads(line)


def test_texts_that_are_remembered_are_few_and_short() -> None:
    """A user who starts programs by long names, each time others, does not fill the recorder's memory."""
    shared = SharedFields(lambda field: lambda value: f"{field.name}={value}", 100)
    for number in range(1000):
        long = EVENT.launch._replace(filename=b"%d" % number + b"x" * 4000)
        assert f"filename={long.filename!r}" in ",".join(shared.launch(long))
    assert not shared.launches
    for number in range(1000):
        short = EVENT.launch._replace(inode=number)
        assert f"inode={number}," in ",".join(shared.launch(short)) + ","
        assert shared.launch(short) is shared.launch(short)
        assert len(shared.launches) <= 100
