"""Read what `--where` says, and make an expression of it. The only user of lark, which takes 0.1 s to import.

An error names the column, and the nearest word that would do.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedToken, v_args

from execaudit.errors import FilterError
from execaudit.escaping import printable
from execaudit.query.comparisons import NotUnderstood, Word, compared
from execaudit.query.expression import And, Not, Or

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from execaudit.query.expression import Expression

_GRAMMAR = r"""
?start: either
either: both (_OR both)*
both: one (_AND one)*
?one: comparison
    | _NOT one -> negated
    | _OPEN either _CLOSE
comparison: NAME (SIGN | VERB) value                   -> compared
          | NAME _IN _OPEN value (_COMMA value)* _CLOSE      -> listed
          | NAME _NOT _IN _OPEN value (_COMMA value)* _CLOSE -> unlisted
?value: TEXT | NUMBER | NULL

_OR.2: /or\b/i
_AND.2: /and\b/i
_NOT.2: /not\b/i
_IN.2: /in\b/i
NULL.2: /null\b/i
VERB.2: /(contains|startswith|endswith|matches)\b/i
SIGN: "==" | "!=" | "<=" | ">=" | "<" | ">"
NAME: /[^\W\d]\w*/
NUMBER: /-?[0-9][\w.]*/
TEXT: /"(\\.|[^"\\])*"|'(\\.|[^'\\])*'/s
_OPEN: "("
_CLOSE: ")"
_COMMA: ","
%ignore /\s+/
"""
_VERBS = ("contains", "startswith", "endswith", "matches")
# By kind of token: what to write there.
_EXPECTED = {
    "_AND": "and", "_OR": "or", "_CLOSE": ")", "SIGN": "==", "VERB": ", ".join(_VERBS), "_IN": "in",
    "NAME": "a name of the record", "TEXT": "a text in quotes", "NUMBER": "a number", "_COMMA": ",", "_OPEN": "(",
}  # fmt: skip
_WORDS = {
    "_AND": ("and",),
    "_OR": ("or",),
    "_NOT": ("not",),
    "_IN": ("in",),
    "VERB": _VERBS,
    "NULL": ("null",),
}
# What other languages have.
_FOREIGN = {"=": "==", "&": "and", "|": "or", "!": "not", "~": "matches"}
_MOST_CHARACTERS = 10_000
# SQLite's parser takes about 20 parentheses in each other, and 1000 conditions in a row.
_MOST_DEPTH, _MOST_VALUES = 16, 400
_MOST_SHOWN = 30


def parse(text: str, *, now: datetime) -> Expression:
    """Returns the expression that a text says. `now` has a time zone.

    Raises FilterError, in one line.
    """
    if len(text) > _MOST_CHARACTERS:
        raise FilterError(f"it has {len(text)} characters", fix=f"write {_MOST_CHARACTERS} at most")
    if not text.strip():
        raise FilterError("it is empty", fix="""write, for example, 'comm == "curl" and exit_code != 0'""")
    parser = Lark(_GRAMMAR, parser="lalr", lexer="basic", transformer=_Maker(now))
    tokens: list[Token] = []
    try:
        tokens += parser.lex(text)
        _check_size(tokens)
        made = parser.parse(text)
    except UnexpectedCharacters as exc:
        raise _unreadable(exc.char, exc.pos_in_stream or 0) from exc
    except UnexpectedToken as exc:
        raise _misread(exc, text, tokens) from exc
    except NotUnderstood as exc:
        raise _wrong(exc.word.at, exc.what, exc.fix) from exc
    expression: Expression = made  # type: ignore[assignment]  # the transformer's
    return expression


def _check_size(tokens: Iterable[Token]) -> None:
    """Raises NotUnderstood for what is too deep, or too long, for SQLite."""
    depth = values = nots = 0
    for token in tokens:
        depth += (token.type == "_OPEN") - (token.type == "_CLOSE")
        nots = nots + 1 if token.type == "_NOT" else 0
        values += token.type in {"TEXT", "NUMBER", "NULL"}
        if max(depth, nots) > _MOST_DEPTH:
            raise NotUnderstood(
                _word(token), "this is too deep", f"write {_MOST_DEPTH} of these in each other at most"
            )
        if values > _MOST_VALUES:
            raise NotUnderstood(_word(token), "there are too many values", f"write {_MOST_VALUES} at most")


@v_args(inline=True)
class _Maker(Transformer[Token, "Expression"]):
    """Makes an expression, from its leaves on, while the parser reads: without recursion."""

    def __init__(self, now: datetime) -> None:
        super().__init__()
        self._now = now

    def either(self, *parts: Expression) -> Expression:
        return parts[0] if len(parts) == 1 else Or(parts)

    def both(self, *parts: Expression) -> Expression:
        return parts[0] if len(parts) == 1 else And(parts)

    def negated(self, part: Expression) -> Expression:
        return part.part if isinstance(part, Not) else Not(part)

    def compared(self, name: Token, relation: Token, value: Token) -> Expression:
        return compared(_word(name), _word(relation), [_word(value)], now=self._now)

    def listed(self, name: Token, *values: Token) -> Expression:
        return compared(_word(name), Word("in", name.start_pos or 0), [*map(_word, values)], now=self._now)

    def unlisted(self, name: Token, *values: Token) -> Expression:
        return Not(self.listed(name, *values))


def _word(token: Token) -> Word:
    text = str(token) if token.type in {"TEXT", "NUMBER", "NAME"} else str(token).lower()
    return Word(text, token.start_pos or 0, is_text=token.type == "TEXT")


def _unreadable(char: str, at: int) -> FilterError:
    """Returns the error for a character with which no token begins."""
    if char in "\"'":
        return _wrong(at, "this quote is not closed", f"end the text with {char}")
    return _wrong(
        at, f"{_shown(char)} is not understood", f"write {_FOREIGN[char]}" if char in _FOREIGN else None
    )


def _misread(error: UnexpectedToken, text: str, tokens: Sequence[Token]) -> FilterError:
    """Returns the error for a token that does not fit."""
    token = error.token
    before = [
        each for each in tokens if token.type == "$END" or (each.start_pos or 0) < (token.start_pos or 0)
    ]
    expected = _after_value(before) or error.expected
    if token.type == "$END":
        return _wrong(len(text), "the expression is not complete", _expected(expected))
    found = str(token)
    if "TEXT" in expected and token.type == "NAME":
        fix = f'a text stands in quotes: "{_shown(found)}"'
    else:
        words = [word for kind in expected for word in _WORDS.get(kind, ())]
        near = get_close_matches(found.lower(), words, n=1) if token.type == "NAME" else []
        fix = f"did you mean {near[0]}?" if near else _expected(expected)
    return _wrong(token.start_pos, f"{_shown(found)} does not fit", fix)


def _after_value(before: Sequence[Token]) -> set[str]:
    """Returns what can follow a value or a parenthesis; nothing after other tokens.

    The parser has forgotten that: it has made a comparison of them.
    """
    if not before or before[-1].type not in {"TEXT", "NUMBER", "NULL", "_CLOSE"}:
        return set()
    opened: list[bool] = []
    for last, token in zip(["", *(each.type for each in before)], before, strict=False):
        if token.type == "_OPEN":
            opened.append(last == "_IN")
        elif token.type == "_CLOSE":
            opened.pop()
    if opened and opened[-1]:
        return {"_COMMA", "_CLOSE"}
    return {"_AND", "_OR", "_CLOSE"} if opened else {"_AND", "_OR"}


def _expected(kinds: Iterable[str]) -> str:
    known = set(kinds)
    return f"here can stand: {', '.join(said for kind, said in _EXPECTED.items() if kind in known)}"


def _wrong(at: int | None, what: str, fix: str | None) -> FilterError:
    return FilterError(f"column {(at or 0) + 1}: {what}", fix=fix)


def _shown(text: str) -> str:
    return printable(text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "...")
