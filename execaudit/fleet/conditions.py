"""What an expression is in an engine's SQL, over the flat table `exec`. Pure: every value is bound.

Two conditions stand for an expression: one of them is true of all execs that it is true of, and maybe of
more; the other is true of no other execs, and maybe of fewer. Where the two are the same, the engine decides
alone. For all else the execs between the two are looked at in Python. `query.matcher` says what each node
means. This has more than 400 lines, because all kinds of nodes share how values are found.
"""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from execaudit.database.enum_codes import KINDS, TRUNCATIONS, WHOLE
from execaudit.database.signed64 import signed
from execaudit.enums import Ended, Kind
from execaudit.exec_id import decode_id
from execaudit.fields import BY_NAME, Form
from execaudit.fields import Part as Place
from execaudit.fleet.dialects import FALSE, TRUE
from execaudit.query import globs, regex_literals
from execaudit.query.expression import (
    And,
    Globs,
    HasText,
    Image,
    InContainer,
    InLine,
    IsNull,
    IsUser,
    LineMatches,
    New,
    Not,
    OneOf,
    Or,
    Part,
    Within,
    conjuncts,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from execaudit.fleet.dialects import Dialect
    from execaudit.query.expression import Expression, Value

_FAILED = KINDS.index(Kind.FAILED)
_LEAST, _MOST = -(2**63), 2**63 - 1
_MOST_SPACES = 3
"""A text with more has too many ways to stand in the arguments."""
_PLAIN = re.compile(r"[0-9A-Za-z_.]+")
_CODES: dict[object, int] = {
    **{kind: code for code, kind in enumerate(KINDS)},
    **{why: code for code, why in enumerate(TRUNCATIONS) if why is not None},
}
_COLUMNS = {"time": "ts"}
_NOT_FIELDS = frozenset({"id", "parent_id", "replaced_by", "argv", "command", "argv_missing", "argv_base64", "container_id"})  # fmt: skip
"""What no column has as the record shows it."""
_STATUS_SHIFT, _SIGNAL = 8, 0x7F


class Bounds(NamedTuple):
    """The two conditions for an expression. Either may be NULL where it is false."""

    upper: str
    """True of all that the expression is true of."""
    lower: str
    """True of nothing else."""

    @property
    def is_exact(self) -> bool:
        """Says whether both are the same."""
        return self.upper == self.lower


_ANYTHING = Bounds(TRUE, FALSE)
_NOTHING = Bounds(FALSE, FALSE)


def exact(condition: str) -> Bounds:
    """Returns the conditions for what an engine decides alone."""
    return Bounds(condition, condition)


def joined(conditions: Sequence[str], word: str, neutral: str, other: str) -> str:
    """Returns conditions joined by AND or OR. What is `neutral` is left out, and `other` decides alone."""
    left = [each for each in dict.fromkeys(conditions) if each != neutral]
    if other in left:
        return other
    return f"({f' {word} '.join(left)})" if len(left) > 1 else left[0] if left else neutral


def both(bounds: Sequence[Bounds]) -> Bounds:
    """Returns the conditions for what is true if all are."""
    upper, lower = (joined([each[at] for each in bounds], "AND", TRUE, FALSE) for at in (0, 1))
    return Bounds(upper, lower)


def _either(bounds: Sequence[Bounds]) -> Bounds:
    upper, lower = (joined([each[at] for each in bounds], "OR", FALSE, TRUE) for at in (0, 1))
    return Bounds(upper, lower)


class Conditions:
    """Makes conditions, and collects the values of their parameters. `e` is exec."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.parameters: dict[str, object] = {}

    def further(self) -> Conditions:
        """Returns the same for a statement that has more parameters."""
        new = Conditions(self.dialect)
        new.parameters = dict(self.parameters)
        return new

    def bind(self, value: object) -> str:
        """Returns the parameter for a value: bytes, a number, or a list of one of these."""
        name = f"p{len(self.parameters)}"
        self.parameters[name] = self.dialect.bound(value)
        return self.dialect.parameter(name, value)

    def of_all(self, expression: Expression, *, begun_with: Expression | None = None) -> Bounds:
        """Returns the conditions for an expression, but for what the reader sees to itself."""
        return both([self.of(part) for part in conjuncts(expression) if part != begun_with])

    def of(self, node: Expression) -> Bounds:  # noqa: C901, PLR0911, PLR0912  # each kind of node once
        """Returns the conditions for an expression."""
        if isinstance(node, And):
            return both([self.of(part) for part in node.parts])
        if isinstance(node, Or):
            return _either([self.of(part) for part in node.parts])
        if isinstance(node, Not):
            inner = self.of(node.part)
            return Bounds(self._opposite(inner.lower), self._opposite(inner.upper))
        if isinstance(node, IsNull):
            return self._is_null(node.field)
        if isinstance(node, OneOf):
            return self._is_one_of(node)
        if isinstance(node, Within):
            return self._within(node)
        if isinstance(node, HasText):
            return self._has_text(node)
        if isinstance(node, Globs):
            return self._globs(self._column(node.field), node.globs)
        if isinstance(node, Image):
            return self._is_image(node.globs)
        if isinstance(node, InLine):
            return self._in_line(node.text)
        if isinstance(node, LineMatches):
            return self._line_matches(node.regex)
        if isinstance(node, IsUser):
            return self._is_user(node)
        if isinstance(node, InContainer):
            return self._in_container(node.text)
        if isinstance(node, New):
            return self._is_new(node.since_ns)
        return _ANYTHING

    def _opposite(self, condition: str) -> str:
        known = {TRUE: FALSE, FALSE: TRUE}
        return known.get(condition) or self.dialect.negated(condition)

    def _column(self, name: str) -> str:
        """Returns the SQL of a field's value, in the database's form."""
        if BY_NAME[name].part is Place.END:
            return self._of_end(name)
        column = f'e."{_COLUMNS.get(name, name)}"'
        if name == "privileged":
            return f"nullIf({column}, 0)"
        return f"nullIf({column}, {WHOLE})" if name == "truncated" else column

    def _of_end(self, name: str) -> str:
        dialect = self.dialect
        duration, status, _ = self._end()
        signal = dialect.bits(status, _SIGNAL)
        return {
            "duration_ns": duration,
            "exit_code": f"CASE WHEN {signal} = 0 THEN {dialect.shifted(status, _STATUS_SHIFT)} END",
            "exit_signal": f"nullIf({signal}, 0)",
        }[name]

    def _end(self) -> list[str]:
        """Returns the SQL of duration, status and what came next."""
        names = ("duration_ns", "status", "replaced_by")
        if not self.dialect.joins_ends:
            return [f'e."{name}"' for name in names]
        return [f'(CASE WHEN e."duration_ns" IS NULL THEN x."{name}" ELSE e."{name}" END)' for name in names]

    def _about_end(self, condition: str) -> Bounds:
        """Returns the conditions for one that speaks of the end."""
        if self.dialect.joins_ends:
            return exact(condition)
        # One that came later is in another table.
        may_end = f'(e."duration_ns" IS NULL AND e."kind" <> {_FAILED})'
        return Bounds(f"({condition} OR {may_end})", f'(e."duration_ns" IS NOT NULL AND {condition})')

    def _of_field(self, name: str, condition: str) -> Bounds:
        return self._about_end(condition) if BY_NAME[name].part is Place.END else exact(condition)

    def _is_null(self, name: str) -> Bounds:  # noqa: PLR0911  # each kind of field once
        if BY_NAME[name].null is None:
            return _NOTHING
        if name == "parent_id":
            return Bounds(TRUE, 'e."parent" IS NULL')
        if name == "argv_missing":
            none = self.bind(b"[]")
            return exact(f'(e."holes" IS NULL OR e."holes" = {none})')
        if name == "redacted":
            none = self.bind(b"[]")
            return exact(f'(e."redacted" IS NULL OR e."redacted" = {none})')
        if name == "container_id":
            return Bounds(TRUE, 'e."cgroup" IS NULL')
        if name == "ended":
            failed = f'({self._end()[0]} IS NULL AND e."kind" = {_FAILED})'
            return Bounds(failed, failed if self.dialect.joins_ends else FALSE)
        if name in _NOT_FIELDS:
            return _ANYTHING
        known = self._of_field(name, f"{self._column(name)} IS NOT NULL")
        return Bounds(self._opposite(known.lower), self._opposite(known.upper))

    def _is_one_of(self, node: OneOf) -> Bounds:  # noqa: PLR0911  # as above
        name = node.field
        if name == "argv":
            return _either([self._has_argument(_raw(value)) for value in node.values])
        if name == "id":
            return _either([self._has_id(_raw(value)) for value in node.values])
        if name == "ended":
            return self._ended(node.values)
        if name == "container_id":
            return _either([self._in_container(_text(value)) for value in node.values])
        if name in _NOT_FIELDS:
            return _ANYTHING
        values = [stored for value in node.values if (stored := _stored(name, value)) is not None]
        if not values:
            return _NOTHING
        return self._of_field(name, self.one_of(self._column(name), values))

    def one_of(self, column: str, values: Sequence[object]) -> str:
        """Returns the condition that a column has one of the values."""
        bound = [self.bind(value) for value in dict.fromkeys(values)]
        return f"{column} = {bound[0]}" if len(bound) == 1 else f"{column} IN ({', '.join(bound)})"

    def _has_id(self, text: bytes) -> Bounds:
        key = decode_id(text.decode("ascii", "replace"))
        if key is None:
            return _NOTHING
        task = self.bind(key.task)
        condition = f'(e."boot_ns" = {self.bind(key.boot_ns)} AND (e."pid" = {task} OR e."tid" = {task}))'
        return Bounds(condition, FALSE)

    def _ended(self, values: Sequence[Value]) -> Bounds:
        duration, status, _ = self._end()
        signal = self.dialect.bits(status, _SIGNAL)
        known = {
            Ended.REPLACED: f"({duration} IS NOT NULL AND {status} IS NULL)",
            Ended.SIGNALED: f"({duration} IS NOT NULL AND {signal} <> 0)",
            Ended.EXITED: f"({duration} IS NOT NULL AND {signal} = 0)",
        }
        found = [self._about_end(known[how]) for how in values if how in known]
        if Ended.RUNNING in values or Ended.UNKNOWN in values:
            goes_on = self._about_end(f'({duration} IS NULL AND e."kind" <> {_FAILED})')
            # What records now is known of each stream.
            is_all = Ended.RUNNING in values and Ended.UNKNOWN in values
            found.append(goes_on if is_all else Bounds(goes_on.upper, FALSE))
        return _either(found)

    def _within(self, node: Within) -> Bounds:
        low, end, value = node.low, node.end, self._column(node.field)
        if (low is not None and low > _MOST) or (end is not None and end <= _LEAST):
            return _NOTHING
        conditions = []
        if low is not None and low > _LEAST:
            conditions.append(f"{value} >= {self.bind(low)}")
        if end is not None and end <= _MOST:
            conditions.append(f"{value} < {self.bind(end)}")
        condition = " AND ".join(conditions) or f"{value} IS NOT NULL"
        return self._of_field(node.field, f"({condition})")

    def _has_text(self, node: HasText) -> Bounds:
        name, part, text = node.field, node.part, node.text
        if name == "argv":
            return self._has_in_argument(part, text)
        if name in _NOT_FIELDS or BY_NAME[name].form not in _TEXTS:
            return _ANYTHING
        value = self._column(name)
        if not text:
            return exact(f"{value} IS NOT NULL")
        return exact(self._part(value, part, text))

    def _part(self, value: str, part: Part, text: bytes) -> str:
        bound = self.bind(text)
        if part is Part.START:
            return self.dialect.starts(value, bound, len(text))
        return (
            self.dialect.contains(value, bound)
            if part is Part.ANY
            else self.dialect.ends(value, bound, len(text))
        )

    def _has_argument(self, text: bytes) -> Bounds:
        """Returns the conditions for an argument that is the text."""
        if b"\0" in text:
            return _NOTHING
        first = self.dialect.starts('e."argv"', self.bind(text + b"\0"), len(text) + 1)
        later = self.dialect.contains('e."argv"', self.bind(b"\0" + text + b"\0"))
        return self._in_arguments(f"({first} OR {later})", text)

    def _has_in_argument(self, part: Part, text: bytes) -> Bounds:
        if b"\0" in text:
            return _NOTHING
        if part is Part.START:
            first = self.dialect.starts('e."argv"', self.bind(text), len(text))
            later = self.dialect.contains('e."argv"', self.bind(b"\0" + text))
            condition = f"({first} OR {later})"
        else:
            end = b"\0" if part is Part.END else b""
            condition = self.dialect.contains('e."argv"', self.bind(text + end))
        # Some argument has the empty text, if there is one.
        return self._in_arguments(condition, text) if text else _ANYTHING

    def _in_arguments(self, condition: str, text: bytes) -> Bounds:
        """Returns the conditions, given that of whole command lines. Others have the text at least."""
        has_text = self.dialect.contains('e."argv"', self.bind(text)) if text else TRUE
        upper = (
            joined([condition, f'(e."truncated" IS NOT NULL AND {has_text})'], "OR", FALSE, TRUE)
            if text
            else TRUE
        )
        return Bounds(upper, f'(e."truncated" IS NULL AND {condition})')

    def _in_line(self, text: bytes) -> Bounds:
        """Returns the conditions for a text in the arguments, joined by single spaces."""
        if not text:
            return exact(TRUE)
        if b"\0" in text:
            return _ANYTHING
        words = text.split(b" ")
        # The last argument's NUL is no space.
        if len(words) - 1 > _MOST_SPACES or not words[-1]:
            found = (self.dialect.contains('e."argv"', self.bind(word)) for word in words if word)
            return Bounds(joined([*found], "AND", TRUE, FALSE), FALSE)
        ways = [
            b"".join(word + end for word, end in zip(words, (*ends, b""), strict=True))
            for ends in product((b" ", b"\0"), repeat=len(words) - 1)
        ]
        found_so = [self.dialect.contains('e."argv"', self.bind(way)) for way in ways]
        condition = joined(found_so, "OR", FALSE, TRUE)
        # A text beside a hole may end in the middle of an argument, and no text spans one.
        return Bounds(condition, f'(e."truncated" IS NULL AND {condition})')

    def _line_matches(self, regex: bytes) -> Bounds:
        """Returns that texts are there without which the expression finds nothing."""
        ways = regex_literals.literals(regex.decode("utf-8", "surrogateescape"))
        found = [both([self._in_line(text.encode()) for text in texts]).upper for texts in ways]
        return Bounds(joined(found, "OR", FALSE, TRUE), FALSE) if found else _ANYTHING

    def _globs(self, value: str, given: Sequence[bytes]) -> Bounds:
        return _either([self._glob(value, glob) for glob in given])

    def _glob(self, value: str, glob: bytes) -> Bounds:
        tokens = globs.tokens(glob)
        if not any(map(globs.is_wildcard, tokens)):
            return exact(f"{value} = {self.bind(glob)}")
        pieces: list[bytes] = [b""]
        is_exact = True
        for token in tokens:
            if not globs.is_wildcard(token):
                pieces[-1] += token
                continue
            # One character, or one of a set, may be any text as far as the engine is asked.
            is_exact = is_exact and token == b"*"
            pieces.append(b"")
        pieces = [pieces[0], *filter(None, pieces[1:-1]), pieces[-1]]
        if not any(pieces):
            return Bounds(f"{value} IS NOT NULL", f"{value} IS NOT NULL" if is_exact else FALSE)
        # A part of a character, such as only its last byte, is found in the bytes and not in the text.
        is_exact = is_exact and all(map(_is_utf8, pieces))
        is_exact = is_exact and (self.dialect.in_order or len(pieces) <= 3)  # noqa: PLR2004  # one between the ends
        condition = self.dialect.wild(value, pieces, self.bind)
        return Bounds(condition, condition if is_exact else FALSE)

    def _is_image(self, given: Sequence[bytes]) -> Bounds:
        """Returns the conditions for images: in a chroot also by the path that is seen there."""
        dialect, exe, root = self.dialect, 'e."exe"', 'e."root"'
        inner = dialect.after(exe, dialect.size(root))
        slash = dialect.starts(inner, self.bind(b"/"), 1)
        seen_there = exact(f"({root} IS NOT NULL AND {dialect.starts_with(exe, root)} AND {slash})")
        asked = self._globs('e."filename"', globs.as_asked(tuple(given)))
        return _either(
            [
                self._globs(exe, given),
                both([seen_there, self._globs(inner, given)]),
                both([exact(f'e."kind" = {_FAILED}'), asked]),
            ]
        )

    def _is_user(self, node: IsUser) -> Bounds:
        name, uid = ('e."user"', 'e."uid"') if node.field == "user" else ('e."login_user"', 'e."auid"')
        if node.name is None:
            return exact(f"{uid} = {self.bind(node.uid)}")
        by_name = f"{name} = {self.bind(node.name.encode('utf-8', 'surrogateescape'))}"
        if node.uid is None:
            return exact(by_name)
        return exact(f"({by_name} OR ({name} IS NULL AND {uid} = {self.bind(node.uid)}))")

    def _in_container(self, text: str) -> Bounds:
        """Returns the conditions for a container, whose name may be written in another way in the path."""
        cgroup = 'e."cgroup"'
        if _PLAIN.fullmatch(text):
            return Bounds(self.dialect.contains(cgroup, self.bind(text.encode())), FALSE)
        return Bounds(f"{cgroup} IS NOT NULL", FALSE)

    def _is_new(self, since_ns: int) -> Bounds:
        since = self.bind(min(max(since_ns, _LEAST), _MOST))
        new = f'SELECT "exe" FROM {self.dialect.table("program")} GROUP BY "exe" HAVING min("first_ts") >= {since}'  # noqa: S608  # ours
        # Of a failed exec, exe is the caller's.
        return exact(f'(e."kind" <> {_FAILED} AND e."exe" {self.dialect.among} ({new}))')


_TEXTS = frozenset({Form.TEXT, Form.NAME, Form.COMM, Form.PATH, Form.BYTES})


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _raw(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(value)
    return value


def _text(value: Value) -> str:
    return _raw(value).decode("utf-8", "surrogateescape")


def _stored(name: str, value: Value) -> object:
    """Returns a value as the database holds it; None if it can hold no such value."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, int):
        return _CODES[value]
    if BY_NAME[name].form is Form.UNSIGNED_64:
        return signed(value) if 0 <= value <= 2 * _MOST + 1 else None
    return int(value) if _LEAST <= value <= _MOST else None
