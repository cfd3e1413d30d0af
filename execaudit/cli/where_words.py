"""Have the shell complete an expression of `--where`: a name, a verb, a value of the history, `and`.

Shells complete whole words, and the expression is one of them: what is offered begins with all that was
typed. Bash closes the quotes behind a word that is the only one, so a name comes with the verbs behind it.
"""

from __future__ import annotations

import os
import re
import shlex
from typing import TYPE_CHECKING, NamedTuple

from click.shell_completion import CompletionItem

from execaudit.cli.completion import MOST, PLAIN, values_of
from execaudit.fields import ALIASES, BY_NAME
from execaudit.query.comparisons import SIGNALS, known_values, verbs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import click

    from execaudit.fields import Field

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|(?P<word>[^\W\d]\w*)|(?P<number>-?[0-9][\w.]*)"""
    r"""|(?P<sign>[=!<>]=?)|(?P<open>\()|(?P<close>\))|(?P<comma>,))""",
    re.DOTALL,
)
# What can follow: a name, a verb, the bracket of a list, a value, or what joins comparisons.
_NAME, _VERB, _LIST, _VALUE, _JOIN, _NOTHING = range(6)
_PATHS = ("exe", "filename", "interpreter")
# Fields whose values the history is asked for.
_OF_HISTORY = (*_PATHS, "comm", "cwd", "cgroup", "container_id", "host", "login_user", "parent_comm", "root", "tty", "user")  # fmt: skip


class _Place(NamedTuple):
    """Where an expression ends: what comes next, and of which comparison."""

    state: int = _NAME
    field: Field | None = None
    verb: str = ""
    is_listed: bool = False


def complete(ctx: click.Context, typed: str) -> list[CompletionItem]:
    """Returns the expressions with which what was typed can go on."""
    place = _Place()
    tokens = [*_tokens(typed)]
    end = tokens[-1].end() if tokens else 0
    rest = typed[end:].lstrip()
    if rest and rest[0] not in "\"'":
        return []
    if not rest and tokens and end == len(typed) and tokens[-1].lastgroup in ("word", "sign"):
        # It may go on.
        last = tokens.pop()
        rest = last[last.lastgroup or 0]
    for token in tokens:
        place = _after(place, token)
    at = len(typed) - len(rest)
    words = [word for word in _words(ctx, place, rest) if word.startswith(rest)]
    if len(words) == 1 and _is_quoted():
        words = [f"{words[0]} {more}" for more in _words(ctx, _behind(place, words[0]), "")] or words
    lead = typed[:at] if not tokens or typed[:at].endswith((" ", "(")) else f"{typed[:at]} "
    found = (lead + word for word in words[:MOST])
    return [CompletionItem(text) for text in found if "," not in text or not _is_fish()]


def _tokens(text: str) -> Iterator[re.Match[str]]:
    at = 0
    while found := _TOKEN.match(text, at):
        yield found
        at = found.end()


def _behind(place: _Place, word: str) -> _Place:
    """Returns the place behind a word that was offered; behind a value nothing more is."""
    if place.state == _VALUE:
        return _Place(_NOTHING)
    for token in _tokens(word):
        place = _after(place, token)
    return place


def _after(place: _Place, token: re.Match[str]) -> _Place:
    """Returns the place behind a token; behind what is no expression nothing follows."""
    kind = token.lastgroup or ""
    text, word = token[kind], token[kind].lower()
    field = BY_NAME.get(ALIASES.get(text, text))
    compared, joined = place._replace(state=_VALUE, verb=word), place._replace(state=_JOIN)
    steps = {
        (_NAME, "open"): place,
        (_NAME, "not"): place,
        (_NAME, "word"): _Place(_NOTHING if field is None else _VERB, field),
        (_VERB, "not"): place,
        (_VERB, "in"): place._replace(state=_LIST, verb=word),
        (_VERB, "word"): compared,
        (_VERB, "sign"): compared,
        (_LIST, "open"): place._replace(state=_VALUE, is_listed=True),
        (_VALUE, "text"): joined,
        (_VALUE, "number"): joined,
        (_VALUE, "word"): joined,
        (_JOIN, "comma"): place._replace(state=_VALUE if place.is_listed else _NOTHING),
        (_JOIN, "close"): _Place(_JOIN),
        (_JOIN, "and"): _Place(),
        (_JOIN, "or"): _Place(),
    }
    is_own = word in ("not", "in", "and", "or") and kind == "word"
    return steps.get((place.state, word if is_own else kind), _Place(_NOTHING))


def _words(ctx: click.Context, place: _Place, typed: str) -> list[str]:
    """Returns what can stand at a place, of which `typed` is there."""
    if place.state == _NAME:
        return [*BY_NAME, *ALIASES]
    if place.state == _JOIN:
        return [] if place.is_listed else ["and", "or"]
    if place.field is None:
        return []
    if place.state == _VERB:
        return ["in (" if verb == "in" else verb for verb in verbs(place.field) or ("==", "!=")]
    if place.state != _VALUE:
        return []
    quote = typed[:1] or '"'
    found = sorted(filter(PLAIN.fullmatch, _values(ctx, place.field, place.verb, typed[1:])))
    return [*(f"{quote}{value}{quote}" for value in found), *(["null"] if place.verb in ("==", "!=") else [])]


def _values(ctx: click.Context, field: Field, verb: str, typed: str) -> Iterable[str]:
    known, name = known_values(field), field.name
    if known is not None or name == "exit_signal":
        return known or SIGNALS
    # Of a container the first digits are known.
    if name not in _OF_HISTORY or (name == "container_id" and verb in ("==", "!=", "in")):
        return ()
    is_whole = name in _PATHS and verb not in ("contains", "endswith", "matches")
    found = values_of(ctx, name, os.fsencode(typed or ("/" if is_whole else "")))
    return [os.fsdecode(value) for value in found if not is_whole or value.startswith(b"/")]


def _is_fish() -> bool:
    """Says whether the shell takes no commas in words."""
    return os.environ.get("_EXECAUDIT_COMPLETE") == "fish_complete"


def _is_quoted() -> bool:
    """Says whether the shell takes a word with blanks: bash does not quote it, so somebody must have."""
    if os.environ.get("_EXECAUDIT_COMPLETE") != "bash_complete":
        return True
    try:
        shlex.split(os.environ.get("COMP_WORDS", ""))
    except ValueError:
        return True
    return False
