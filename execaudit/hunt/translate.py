"""From what pySigma read of a rule to an expression. Knows which of a rule's fields a record has.

Expressions cannot run code, and read nothing but the exec: what would need more is refused.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.types import (
    CompareOperators,
    Placeholder,
    SigmaBool,
    SigmaCasedString,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExists,
    SigmaExpansion,
    SigmaFieldReference,
    SigmaNull,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaRegularExpressionFlag,
    SigmaString,
    SigmaTimestampPart,
    SpecialChars,
)

from execaudit.errors import FilterError
from execaudit.fields import BY_NAME, Form
from execaudit.query import text_tests
from execaudit.query.comparisons import known_values
from execaudit.query.expression import (
    LINE,
    Agrees,
    And,
    Expression,
    Finds,
    InNetwork,
    IsNull,
    Known,
    Like,
    Not,
    OneOf,
    Or,
    Part,
    Passes,
    Text,
    Wild,
    Within,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from execaudit.query.expression import Test

_FIELDS = {
    "Image": Text("exe"),
    "CommandLine": Text(LINE),
    "ParentImage": Text("exe", of_parent=True),
    "ParentCommandLine": Text(LINE, of_parent=True),
    "CurrentDirectory": Text("cwd"),
    "User": Text("user"),
    "LogonId": Text("session"),
    "ProcessId": Text("pid"),
}
"""What Sigma calls otherwise than the record."""
_TEXTS = {name: Text(name) for name, field in BY_NAME.items() if field.form is not Form.PAIRS} | _FIELDS
_FLAGS = {
    "ignore_case": SigmaRegularExpressionFlag.IGNORECASE,
    "many_lines": SigmaRegularExpressionFlag.MULTILINE,
    "dot_all": SigmaRegularExpressionFlag.DOTALL,
}
_WILD = {SpecialChars.WILDCARD_MULTI: Wild.MANY, SpecialChars.WILDCARD_SINGLE: Wild.ONE}
_PARTS = {(True, True): Part.ANY, (True, False): Part.START, (False, True): Part.END, (False, False): None}


class NotHuntedError(Exception):
    """A rule needs what a record does not have."""


def expression_of(condition: Any) -> Expression:  # noqa: ANN401  # pySigma's, of any kind
    """Returns the expression for a condition. Raises NotHuntedError; RecursionError for a very deep one."""
    if isinstance(condition, ConditionAND):
        return And(_parts(condition.args))
    if isinstance(condition, ConditionOR):
        return Or(_parts(condition.args))
    if isinstance(condition, ConditionNOT):
        (part,) = _parts(condition.args)
        return Not(part)
    if isinstance(condition, ConditionFieldEqualsValueExpression):
        text = _text(condition.field)
        return _compared(text, condition.value)
    if isinstance(condition, ConditionValueExpression):
        raise NotHuntedError("it needs keywords: values without a field")
    raise NotHuntedError("its condition is empty")


def _parts(conditions: Sequence[Any]) -> tuple[Expression, ...]:
    return tuple(expression_of(each) for each in conditions if each is not None)


def _text(name: str) -> Text:
    text = _TEXTS.get(name)
    if text is None:
        raise NotHuntedError(f"it needs the field {name}")
    return text


def own_text(name: str) -> Text:
    """Returns the text of a field by which execs are counted. Raises NotHuntedError."""
    text = _text(name)
    if text.of_parent or text.name == "argv":
        raise NotHuntedError(f"it needs to count by {name}")
    return text


def _compared(text: Text, value: Any) -> Expression:  # noqa: ANN401, C901, PLR0911  # each kind once
    if isinstance(value, SigmaExpansion):
        return Or(tuple(_compared(text, each) for each in value.values))
    if isinstance(value, SigmaNull):
        return Not(_is_known(text))
    if isinstance(value, SigmaExists):
        return _is_known(text) if value.exists else Not(_is_known(text))
    if isinstance(value, SigmaString):
        return _passes(text, Like(_pattern(value), cased=isinstance(value, SigmaCasedString)))
    if isinstance(value, SigmaRegularExpression):
        return _passes(text, _finds(value))
    if isinstance(value, SigmaCIDRExpression):
        return _passes(text, InNetwork(str(value.network)))
    if isinstance(value, SigmaFieldReference):
        return _agrees(text, value)
    if isinstance(value, SigmaTimestampPart):
        raise NotHuntedError(f"it needs the modifier {value.timestamp_part.name.lower()}")
    if isinstance(value, SigmaNumber):
        return _is_number(text, value.number)
    if isinstance(value, SigmaCompareExpression):
        return _ordered(text, value)
    if isinstance(value, SigmaBool):
        raise NotHuntedError("it needs a field that is true or false")
    raise NotHuntedError(f"it needs values of the kind {type(value).__name__}")


def _is_known(text: Text) -> Expression:
    if text.of_parent or text.name == LINE:
        return Passes(text, Known())
    return Not(IsNull(text.name))


def _pattern(value: SigmaString) -> tuple[bytes | Wild, ...]:
    pattern: list[bytes | Wild] = []
    for piece in value.s:
        if isinstance(piece, Placeholder):
            raise NotHuntedError(f"it needs the modifier expand: a value for %{piece.name}%")
        pattern.append(_encoded(piece) if isinstance(piece, str) else _WILD[piece])
    return tuple(pattern)


def _encoded(text: str) -> bytes:
    # A lone surrogate is no character, and in no UTF-8.
    try:
        return text.encode()
    except UnicodeEncodeError as exc:
        raise NotHuntedError("a value is no Unicode text") from exc


def _finds(value: SigmaRegularExpression) -> Finds:
    if value.regexp.contains_placeholder():
        raise NotHuntedError("it needs the modifier expand: a value for a placeholder")
    finds = Finds(str(value.regexp), **{name: flag in value.flags for name, flag in _FLAGS.items()})
    try:
        text_tests.passing(finds)
    except FilterError as exc:
        raise NotHuntedError(f"its regular expression is none: {exc.what.removeprefix('re: ')}") from exc
    return finds


def _passes(text: Text, test: Test) -> Expression:
    its = BY_NAME.get(text.name)
    known = None if its is None else known_values(its)
    if known is None:
        return Passes(text, test)
    # Few words are possible: it is one of those that pass.
    passes = text_tests.passing(test)
    chosen = tuple(value for shown, value in known.items() if passes(shown.encode()))
    return OneOf(text.name, chosen) if chosen else Or(())


def _agrees(text: Text, reference: SigmaFieldReference) -> Expression:
    other = _text(reference.field)
    for each in (text, other):
        its = BY_NAME.get(each.name)
        if each.name == "argv" or (its is not None and known_values(its) is not None):
            raise NotHuntedError(f"it needs the modifier fieldref with {each.name}")
    return Agrees(text, _PARTS[bool(reference.starts_with), bool(reference.ends_with)], other)


def _is_number(text: Text, number: float) -> Expression:
    if not isinstance(number, int):
        return Or(()) if _is_numeric(text) else Passes(text, Like((str(number).encode(),)))
    return OneOf(text.name, (number,)) if _is_numeric(text) else _passes(text, Like((b"%d" % number,)))


def _is_numeric(text: Text) -> bool:
    return text.name != LINE and BY_NAME[text.name].form is Form.NUMBER


def _ordered(text: Text, value: SigmaCompareExpression) -> Expression:
    if not _is_numeric(text):
        raise NotHuntedError(f"it needs a number, with the modifier {value.op.name.lower()}")
    name, number = text.name, value.number.number
    at_least, above = math.ceil(number), math.floor(number) + 1
    said: dict[Any, Expression] = {
        CompareOperators.LT: Within(name, None, at_least),
        CompareOperators.LTE: Within(name, None, above),
        CompareOperators.GT: Within(name, above, None),
        CompareOperators.GTE: Within(name, at_least, None),
    }
    return said[value.op]
