"""What `--where` says becomes an expression, and every mistake one line with its column."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from enum import Enum
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.enums import GAINED_WORDS, Ended, Gained, Kind
from execaudit.errors import FilterError
from execaudit.fields import BY_NAME, Form
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.expression import (
    Agrees,
    And,
    Expression,
    HasText,
    IsNull,
    Matches,
    Not,
    OneOf,
    Or,
    Part,
    Passes,
    Under,
    Within,
    every,
)
from execaudit.query.filter import Filter
from execaudit.query.where import parse
from execaudit.store.writer import Store
from tests.families import make_family
from tests.histories import at, begin_run, make_event
from tests.query.expression_model import expressions, holds
from tests.query.filter_model import similar_events

if TYPE_CHECKING:
    from pathlib import Path

    from execaudit.event import ExecEvent

NOW = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
_HOUR_AGO = int(NOW.timestamp() - 3600) * 10**9


def read(text: str) -> Expression:
    """Returns what a text says."""
    return parse(text, now=NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('comm == "sh"', OneOf("comm", (b"sh",))),
        ("comm == 'it\"s'", OneOf("comm", (b'it"s',))),
        (r'comm == "a\"b\\c\n\xff\d"', OneOf("comm", (b'a"b\\c\n\xff\\d',))),
        ('comm != "sh"', Not(OneOf("comm", (b"sh",)))),
        ('comm=="é"', OneOf("comm", ("é".encode(),))),
        ("pid == 7", OneOf("pid", (7,))),
        ("pid in (7, 8)", OneOf("pid", (7, 8))),
        ("pid not in (7)", Not(OneOf("pid", (7,)))),
        ("uid < 5", Within("uid", None, 5)),
        ("uid <= 5", Within("uid", None, 6)),
        ("uid > -5", Within("uid", -4, None)),
        ("uid >= 5", Within("uid", 5, None)),
        ("duration > 10s", Within("duration_ns", 10**10 + 1, None)),
        ("duration <= 1h30min", Within("duration_ns", None, 5400 * 10**9 + 1)),
        ("duration < 10ms", Within("duration_ns", None, 10**7)),
        ("duration_ns >= 10", Within("duration_ns", 10, None)),
        ('time >= "1h"', Within("time", _HOUR_AGO, None)),
        ("time < 1h", Within("time", None, _HOUR_AGO)),
        ("tty == null", IsNull("tty")),
        ("tty != NULL", Not(IsNull("tty"))),
        ('tty == "null"', OneOf("tty", (b"null",))),
        ('argv startswith "/tmp/"', HasText("argv", Part.START, b"/tmp/")),
        ('exe endswith "x"', HasText("exe", Part.END, b"x")),
        ('command contains "a b"', HasText("command", Part.ANY, b"a b")),
        (r'command matches "^\w+\.sh \"x\""', Matches("command", rb'^\w+\.sh "x"')),
        ('kind == "failed"', OneOf("kind", (Kind.FAILED,))),
        ('ended matches "ed$"', OneOf("ended", (Ended.EXITED, Ended.SIGNALED, Ended.REPLACED))),
        ('kind contains "x y"', Or(())),
        ('errno == "ENOENT"', OneOf("errno", (2,))),
        ('exit_signal in ("SIGKILL", "sigsegv", 15)', OneOf("exit_signal", (9, 11, 15))),
        ('errno in (2, "EACCES", "E524")', OneOf("errno", (2, 13, 524))),
        ('privileged contains "setuid"', OneOf("privileged", (1, 3, 5, 7))),
        ('inode == "18446744073709551615"', OneOf("inode", (2**64 - 1,))),
        ("inode == 7", OneOf("inode", (7,))),
        ('device == "8:1"', OneOf("device", (8 << 20 | 1,))),
        ("pid == 1 and uid == 2 or gid == 3", Or((And((OneOf("pid", (1,)), OneOf("uid", (2,)))), OneOf("gid", (3,))))),
        ("pid == 1 AND (uid == 2 OR gid == 3)", And((OneOf("pid", (1,)), Or((OneOf("uid", (2,)), OneOf("gid", (3,))))))),
        ("not pid == 1 and uid == 2", And((Not(OneOf("pid", (1,))), OneOf("uid", (2,))))),
        ("not not pid == 1", OneOf("pid", (1,))),
        ("((pid == 1))\n", OneOf("pid", (1,))),
    ],
)  # fmt: skip
def test_a_text_says_what_it_says(text: str, expected: Expression) -> None:
    """Each verb, each kind of value, and which word binds first."""
    assert expected == read(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty: write, for example, 'comm == \"curl\" and exit_code != 0'"),
        ('usr == "x"', "column 1: the record has no usr: did you mean user?"),
        ('COMM == "x"', "column 1: the record has no COMM: did you mean comm?"),
        ('pid == 1 and zzzzz == "x"', "column 14: the record has no zzzzz: its names are the keys of "),
        ('user = "x"', "column 6: = is not understood: write =="),
        ("pid == 1 && uid == 2", "column 10: & is not understood: write and"),
        ("user == root", 'column 9: root does not fit: a text stands in quotes: "root"'),
        ("user == 7", 'column 9: user is a text: write it in quotes: "7"'),
        ('comm contain "x"', "column 6: contain does not fit: did you mean contains?"),
        ('comm == "a" adn pid == 1', "column 13: adn does not fit: did you mean and?"),
        ('comm == "a', 'column 9: this quote is not closed: end the text with "'),
        ("pid", "column 4: the expression is not complete: here can stand: ==, contains, "),
        ("(pid == 1", "column 10: the expression is not complete: here can stand: and, or, )"),
        ("pid == 1)", "column 9: ) does not fit: here can stand: and, or"),
        ("pid in 3", "column 8: 3 does not fit: here can stand: ("),
        ("pid == 7x", "column 8: 7x is no number: write digits, without quotes"),
        ('exit_signal == "KILLED"', 'column 16: "KILLED" is no number: write "SIGKILL", or digits without quotes'),
        ('pid == "7"', 'column 8: "7" is no number: write digits, without quotes'),
        ("pid == " + "9" * 5000, "column 8: 9999999999999999999999999999999999999999... is no number"),
        ("duration > 10", "column 12: duration needs a unit: write 10s"),
        ("duration > 10x", 'column 12: the duration "10x" is not understood: try 90s, 15min or 1h30min'),
        ('time > "noon"', 'column 8: the time "noon" is not understood: try 15min,'),
        ('kind == "fail"', 'column 9: kind is never fail: did you mean "failed"?'),
        ('errno == "enoent"', 'column 10: errno is never enoent: did you mean "ENOENT"?'),
        ('device == "sda"', 'column 11: this is no device: write major and minor: "8:1"'),
        ('comm < "x"', "column 6: comm is not compared with <: it takes ==, !=, in, contains,"),
        ('pid contains "x"', "column 5: pid is not compared with contains: it takes ==, !=, in, <,"),
        ('argv_missing == "x"', "column 14: argv_missing is not compared with ==: it takes == null, != null"),
        ("tty > null", "column 7: null has no such comparison: write == null or != null"),
        ('comm matches "("', "column 14: missing ): Python's syntax" ),
        ("comm matches 3", 'column 14: matches takes a text: write it in quotes: "3"'),
        ("(" * 10_001, "it has 10001 characters: write 10000 at most"),
        ("(" * 9000, "column 17: this is too deep: write 16 of these in each other at most"),
        ("not " * 2000 + "pid == 1", "column 65: this is too deep"),
        ("pid in (" + "1," * 4000 + "1)", "column 809: there are too many values: write 400 at most"),
        ("pid == 1 or\x1b[31m", "column 12: \\x1b is not understood"),
        ("x" * 1000 + " == 1", "column 1: the record has no " + "x" * 40 + "...: its names are the keys"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_its_column(text: str, said: str) -> None:
    """It says where, what, and the nearest word that would do; nothing in it moves the terminal."""
    with pytest.raises(FilterError) as caught:
        read(text)

    message = str(caught.value)
    assert message.replace(" at position 1", "").startswith(said)
    assert len(message) < 600
    assert message.isprintable()


_tokens = st.sampled_from(
    [
        *BY_NAME, "duration", "==", "!=", "<", ">=", "in", "not", "and", "or", "(", ")", ",", "null", "contains", "matches",
        '"a"', "'b'", '"', "'", "7", "-1", "10s", '"ENOENT"', '"setuid"', '"["', "\\", "\0", "\x1b", "\ud800", "é", "9" * 40, "1.5",
    ]
)  # fmt: skip


@given(st.lists(_tokens, max_size=12).map(" ".join) | st.text(max_size=40) | st.lists(_tokens).map("".join))
def test_no_text_gives_a_traceback(text: str) -> None:
    """Whatever is typed says something, or is refused in one line."""
    refused = ""
    try:
        read(text)
    except FilterError as exc:
        refused = str(exc)

    assert refused.isprintable()


def said_of(node: Expression) -> str:  # noqa: PLR0911  # each kind of node once
    """Returns a text that says what an expression says."""
    if isinstance(node, (And, Or)):
        word = " and " if isinstance(node, And) else " or "
        return f"({word.join(map(said_of, node.parts))})" if node.parts else _of_nothing(node)
    if isinstance(node, Not):
        return f"not {said_of(node.part)}"
    assert isinstance(node, (IsNull, OneOf, Within, HasText, Matches))
    if isinstance(node, IsNull):
        return f"{node.field} == null"
    if isinstance(node, OneOf):
        return f"{node.field} in ({', '.join(_value_text(node.field, value) for value in node.values)})"
    if isinstance(node, Within):
        bounds = [
            f"{node.field} {sign} {_value_text(node.field, bound)}"
            for sign, bound in ((">=", node.low), ("<", node.end))
            if bound is not None
        ]
        return f"({' and '.join(bounds)})" if bounds else f"{node.field} != null"
    if isinstance(node, Matches):
        return f'{node.field} matches "{node.regex.decode("utf-8", "surrogateescape")}"'
    verb = {Part.ANY: "contains", Part.START: "startswith", Part.END: "endswith"}[node.part]
    return f"{node.field} {verb} {_quoted(node.text)}"


def _of_nothing(node: And | Or) -> str:
    return "pid != null" if isinstance(node, And) else "pid == null"


def _value_text(name: str, value: object) -> str:
    form = BY_NAME[name].form
    if isinstance(value, bytes):
        return _quoted(value)
    if isinstance(value, Gained):
        return f'"{GAINED_WORDS[value]}"'
    if isinstance(value, Enum):
        return f'"{value.value}"'
    assert isinstance(value, int)
    if form is Form.TIME:
        return f'"@{value // 10**9}.{value % 10**9:09d}"'
    return f'"{value >> 20}:{value & 0xFFFFF}"' if form is Form.DEVICE else str(value)


def _quoted(text: bytes) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in text) + '"'


# The numbers that can be written of some forms, and not only compared.
_SAYABLE = {Form.TIME: 2**63, Form.DEVICE: 2**32, Form.ERRNO: 10**4}


def can_be_said(node: Expression) -> bool:
    """Says whether there is a text for all parts of an expression."""
    if isinstance(node, (Under, Passes, Agrees)):
        return False
    numbers: list[object] = []
    if isinstance(node, OneOf):
        numbers += node.values
    elif isinstance(node, Within):
        numbers += [0 if bound is None else bound for bound in (node.low, node.end)]
    else:
        return True
    end = _SAYABLE.get(BY_NAME[node.field].form)
    return end is None or all(isinstance(number, int) and 0 <= number < end for number in numbers)


@given(
    expressions.filter(lambda expression: all(map(can_be_said, every(expression)))),
    st.lists(similar_events("web1"), max_size=8),
)
def test_an_expression_that_is_written_is_read_as_it_was(
    expression: Expression, history: list[ExecEvent]
) -> None:
    """Whatever it is, its text means the same of any exec."""
    again = read(said_of(expression))

    for event in history:
        assert holds(expression, event, history) == holds(again, event, history)


_LEAVES = (
    'exe endswith "x"', 'container_id == "x"', 'ended == "exited"', "login_user == null", 'argv startswith "a"',
    'command matches "a"', 'parent_id == "x"', 'privileged == "setuid"', "argc == 1", 'tty != "a"',
)  # fmt: skip


@pytest.mark.parametrize("leaf", _LEAVES)
def test_what_is_accepted_can_be_asked(tmp_path: Path, leaf: str) -> None:
    """The deepest and the longest expressions are not too much for SQLite."""
    path = make_family(tmp_path / "history.db").path
    most = 16
    deep = f"not ({leaf} and " * most + leaf + ")" * most
    mixed = f"({leaf} or ({leaf} and " * (most // 2) + f"not {leaf}" + "))" * (most // 2)
    long = " or ".join([leaf] * min(400, 9_900 // (len(leaf) + 4)))
    with open_history(path) as connection:
        for text in (deep, mixed, long):
            wanted = Filter(where=read(text))
            found = len(list(find.find(connection, wanted)))
            assert found == find.count(connection, wanted)
            assert min(found, 3) == len(list(find.find(connection, replace(wanted, limit=3))))


def test_what_runs_now_can_be_asked_for(tmp_path: Path) -> None:
    """`running` is what has no end while its recorder goes on; without one nobody knows."""
    path = tmp_path / "history.db"
    running, unknown = (Filter(where=read(f'ended == "{word}"')) for word in ("running", "unknown"))
    with Store(path) as store:
        begin_run(store)
        store.append([make_event(b"a"), make_event(b"b", kind=Kind.FAILED, errno=2)])
        with open_history(path) as connection:
            counts = [find.count(connection, wanted) for wanted in (running, unknown)]
            assert [1, 0] == counts
        store.end_run(at(9))
    with open_history(path) as connection:
        assert [0, 1] == [find.count(connection, wanted) for wanted in (running, unknown)]
