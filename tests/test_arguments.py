"""Where marks stand in the arguments, also when a command line is cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from execaudit.arguments import keep_ends, marks_at, marks_kept, split_argv, to_redactions
from execaudit.event import MARK_BYTES, Hole, Redaction
from tests.events import holes

_WORDS = st.lists(st.binary(max_size=4).map(lambda raw: raw.replace(b"\0", b"")), max_size=4)
_MARK = b"REDACTED:0123456789ab"


@st.composite
def marked(draw: st.DrawFn) -> tuple[bytes, tuple[Hole, ...], list[int]]:
    """Draws captured bytes with holes, and where marks begin in them; no hole is in a mark."""
    argv, marks = b"", []
    for words in draw(st.lists(_WORDS, max_size=4)):
        argv += b"".join(word + b"\0" for word in words)
        marks.append(len(argv))
        argv += _MARK
    missing = tuple(
        hole
        for hole in draw(holes(len(argv)))
        if not any(mark < hole.at < mark + MARK_BYTES for mark in marks)
    )
    return argv, missing, marks


def test_a_mark_has_its_size() -> None:
    """REDACTED, a colon and twelve characters."""
    assert len(_MARK) == MARK_BYTES


@given(marked())
def test_a_mark_is_found_in_its_argument(line: tuple[bytes, tuple[Hole, ...], list[int]]) -> None:
    """By the index of the part that split_argv makes, and its offset there; and back."""
    argv, missing, marks = line
    parts = split_argv(argv, missing).parts
    redacted = to_redactions(argv, missing, marks)

    assert len(marks) == len(redacted)
    for argument, offset in redacted:
        assert parts[argument][offset:].startswith(_MARK)
    assert marks == marks_at(argv, missing, redacted)


@given(marked(), st.integers(0, 120))
def test_marks_that_are_cut_are_none(line: tuple[bytes, tuple[Hole, ...], list[int]], most: int) -> None:
    """After keep_ends, those that are whole are at their places, and no other is said to be one."""
    argv, missing, marks = line
    kept, _ = keep_ends(argv, missing, most)
    left = marks_kept(marks, len(argv), most)

    assert all(kept[at:].startswith(_MARK) for at in left)
    assert len(left) <= len(marks)
    if len(argv) <= most:
        assert marks == left
    else:
        head, tail = most - most // 2, most // 2
        whole = [at for at in marks if at + MARK_BYTES <= head or at >= len(argv) - tail]
        assert len(whole) == len(left)


def test_a_mark_after_a_hole() -> None:
    """What follows missing bytes is a part of its own; the NUL that ended the argument before makes none."""
    argv = b"a\0b" + b"\0-p" + _MARK + b"\0"

    assert (Redaction(2, 2),) == to_redactions(argv, (Hole(3, 5),), [6])
