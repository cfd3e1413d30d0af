"""What one comparison of `--where` means. The table of fields says which values and verbs it takes. Pure."""

from __future__ import annotations

import re
import signal
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

from execaudit.enums import ERRNO_NAMES, GAINED_WORDS, Ended, Kind, Truncated
from execaudit.errors import FilterError
from execaudit.escaping import printable
from execaudit.fields import ALIASES, BY_NAME, Form
from execaudit.query.expression import HasText, IsNull, Matches, Not, OneOf, Or, Part, Within
from execaudit.times import parse_duration, parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from execaudit.fields import Field
    from execaudit.query.expression import Expression, Value

_NUMBERS = frozenset({Form.NUMBER, Form.TIME})
# Numbers that are compared for equality alone.
_LABELS = frozenset({Form.UNSIGNED_64, Form.DEVICE})
_WORDS = {str(word.value): word for words in (Kind, Truncated, Ended) for word in words}
_PARTS = {"contains": Part.ANY, "startswith": Part.START, "endswith": Part.END}
_EQUAL = ("==", "!=", "in")
_ORDER = ("<", "<=", ">", ">=")
_TEXTUAL = ("contains", "startswith", "endswith", "matches")
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPED = {"n": b"\n", "t": b"\t", "r": b"\r", "\\": b"\\", '"': b'"', "'": b"'"}
_MOST_DIGITS, _MINOR_BITS = 30, 20
_MOST_SHOWN = 40
SIGNALS = {each.name: int(each) for each in signal.Signals}
"""By the names that tables show."""


class Word(NamedTuple):
    """A word of the expression."""

    text: str
    at: int
    """Its place in the expression, from 0 on."""
    is_text: bool = False
    """It stands in quotes, which `text` has."""


class NotUnderstood(Exception):  # noqa: N818  # the caller makes an error of it
    """A word means nothing where it stands."""

    def __init__(self, word: Word, what: str, fix: str | None) -> None:
        super().__init__(what)
        self.word, self.what, self.fix = word, what, fix


def compared(name: Word, verb: Word, values: Sequence[Word], *, now: datetime) -> Expression:
    """Returns what a comparison says: a name, a verb, and a value (of `in`: several).

    Raises NotUnderstood.
    """
    field = _field(name)
    if any(word.text.lower() == "null" and not word.is_text for word in values):
        if verb.text not in _EQUAL[:2]:
            raise NotUnderstood(values[0], "null has no such comparison", "write == null or != null")
        said: Expression = IsNull(field.name)
        return Not(said) if verb.text == "!=" else said
    usable = verbs(field)
    if verb.text not in usable:
        words = ", ".join(usable) if usable else "== null, != null"
        raise NotUnderstood(verb, f"{field.name} is not compared with {verb.text}", f"it takes {words}")
    if verb.text in _EQUAL:
        said = OneOf(field.name, tuple(_value(field, name, word, now) for word in values))
        return Not(said) if verb.text == "!=" else said
    if verb.text in _ORDER:
        return _ordered(field.name, verb.text, _value(field, name, values[0], now))
    return _textual(field, verb.text, values[0])


def _field(name: Word) -> Field:
    field = BY_NAME.get(ALIASES.get(name.text, name.text))
    if field is None:
        near = get_close_matches(name.text.lower(), [*BY_NAME, *ALIASES], n=1)
        fix = f"did you mean {near[0]}?" if near else "its names are the keys of `query --format jsonl`"
        raise NotUnderstood(name, f"the record has no {_shown(name.text)}", fix)
    return field


def verbs(field: Field) -> tuple[str, ...]:
    """Returns the verbs that a field takes with a value; all fields have == and != with null."""
    if field.form is Form.PAIRS:
        return ()
    if field.form in _NUMBERS:
        return (*_EQUAL, *_ORDER)
    return _EQUAL if field.form in _LABELS else (*_EQUAL, *_TEXTUAL)


def _ordered(name: str, verb: str, number: Value) -> Expression:
    if not isinstance(number, int):
        raise TypeError(number)
    bound = int(number)
    return {
        "<": Within(name, None, bound),
        "<=": Within(name, None, bound + 1),
        ">": Within(name, bound + 1, None),
        ">=": Within(name, bound, None),
    }[verb]


def _textual(field: Field, verb: str, word: Word) -> Expression:
    if not word.is_text:
        raise NotUnderstood(word, f"{verb} takes a text", f'write it in quotes: "{_shown(word.text)}"')
    text = _regex(word) if verb == "matches" else _text(word)
    known = known_values(field)
    if known is not None:
        # Few words are possible: it is one of those that pass.
        passes = _passing(verb, text)
        try:
            chosen = tuple(value for shown, value in known.items() if passes(shown.encode()))
        except TimeoutError as exc:
            raise NotUnderstood(
                word, "this takes too long", "write it without repetitions in one another"
            ) from exc
        return OneOf(field.name, chosen) if chosen else Or(())
    return Matches(field.name, text) if verb == "matches" else HasText(field.name, _PARTS[verb], text)


def _passing(verb: str, text: bytes) -> Callable[[bytes], bool]:
    if verb == "matches":
        from execaudit.query import timelimit  # noqa: PLC0415  # loads the library regex

        search = timelimit.searcher(text.decode("utf-8", "surrogateescape"))
        return lambda shown: search(shown.decode())
    return {
        "contains": lambda shown: text in shown,
        "startswith": lambda shown: shown.startswith(text),
        "endswith": lambda shown: shown.endswith(text),
    }[verb]


def known_values(field: Field) -> Mapping[str, Value] | None:
    """Returns all values of a field as the record shows them; None: they are not known."""
    if field.form is Form.WORD:
        return {word: _WORDS[word] for word in field.values}
    if field.form is Form.GAINED:
        return {words: bits for bits, words in enumerate(GAINED_WORDS) if words is not None}
    if field.form is Form.ERRNO:
        return {name: number for number, name in ERRNO_NAMES.items()}
    return None


def _value(field: Field, name: Word, word: Word, now: datetime) -> Value:
    """Returns a value of a field."""
    known = known_values(field)
    if known is not None:
        return _known_value(field, known, word)
    if field.form is Form.TIME:
        return _moment(word, now)
    if field.form is Form.DEVICE:
        return _device(word)
    if field.form is Form.NUMBER or field.form is Form.UNSIGNED_64:
        return _number(field, name, word)
    if not word.is_text:
        raise NotUnderstood(word, f"{field.name} is a text", f'write it in quotes: "{_shown(word.text)}"')
    return _text(word)


def _known_value(field: Field, known: Mapping[str, Value], word: Word) -> Value:
    text = _text(word).decode("utf-8", "replace") if word.is_text else word.text
    if text in known:
        return known[text]
    if field.form is Form.ERRNO and re.fullmatch(r"E?[0-9]{1,4}", text):
        return int(text.removeprefix("E"))
    near = get_close_matches(text, known, n=1) or get_close_matches(text.upper(), known, n=1)
    words = ", ".join(known) if field.form is not Form.ERRNO else "names such as ENOENT"
    fix = f'did you mean "{near[0]}"?' if near else f"it has {words}"
    raise NotUnderstood(word, f"{field.name} is never {_shown(text)}", fix)


def _moment(word: Word, now: datetime) -> int:
    text = _text(word).decode("utf-8", "replace") if word.is_text else word.text
    try:
        return parse_time(text, now=now)
    except FilterError as exc:
        raise NotUnderstood(word, exc.what, exc.fix) from exc


def _device(word: Word) -> int:
    parts = re.fullmatch(rb"([0-9]{1,4}):([0-9]{1,7})", _text(word)) if word.is_text else None
    if parts is None:
        raise NotUnderstood(word, "this is no device", 'write major and minor: "8:1"')
    return int(parts[1]) << _MINOR_BITS | int(parts[2])


def _number(field: Field, name: Word, word: Word) -> int:
    is_length = field.unit == "nanoseconds"
    text = _text(word).decode("utf-8", "replace") if word.is_text else word.text
    if re.fullmatch(r"-?[0-9]+", text) and len(text) <= _MOST_DIGITS:
        if name.text in ALIASES:
            raise NotUnderstood(word, f"{name.text} needs a unit", f"write {_shown(text)}s")
        if not word.is_text or field.form is Form.UNSIGNED_64:
            return int(text)
    elif is_length:
        return _length(word, text)
    elif field.name == "exit_signal" and text.upper() in SIGNALS:
        return SIGNALS[text.upper()]
    fix = "write a length of time, such as 90s or 15min" if is_length else "write digits, without quotes"
    if field.name == "exit_signal":
        fix = 'write "SIGKILL", or digits without quotes'
    raise NotUnderstood(word, f"{_shown(word.text)} is no number", fix)


def _length(word: Word, text: str) -> int:
    try:
        return parse_duration(text)
    except FilterError as exc:
        raise NotUnderstood(word, exc.what, exc.fix) from exc


def _text(word: Word) -> bytes:
    r"""Returns what stands in quotes. `\n`, `\t`, `\r`, `\\`, `\"`, `\'` and `\xNN` mean one byte."""
    inside = word.text[1:-1]
    parts, end = [], 0
    for escape in _ESCAPE.finditer(inside):
        parts.append(_encoded(inside[end : escape.start()]))
        code = escape[1]
        if len(code) > 1:
            parts.append(bytes([int(code[1:], 16)]))
        else:
            parts.append(_ESCAPED.get(code) or _encoded(escape[0]))
        end = escape.end()
    return b"".join([*parts, _encoded(inside[end:])])


def _regex(word: Word) -> bytes:
    """Returns the expression in quotes, which has escapes of its own. Raises NotUnderstood if it is none."""
    from execaudit.query import timelimit  # noqa: PLC0415  # loads the library regex

    quote = word.text[0]
    inside = word.text[1:-1].replace(f"\\{quote}", quote)
    try:
        timelimit.searcher(inside)
    except FilterError as exc:
        raise NotUnderstood(word, exc.what.removeprefix("--args-regex: "), exc.fix) from exc
    return _encoded(inside)


def _encoded(text: str) -> bytes:
    # Not every lone surrogate is a byte that Python could not decode.
    return (
        text.encode("utf-8", "surrogateescape")
        if _is_bytes(text)
        else text.encode("utf-8", "backslashreplace")
    )


def _is_bytes(text: str) -> bool:
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _shown(text: str) -> str:
    return printable(text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "...")
