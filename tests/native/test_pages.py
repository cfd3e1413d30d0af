"""The compiled lines of rows, against those in Python, for rows that make sense and for others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit import native
from execaudit.database.enum_codes import KINDS
from execaudit.enums import Kind
from execaudit.fields import UNKNOWN_ORIGIN
from execaudit.output import pages
from execaudit.output.csv_lines import CsvLines
from execaudit.output.csv_pages import CsvPages
from execaudit.output.format import Format
from execaudit.output.json_lines import JsonLines
from execaudit.output.pages import Pages
from execaudit.query.find import Page
from execaudit.query.lookups import NONSENSE
from execaudit.query.rows import Clock, Known, Recording, to_event
from tests.events import events, texts
from tests.histories import BOOT_ID, HOST
from tests.native.test_compiled import in_python
from tests.output.test_record import EVENT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

assert native.fast is not None
fast = native.fast
_Row = tuple[Any, ...]

_typed = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8).map(str.encode)
_words = (
    _typed | texts | st.sampled_from([b"", b"=", b"a=b", b"-x", b"+", b"@", b"'", b'"', b"\\", b",", b"a b"])
)
_argv = st.lists(_words, max_size=4).map(lambda words: b"".join(word + b"\0" for word in words))
_numbers, _relatives = st.integers(1, 3), st.integers(4, 6)
_hosts = st.sampled_from([HOST, "=h\u00fc", "a,b"])
_clocks = st.builds(Clock, st.sampled_from([0, 5, -(2**61), 2**61]), _numbers, _hosts, st.just(BOOT_ID))
_ends = st.tuples(st.integers(0, 2**50), st.none() | st.integers(0, 2**16), st.none() | _relatives)


@st.composite
def knowns(draw: st.DrawFn) -> Known:
    """Draws what the numbers 1 to 3 stand for; some for nothing."""
    known = Known()
    drawn = draw(st.lists(events(), min_size=2, max_size=2))
    known.launches.update((number, event.launch) for number, event in enumerate(drawn, 1))
    known.origins.update((number, event.origin) for number, event in enumerate(drawn, 1))
    known.clocks = {1: draw(_clocks), 2: draw(_clocks)}
    known.lines = {1: draw(_argv), 2: draw(_argv), 3: draw(st.binary(max_size=5))}
    known.keys = draw(
        st.dictionaries(_relatives, st.tuples(st.integers(0, 2**60), st.integers(0, 2**22)), max_size=3)
    )
    known.ends = draw(st.dictionaries(_numbers, _ends, max_size=2))
    known.cuts = draw(
        st.dictionaries(
            _numbers,
            st.tuples(st.none(), st.none() | _numbers, st.just("[[1, 5]]"), st.none() | st.just("[[0,7]]")),
        )
    )
    return known


def rows(known: Known) -> st.SearchStrategy[_Row]:
    """Draws a row that refers to what is known."""
    tasks = st.integers(0, 2**22 - 1)
    return st.tuples(
        _numbers, st.integers(0, 2**62), st.sampled_from(sorted(known.clocks)), st.integers(0, len(KINDS) - 1), tasks,
        st.none() | tasks, st.none() | tasks, st.sampled_from([None, 1, 2]), st.sampled_from([None, 1, 2]),
        st.sampled_from([1, 2, 2, 3]), st.none() | st.integers(1, 4095),
        st.sampled_from([None] * 4 + [0] * (1 in known.cuts)), st.none() | _relatives,
        st.none() | st.integers(0, 2**50), st.none() | st.integers(0, 2**16), st.none() | _relatives,
    )  # fmt: skip


_recordings = st.builds(
    Recording, st.none() | _numbers, st.sampled_from([0, 2**61]), st.frozensets(_numbers, max_size=3)
)
_odd = st.sampled_from([
    None, -1, -2, 0, 1, 3, 7, 99, 2**22, 2**31, 2**60, 2**63 - 1, -(2**63), 2**64, 10**30, 1.0, 1.5, float("nan"), True, b"x", '=1,"\n',
])  # fmt: skip
_changes = st.lists(st.tuples(st.integers(0, 15), _odd), max_size=3)


def outcome(make: Callable[[], object]) -> object:
    """Returns what a function returns; of what it raises, that it is what a bad row raises."""
    try:
        return make()
    except (*NONSENSE, OverflowError):  # the latter of a time that no database can hold
        return "nonsense"


def each(fmt: Format, given_rows: Sequence[_Row], known: Known, recording: Recording, *, raw: bool) -> object:
    """Returns the lines in Python, each from its event."""
    with in_python():
        line = CsvLines(raw=raw).line if fmt is Format.CSV else JsonLines().line

    def text() -> bytes:
        lines = [f"{line(to_event(row, known, recording))}\n" for row in given_rows]
        return "".join(lines).encode("utf-8", "backslashreplace")

    return outcome(text)


def compiled(
    fmt: Format, given_rows: Sequence[_Row], known: Known, recording: Recording, *, raw: bool
) -> object:
    """Returns the compiled lines."""
    maker = Pages(fmt, raw=raw, encoding="utf-8")
    assert maker._compiled is not None
    made = maker._compiled
    return outcome(lambda: made.text(given_rows, known, recording))


@given(st.data(), knowns(), _recordings, st.sampled_from([Format.CSV, Format.JSONL]), st.booleans())
def test_the_lines_of_rows_are_the_same(
    data: st.DataObject,
    known: Known,
    recording: Recording,
    fmt: Format,
    raw: bool,  # noqa: FBT001  # drawn
) -> None:
    """And those that CsvPages makes of a page, in whatever order."""
    drawn = data.draw(st.lists(rows(known), min_size=1, max_size=5))
    # Whatever the rows have as number, 1 is cut.
    drawn = [(1, *row[1:]) if row[11] is not None else row for row in drawn]
    expected = each(fmt, drawn, known, recording, raw=raw)

    assert expected == compiled(fmt, drawn, known, recording, raw=raw)
    if fmt is Format.CSV and expected != "nonsense":
        text = CsvPages(raw=raw).text(drawn, known, recording)
        assert expected == text.encode("utf-8", "backslashreplace")


@given(st.data(), knowns(), _recordings, st.sampled_from([Format.CSV, Format.JSONL]))
def test_the_lines_of_nonsense_are_the_same(
    data: st.DataObject, known: Known, recording: Recording, fmt: Format
) -> None:
    """Values of other types, numbers of nothing, what is too large: a line, or none, as in Python."""
    known.keys.update(data.draw(st.dictionaries(_relatives, st.tuples(_odd, _odd), max_size=2)))
    known.ends.update(data.draw(st.dictionaries(_numbers, st.tuples(_odd, _odd, _odd), max_size=2)))
    lines: dict[int, Any] = known.lines
    lines.update(data.draw(st.dictionaries(_numbers, st.just("text"), max_size=1)))
    for row in data.draw(st.lists(rows(known), min_size=1, max_size=3)):
        changed = [*row]
        for at, value in data.draw(_changes):
            changed[at] = value

        assert each(fmt, [tuple(changed)], known, recording, raw=False) == compiled(
            fmt, [tuple(changed)], known, recording, raw=False
        )


def known_of(*lines: bytes) -> Known:
    """Returns what is known of rows with these command lines, from 1 on."""
    known = Known()
    known.clocks = {1: Clock(5, 1, HOST, BOOT_ID)}
    known.launches[1], known.origins[1] = EVENT.launch, EVENT.origin
    known.lines = dict(enumerate(lines, 1))
    return known


def row_of(argv_id: int, **others: Any) -> _Row:  # noqa: ANN401  # a value of a row
    """Returns a row."""
    values = {
        "id": 1, "ts": 10**18, "clock": 1, "kind": 0, "pid": 7, "tid": None, "ppid": 1, "launch": 1, "origin": 1, "argv": argv_id,
        "errno": None, "truncated": None, "parent": None, "duration": 5, "status": 0, "replaced_by": None,
    }  # fmt: skip
    return tuple({**values, **others}.values())


@pytest.mark.parametrize("fmt", [Format.CSV, Format.JSONL])
@pytest.mark.parametrize("raw", [False, True])
def test_the_lines_of_long_arguments_are_the_same(fmt: Format, raw: bool) -> None:  # noqa: FBT001  # a parameter
    """Those that take the most room, and those that are too long to be compiled; many in a page."""
    lines = [
        word * (size // len(word)) + b"\0"
        for word in (b"'", b'"', b"\\", b",", b"x", b"\0", b"'\0", b" \0", b"\xff")
        for size in (1, 2, 300, 16_382, 16_383, 16_384)
    ]
    known = known_of(*lines)
    many = [row_of(1 + number % len(lines)) for number in range(len(lines))]

    assert each(fmt, many, known, Recording(None, 0), raw=raw) == compiled(
        fmt, many, known, Recording(None, 0), raw=raw
    )


@pytest.mark.parametrize(
    "bad", [None, 1, "text", (), ("a", "b"), (b"a",), [b"a", b"b"], (b"a", None)], ids=repr
)
@pytest.mark.parametrize("name", ["field", "clock", "day", "error", "in_python"])
def test_what_a_function_returns_is_looked_at(name: str, bad: object) -> None:
    """Of another type it is an error, or Python makes the line."""
    try:
        text = _of(**{name: lambda *_: bad}).text(_ALL, _known(), Recording(None, 0))
    except (TypeError, ValueError):
        text = b"odd\nodd\n"
    assert text == b"odd\nodd\n"


# An exec that failed, then one that Python makes the line of.
_ALL = [row_of(1, kind=1, errno=2), row_of(2)]


def _known() -> Known:
    return known_of(b"true\0", b"\xff\0")


_USUAL: dict[str, Callable[..., object]] = {
    "field": lambda value: b"<%d>" % (value is None),
    "clock": lambda _: (1, (b"a", b"b", b"c")),
    "day": lambda number: b"%010dT" % number,
    "error": lambda number: b"E%d" % number,
    "in_python": lambda *_: b"odd\n",
}


def _of(**others: Callable[..., object]) -> Any:  # noqa: ANN401  # the compiled class
    called: dict[str, Any] = {**_USUAL, **others}
    field = called.pop("field")
    called |= {"before": [(False, 0, field), (True, 1, field)], "after": [(False, 17, field)]}
    ways = [b"exited", b"signaled", b"replaced", b"running", b"unknown"]
    return fast.Pages(
        is_json=False,
        raw=False,
        failed=KINDS.index(Kind.FAILED),
        ways=ways,
        nothing=b"",
        most=100,
        **called,
    )


@pytest.mark.parametrize("name", _USUAL)
@pytest.mark.parametrize("empties", [False, True])
def test_what_happens_meanwhile_changes_no_line(name: str, empties: bool) -> None:  # noqa: FBT001  # a parameter
    """A function that is called makes other lines, and empties all that is known."""
    expected = _of().text(_ALL, _known(), Recording(None, 0)).splitlines()
    known, once = _known(), [1]

    def meanwhile(*given_: object) -> object:
        if once:
            once.pop()
            made.text([row_of(1, ts=3 * 10**18, launch=None, errno=9)] * 3, _known(), Recording(None, 0))
            for each_ in (known.lines, known.launches, known.origins, known.clocks) if empties else ():
                each_.clear()
        return _USUAL[name](*given_)

    made = _of(**{name: meanwhile})
    lines = made.text(_ALL, known, Recording(None, 0)).splitlines()

    # What is not known any more has a line in Python.
    assert lines == expected or (empties and name == "clock" and lines == [b"odd", b"odd"])
    assert not once


def test_texts_that_are_remembered_are_few() -> None:
    """A user who makes many launches, or with long paths, does not fill the memory."""
    calls: list[object] = []

    def field(value: object) -> bytes:
        calls.append(value)
        return b"x" * (257 if value == b"long" else 30)

    known = _known()
    known.origins[None] = UNKNOWN_ORIGIN
    values: list[Any] = [*range(2049), b"long"]
    known.launches = {number: EVENT.launch._replace(uid=value) for number, value in enumerate(values)}
    made = _of(field=field)

    def called(*launches: int) -> int:
        calls.clear()
        made.text([row_of(1, launch=number) for number in launches], known, Recording(None, 0))
        return len(calls)

    assert called(0, 0) == 3
    assert called(1, 1) == 1  # of 100 bytes no other is remembered, but fields are
    assert called(0, 0) == 0
    assert called(2049, 2049) == 1
    assert called(0, 2049) == 1  # a long one is not
    assert called(*range(2049)) == 2049 - 2
    assert called(2048) == 0
    assert called(0) == 1


@pytest.mark.parametrize("encoding", ["utf-16", "ascii", "utf-8", "latin-1", "UTF8", "cp037"])
def test_every_encoding_is_right(encoding: str) -> None:
    """A byte that is written as it is would be another character in some."""
    known = known_of(b"true\0", "h\u00fc\0".encode())
    page = Page([row_of(1), row_of(2)], known, Recording(None, 0))
    for fmt in (Format.CSV, Format.JSONL):
        made = Pages(fmt, raw=False, encoding=encoding).encoded(page)
        plain = Pages(fmt, raw=False, encoding="utf-8").encoded(page).decode()
        assert plain.encode(encoding, "backslashreplace") == made
    assert pages._ENCODINGS == ("utf-8", "ascii")
