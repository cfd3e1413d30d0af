"""What the process that runs detection rules tells the recorder: a line of JSON for each fact.

The recorder believes nothing: a line that is not as it should be ends the process.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from execaudit.event import LEVELS, Hit, HuntRule, Nanoseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LONGEST_LINE = 64 * 1024
_LONGEST_TEXT, _MOST_TAGS = 1000, 100
_TEXT, _NUMBER = (str,), (int,)
_TEXT_OR_NOT, _NUMBER_OR_NOT = (str, type(None)), (int, type(None))
_KINDS: dict[str, tuple[tuple[type, ...], ...]] = {
    # How many rules are run, and the last exec that they were run on before.
    "ready": (_NUMBER, _NUMBER),
    # A rule that cannot be run: its file, and why.
    "refused": (_TEXT, _TEXT),
    # A rule that took too long: its file, its title.
    "aside": (_TEXT, _TEXT),
    # The rule that hits name by this number: id, title, level, tags, file.
    "rule": (_NUMBER, _TEXT_OR_NOT, _TEXT, _TEXT_OR_NOT, (list,), _TEXT),
    # The exec's row, the rule's number, then as in Hit.
    "hit": (
        _NUMBER, _NUMBER, _NUMBER, _TEXT, _NUMBER, _TEXT, _NUMBER, _NUMBER_OR_NOT, _TEXT_OR_NOT, _TEXT_OR_NOT, _TEXT_OR_NOT,
    ),
    # It begins to run rules on what there is up to this row.
    "looks": (_NUMBER,),
    # All hits up to this row were told.
    "hunted": (_NUMBER,),
    # So many execs were pruned before rules were run on them.
    "pruned": (_NUMBER,),
    # So many execs wait, because the rules take longer than the execs.
    "behind": (_NUMBER,),
    # It cannot go on: why, and what to do.
    "failed": (_TEXT, _TEXT_OR_NOT),
}  # fmt: skip


class WrongReportError(Exception):
    """A line is not one of these."""


def line_of(kind: str, *values: object) -> bytes:
    """Returns the line for a fact."""
    return json.dumps([kind, *values], separators=(",", ":")).encode() + b"\n"


def short(text: str | None) -> str | None:
    """Returns a text as it can be told: so that a line is never too long."""
    return None if text is None else text[:_LONGEST_TEXT]


def short_tags(tags: Iterable[str]) -> list[str]:
    """Returns tags as they can be told."""
    return [tag[:100] for tag in [*tags][:_MOST_TAGS]]


def read(line: bytes) -> tuple[str, list[Any]]:
    """Returns the kind of a fact and its values. Raises WrongReportError."""
    try:
        kind, *values = json.loads(line)
        kinds = _KINDS[kind]
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise WrongReportError("it is no report") from exc
    if len(values) != len(kinds) or not all(map(_is_one, values, kinds)):
        raise WrongReportError(f"it is no report of the kind {kind}")
    return kind, [_encodable(value) if isinstance(value, str) else value for value in values]


def _is_one(value: object, kinds: tuple[type, ...]) -> bool:
    return type(value) in kinds and (not isinstance(value, int) or 0 <= value < 2**63)


def _encodable(text: str) -> str:
    """Returns a text that SQLite takes: no part of it is half a character."""
    return text.encode("utf-8", "replace").decode()


def to_rule(values: Sequence[Any]) -> tuple[int, HuntRule]:
    """Returns a rule and its number. Raises WrongReportError."""
    number, uuid, title, level, tags, file = values
    if level not in (None, *LEVELS) or not all(isinstance(tag, str) for tag in tags):
        raise WrongReportError("it is no rule")
    return number, HuntRule(uuid, title, level, tuple(map(_encodable, tags)), file)


def to_hit(values: Sequence[Any], rules: dict[int, HuntRule]) -> Hit:
    """Returns a hit. Raises WrongReportError."""
    number, rule, left_out, exec_id, time_ns, *who = values
    if rule not in rules:
        raise WrongReportError("it is a hit of an unknown rule")
    return Hit(number, rules[rule], left_out, exec_id, Nanoseconds(time_ns), *who)
