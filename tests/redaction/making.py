"""Redactors for tests."""

from __future__ import annotations

from functools import cache

from execaudit.redaction.redactor import Redactor
from execaudit.redaction.rules import RedactSettings, parse_rules
from execaudit.redaction.ruleset import compile_rules

KEY = bytes(range(32))


@cache
def redactor(*presets: str) -> Redactor:
    """Returns one with presets; all of them by default."""
    return Redactor(compile_rules(RedactSettings(presets or ("all",), ())), KEY)


def with_rules(*tables: dict[str, object]) -> Redactor:
    """Returns one with rules of the configuration alone."""
    return Redactor(compile_rules(RedactSettings((), parse_rules(list(tables), "test"))), KEY)


def argv(*arguments: str | bytes) -> bytes:
    """Returns arguments as the kernel has them."""
    return b"".join((each.encode() if isinstance(each, str) else each) + b"\0" for each in arguments)


def secrets(found_by: Redactor, line: bytes) -> list[bytes]:
    """Returns what a redactor takes for secrets."""
    return [line[each.start : each.end] for each in found_by.find(line)]
