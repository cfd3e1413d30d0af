"""Random expressions, and what they mean in plain Python."""

from __future__ import annotations

import re
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from execaudit.enums import Ended, Gained, Kind, Truncated
from execaudit.exec_id import ExecKey, encode_id
from execaudit.fields import BY_NAME, FIELDS, Form
from execaudit.fields import Part as Place
from execaudit.output.record import to_record
from execaudit.query.expression import (
    LINE,
    Agrees,
    And,
    Expression,
    Finds,
    HasText,
    IsNull,
    Known,
    Like,
    Matches,
    Not,
    OneOf,
    Or,
    Part,
    Passes,
    Text,
    Under,
    Wild,
    Within,
)

if TYPE_CHECKING:
    from execaudit.event import ExecEvent

TEXT_FORMS = (Form.TEXT, Form.NAME, Form.COMM, Form.PATH, Form.BYTES, Form.ID, Form.CONTAINER, Form.TEXTS)
NUMBER_FORMS = (Form.NUMBER, Form.TIME)
_TEXTS = (
    b"", b"a", b"b", b"ab", b"a b", b"\xff", b"\xfe", "é".encode(), b"-l", b"a/b", b"/", b"\n", b"\\xff", b"*",
    b"[", b"web1", b"db", b"11111111", b"abab", b"ab" * 32, b"24", b"248h24000000000000000", b"\0",
)  # fmt: skip
_REGEXES = (b"", b"a", b"^a", b"b$", b"^$", b"\xff", b"(?i)A", b"[ab]{2}", b"web|ab", b"0", b"'", b"\\d")
_WORDS: dict[str, type[Enum]] = {"kind": Kind, "truncated": Truncated, "ended": Ended}
_numbers = st.integers(-1, 12) | st.sampled_from(
    (256, 2**32, 2**63 - 1, 2**63, 2**64, -(2**63), -(2**63) - 1)
)


def names_of(*forms: Form) -> list[str]:
    """Returns the names of fields with values of these forms."""
    return [field.name for field in FIELDS if field.form in forms]


def _one_of(names: list[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[Expression]:
    several = st.lists(values, min_size=1, max_size=3).map(tuple)
    return st.builds(OneOf, st.sampled_from(names), several)


_text_names = st.sampled_from(names_of(*TEXT_FORMS))
_single_texts = st.one_of(
    st.sampled_from([name for name in names_of(*TEXT_FORMS, *NUMBER_FORMS) if name != "argv"]).map(Text),
    st.builds(Text, st.sampled_from(("exe", LINE)), st.booleans()),
    st.sampled_from(names_of(Form.DEVICE, Form.UNSIGNED_64)).map(Text),
)
_shown_texts = st.just(Text("argv")) | _single_texts
_pieces = st.sampled_from(
    (*Wild, Wild.MANY, *_TEXTS, b"A", b"B", b"aB", b" A", "É".encode(), b"%", b"_", b"0")
)
_tests = st.one_of(
    st.builds(Like, st.lists(_pieces, max_size=5).map(tuple), st.booleans()),
    st.builds(
        Finds,
        st.sampled_from(("A", "^a", "b$", "a.b", "^$", "\udcff")),
        st.booleans(),
        st.booleans(),
        st.booleans(),
    ),
    st.just(Known()),
)
rule_leaves = st.one_of(
    st.builds(IsNull, st.sampled_from([field.name for field in FIELDS])),
    st.builds(Within, st.sampled_from(names_of(*NUMBER_FORMS)), st.none() | _numbers, st.none() | _numbers),
    _one_of(names_of(*NUMBER_FORMS), _numbers),
    st.builds(Passes, _shown_texts, _tests),
    st.builds(Agrees, _single_texts, st.none() | st.sampled_from(Part), _single_texts),
)
"""What a detection rule can say, as leaves."""
leaves = st.one_of(
    rule_leaves,
    _one_of(names_of(*TEXT_FORMS), st.sampled_from(_TEXTS)),
    _one_of(names_of(*NUMBER_FORMS, Form.UNSIGNED_64, Form.DEVICE, Form.ERRNO), _numbers),
    _one_of(["privileged"], st.integers(1, 7).map(Gained)),
    *(_one_of([name], st.sampled_from(words)) for name, words in _WORDS.items()),
    st.builds(HasText, _text_names, st.sampled_from(Part), st.sampled_from(_TEXTS)),
    st.builds(Matches, _text_names, st.sampled_from(_REGEXES)),
    st.builds(Under, st.lists(st.integers(1, 9), min_size=1, max_size=2).map(tuple)),
)
expressions: st.SearchStrategy[Expression] = st.recursive(
    leaves,
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(And, st.lists(inner, max_size=3).map(tuple))
        | st.builds(Or, st.lists(inner, max_size=3).map(tuple))
    ),
    max_leaves=6,
)


def values_of(event: ExecEvent, name: str) -> list[Any]:
    """Returns what a field has: nothing, a value, or for `argv` several. A text is bytes."""
    field = BY_NAME[name]
    places = {
        Place.EXEC: event,
        Place.LAUNCH: event.launch,
        Place.ORIGIN: event.origin,
        Place.END: event.end,
        Place.ARGUMENTS: None,
    }
    if name == "argv":
        return [part for segment in _segments(event) for part in segment]
    if field.part is Place.ARGUMENTS or field.form is Form.CONTAINER:
        value: Any = to_record(event).get(name)
    else:
        value = getattr(places[field.part], field.source, None)
    if value is None or (value == 0 and field.form is Form.GAINED):
        return []
    if isinstance(value, ExecKey):
        value = encode_id(value)
    is_text = isinstance(value, str) and not isinstance(value, Enum)
    return [value.encode("utf-8", "surrogateescape") if is_text else value]


def _segments(event: ExecEvent) -> list[list[bytes]]:
    """Returns the arguments between holes. A NUL ends each; one just after a hole ends what is missing."""
    places = [0, *(hole.at for hole in event.holes), len(event.argv)]
    segments: list[list[bytes]] = []
    for number, (start, end) in enumerate(pairwise(places)):
        segment = event.argv[start:end]
        if number and segment.startswith(b"\0"):
            segment = segment[1:]
        parts = segment.split(b"\0")
        segments.append(parts[:-1] if not parts[-1] else parts)
    return segments


def holds(node: Expression, event: ExecEvent, history: list[ExecEvent]) -> bool:  # noqa: PLR0911  # each kind
    """Says whether an expression is true of an exec of a history."""
    if isinstance(node, And):
        return all(holds(part, event, history) for part in node.parts)
    if isinstance(node, Or):
        return any(holds(part, event, history) for part in node.parts)
    if isinstance(node, Not):
        return not holds(node.part, event, history)
    if isinstance(node, Under):
        return descends(event, node.roots, history)
    if isinstance(node, Passes):
        return any(_passes_test(node, text) for text in texts_of(node.text, event, history))
    if isinstance(node, Agrees):
        return any(
            _is_part(node.part, one.lower(), other.lower())
            for one in texts_of(node.text, event, history)
            for other in texts_of(node.other, event, history)
        )
    assert isinstance(node, (IsNull, OneOf, Within, HasText, Matches))
    values = values_of(event, node.field)
    if isinstance(node, IsNull):
        return not values and node.field != "argv"
    return any(_passes(node, value) for value in values)


def _passes(node: OneOf | Within | HasText | Matches, value: Any) -> bool:  # noqa: ANN401  # a field's
    if isinstance(node, OneOf):
        return value in node.values
    if isinstance(node, Within):
        return (node.low is None or value >= node.low) and (node.end is None or value < node.end)
    if isinstance(node, Matches):
        text, searched = (raw.decode("utf-8", "surrogateescape") for raw in (node.regex, value))
        return re.search(text, searched, re.DOTALL) is not None
    return _is_part(node.part, value, node.text)


def _is_part(part: Part | None, whole: bytes, text: bytes) -> bool:
    ways: dict[Part | None, bool] = {
        Part.ANY: text in whole,
        Part.START: whole.startswith(text),
        Part.END: whole.endswith(text),
        None: whole == text,
    }
    return ways[part]


def texts_of(text: Text, event: ExecEvent, history: list[ExecEvent]) -> list[bytes]:
    """Returns the texts of an exec, or of its parent, that a test is about."""
    if text.of_parent:
        parents = [each for each in history if each.key == event.parent and each.kind is not Kind.FAILED]
        return texts_of(Text(text.name), parents[0], history) if event.parent is not None else []
    if text.name == LINE:
        places = [0, *(hole.at for hole in event.holes), len(event.argv)]
        segments = [event.argv[start:end] for start, end in pairwise(places)]
        segments[-1] = segments[-1].removesuffix(b"\0")
        return [b"\0".join(segment.replace(b"\0", b" ") for segment in segments)]
    if BY_NAME[text.name].form in TEXT_FORMS:
        return values_of(event, text.name)
    shown = to_record(event)[text.name]
    return [] if shown is None else [str(shown).encode()]


def _passes_test(node: Passes, text: bytes) -> bool:
    test, decoded = node.test, text.decode("utf-8", "surrogateescape")
    if isinstance(test, Like):
        wild = {Wild.MANY: ".*", Wild.ONE: "."}
        regex = "".join(
            wild[piece] if isinstance(piece, Wild) else re.escape(piece.decode("utf-8", "surrogateescape"))
            for piece in test.pattern
        )
        folded = 0 if test.cased else re.IGNORECASE
        return re.fullmatch(regex, decoded, re.DOTALL | re.ASCII | folded) is not None
    if isinstance(test, Finds):
        flags = re.IGNORECASE * test.ignore_case | re.MULTILINE * test.many_lines | re.DOTALL * test.dot_all
        return re.search(test.regex, decoded, flags) is not None
    assert isinstance(test, Known)
    return True


def descends(event: ExecEvent, roots: tuple[int, ...], history: list[ExecEvent]) -> bool:
    """Says whether an exec descends from one at these places of the history, by its parents."""
    keys = {history[number - 1].key for number in roots if number <= len(history)}
    parents = {each.key: each.parent for each in history if each.kind is not Kind.FAILED}
    above = event.parent
    while above is not None and above not in keys:
        above = parents[above]
    return above is not None
