"""What a filter says of an exec, as a tree. Pure: it knows neither SQL nor a history.

Each leaf speaks of one field of the record, or of the arguments. A leaf is false where what it speaks of is
null, so `Not` is its exact opposite: it is true there. Texts are the kernel's bytes; words are members of
their enumerations, `privileged` is a number of bits and `errno` the number.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from dataclasses import dataclass
else:
    from execaudit.query.frozen import dataclass

Value = bytes | int | Enum


@dataclass(frozen=True)
class And:
    """All parts are true; true without parts."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True)
class Or:
    """One part is true at least."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True)
class Not:
    """The part is not true."""

    part: Expression


@dataclass(frozen=True)
class IsNull:
    """The field is null."""

    field: str


@dataclass(frozen=True)
class OneOf:
    """The field has one of the values. Of `argv`: an argument has it."""

    field: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Within:
    """The field's number is not below `low`, and below `end`; None: no bound."""

    field: str
    low: int | None
    end: int | None


class Part(Enum):
    """Which part of a text."""

    ANY = auto()
    START = auto()
    END = auto()


@dataclass(frozen=True)
class HasText:
    """A part of the field's text is this one. Of `argv`: a part of an argument."""

    field: str
    part: Part
    text: bytes


@dataclass(frozen=True)
class Matches:
    """A regular expression in Python's syntax is found in the field's text. Of `argv`: in an argument."""

    field: str
    regex: bytes


@dataclass(frozen=True)
class Globs:
    """One of the globs matches the field's text, as a whole."""

    field: str
    globs: tuple[bytes, ...]


@dataclass(frozen=True)
class Image:
    """One of the globs matches the image's path; of a failed exec, the path that it asked for."""

    globs: tuple[bytes, ...]


@dataclass(frozen=True)
class InLine:
    """The text is in the arguments, joined by single spaces."""

    text: bytes


@dataclass(frozen=True)
class LineMatches:
    """A regular expression is found in the arguments, joined by single spaces."""

    regex: bytes


@dataclass(frozen=True)
class IsUser:
    """The user has this name, or is without a name and has this uid; without `name`: has this uid."""

    field: str
    """`user` or `login_user`."""
    name: str | None
    uid: int | None


@dataclass(frozen=True)
class InContainer:
    """The text names the container: its id, the first four digits or more, or a machine's name."""

    text: str


@dataclass(frozen=True)
class Under:
    """It descends from an exec with one of these row numbers."""

    roots: tuple[int, ...]


LINE = "line"
"""The name of a Text: the arguments joined by single spaces."""


@dataclass(frozen=True)
class Text:
    """A text that an exec has, as the record shows it: a field, or the arguments."""

    name: str
    """The name of a field, or LINE. Of `argv`: an argument has to pass a test."""
    of_parent: bool = False
    """That of the exec that led to it: of `exe` and LINE only."""


class Wild(Enum):
    """What stands for other characters in a pattern."""

    MANY = auto()
    """Any text, or none."""
    ONE = auto()
    """One character. A byte that is no UTF-8 is one, too."""


@dataclass(frozen=True)
class Like:
    """A whole text is as the pattern says. Unless `cased`, the letters A to Z are the same as a to z."""

    pattern: tuple[bytes | Wild, ...]
    cased: bool = False


@dataclass(frozen=True)
class Finds:
    """A regular expression in Python's syntax is found in a text. A dot is no line end unless `dot_all`."""

    regex: str
    ignore_case: bool = False
    many_lines: bool = False
    dot_all: bool = False


@dataclass(frozen=True)
class InNetwork:
    """A text is an IP address of this network."""

    network: str


@dataclass(frozen=True)
class Known:
    """A text is there."""


Test = Like | Finds | InNetwork | Known


@dataclass(frozen=True)
class Passes:
    """The text passes the test."""

    text: Text
    test: Test


@dataclass(frozen=True)
class Agrees:
    """A part of one text is the other text, or with None the whole; A to Z are the same as a to z."""

    text: Text
    part: Part | None
    other: Text


@dataclass(frozen=True)
class New:
    """A program (`exe`) that the history does not have before this time, in nanoseconds since 1970."""

    since_ns: int


Expression = (
    And | Or | Not | IsNull | OneOf | Within | HasText | Matches | Globs | Image | InLine | LineMatches | IsUser | InContainer | Under | New
    | Passes | Agrees
)  # fmt: skip


def every(expression: Expression) -> Iterator[Expression]:
    """Yields all nodes of a tree."""
    left = [expression]
    while left:
        node = left.pop()
        yield node
        if isinstance(node, (And, Or)):
            left += reversed(node.parts)
        elif isinstance(node, Not):
            left.append(node.part)


def conjuncts(expression: Expression) -> Iterator[Expression]:
    """Yields what must all be true, one by one."""
    if isinstance(expression, And):
        for part in expression.parts:
            yield from conjuncts(part)
    else:
        yield expression


def any_of(parts: tuple[Expression, ...]) -> Expression:
    """Returns what is true if one part is."""
    return parts[0] if len(parts) == 1 else Or(parts)
