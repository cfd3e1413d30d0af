"""What a rule says of one value alone: of an exec's image, of its command line, of its parent's. Pure.

A rule can only hit where each of these holds. So most execs are left out by values that many of them share.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from execaudit.fields import BY_NAME, Form
from execaudit.fields import Part as Place
from execaudit.query import text_tests
from execaudit.query.expression import (
    LINE,
    Agrees,
    And,
    Expression,
    IsNull,
    Like,
    Not,
    OneOf,
    Or,
    Passes,
    Text,
    Within,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

TRUE, FALSE = And(()), Or(())
# Computed from the arguments alone.
_OF_ARGUMENTS = frozenset({LINE, "argv", "command", "argv_base64"})
_ESCAPED = frozenset({"command", "argv_base64"})
_STORED = frozenset({Form.COMM, Form.PATH, Form.BYTES})
_PRINTABLE = re.compile(rb"[ -~]+")
_SHORTEST = 2
_MOST_ALTERNATIVES = 32


def sources(expression: Expression) -> frozenset[Text]:
    """Returns the values of which an expression says something. All that is of the arguments is LINE."""
    if isinstance(expression, (And, Or)):
        return frozenset().union(*map(sources, expression.parts))
    if isinstance(expression, Not):
        return sources(expression.part)
    if isinstance(expression, Passes):
        return frozenset({_source(expression.text)})
    if isinstance(expression, Agrees):
        return frozenset({_source(expression.text), _source(expression.other)})
    if isinstance(expression, (IsNull, OneOf, Within)):
        return frozenset({_source(Text(expression.field))})
    raise TypeError(expression)


def _source(text: Text) -> Text:
    return Text(LINE, text.of_parent) if text.name in _OF_ARGUMENTS else text


def alternatives(expression: Expression) -> list[Expression]:
    """Returns expressions of which one is true where the whole is true, and no other time.

    Each says more of a value alone than the whole does: of `Image is a, or the arguments have b` the whole
    says nothing of either.
    """
    return _split(_positive(expression))


def _positive(expression: Expression, *, is_true: bool = True) -> Expression:
    """Returns the same with `Not` before leaves only."""
    if isinstance(expression, Not):
        return _positive(expression.part, is_true=not is_true)
    if isinstance(expression, (And, Or)):
        parts = tuple(_positive(part, is_true=is_true) for part in expression.parts)
        return And(parts) if isinstance(expression, And) is is_true else Or(parts)
    return expression if is_true else Not(expression)


def _split(expression: Expression) -> list[Expression]:
    if not isinstance(expression, (And, Or)) or len(sources(expression)) < 2:  # noqa: PLR2004  # one value
        return [expression]
    if isinstance(expression, Or):
        alone: dict[frozenset[Text], list[Expression]] = {}
        found: list[Expression] = []
        for part in expression.parts:
            its = sources(part)
            if len(its) == 1:
                alone.setdefault(its, []).append(part)
            else:
                found += _split(part)
        found += [_either(parts) for parts in alone.values()]
        return found if len(found) <= _MOST_ALTERNATIVES else [expression]
    combined: list[tuple[Expression, ...]] = [()]
    for part in expression.parts:
        split = _split(part)
        if len(combined) * len(split) > _MOST_ALTERNATIVES:
            split = [part]
        combined = [(*parts, each) for parts in combined for each in split]
    return [And(parts) for parts in combined]


def is_shared(source: Text) -> bool:
    """Says whether many execs share the value."""
    return source.name == LINE or BY_NAME[source.name].part in (Place.LAUNCH, Place.ORIGIN)


def about(expression: Expression, source: Text, *, is_true: bool = True) -> Expression:
    """Returns what must hold of one value where an expression is true; without `is_true`: where it is not."""
    if isinstance(expression, Not):
        return about(expression.part, source, is_true=not is_true)
    if isinstance(expression, (And, Or)):
        parts = [about(part, source, is_true=is_true) for part in expression.parts]
        return _both(parts) if isinstance(expression, And) is is_true else _either(parts)
    if sources(expression) != {source}:
        return TRUE
    return expression if is_true else Not(expression)


def _both(parts: Iterable[Expression]) -> Expression:
    kept = tuple(part for part in parts if part != TRUE)
    if FALSE in kept:
        return FALSE
    return kept[0] if len(kept) == 1 else And(kept)


def _either(parts: Iterable[Expression]) -> Expression:
    kept = tuple(part for part in parts if part != FALSE)
    if TRUE in kept:
        return TRUE
    return kept[0] if len(kept) == 1 else Or(kept)


def needed(expression: Expression) -> frozenset[bytes] | None:
    """Returns texts in lower case of which one must be in a value; None if there are no such texts.

    The expression is about one value: for LINE, the arguments joined by spaces, of which nothing is missing.
    """
    if isinstance(expression, And):
        known = [texts for part in expression.parts if (texts := needed(part)) is not None]
        return max(known, key=_selectivity, default=None)
    if isinstance(expression, Or):
        every = [needed(part) for part in expression.parts]
        known = [texts for texts in every if texts is not None]
        return frozenset().union(*known) if len(known) == len(every) else None
    if (
        isinstance(expression, Passes)
        and expression.text.name not in _ESCAPED
        and isinstance(expression.test, Like)
    ):
        usable = [text for text in text_tests.literals(expression.test) if b"\0" not in text]
        longest = max(usable, key=len, default=b"")
        return frozenset({longest}) if len(longest) >= _SHORTEST else None
    return None


def likely(expressions: Iterable[Expression]) -> dict[str, frozenset[bytes]] | None:
    """Returns, by the name of a field or LINE, texts of which one is in each exec that may be true of some.

    They are printable ASCII in lower case; what is missing of a command line may have any. None: for one
    expression there is no such text.
    """
    found: dict[str, frozenset[bytes]] = {}
    for expression in expressions:
        for alternative in alternatives(expression):
            known = [
                (source.name, plain)
                for source in sources(alternative)
                if _is_searched(source)
                and (texts := needed(about(alternative, source))) is not None
                and (plain := frozenset(map(_plain, texts)))
                and _selectivity(plain) >= _SHORTEST
            ]
            if not known:
                return None
            name, texts = max(known, key=lambda each: (_selectivity(each[1]), each[0]))
            found[name] = found.get(name, frozenset()) | texts
    return found


def _is_searched(source: Text) -> bool:
    """Says whether it is a text of the exec itself, which is stored as it is shown."""
    return not source.of_parent and (source.name == LINE or BY_NAME[source.name].form in _STORED)


def _plain(text: bytes) -> bytes:
    """Returns the longest part of a text that is printable ASCII."""
    return max(_PRINTABLE.findall(text), key=len, default=b"")


def _selectivity(texts: frozenset[bytes]) -> int:
    return min(map(len, texts), default=_SHORTEST * 1000)
