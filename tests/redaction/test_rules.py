"""Rules that are wrong are refused in one line, with what is right."""

from __future__ import annotations

import pytest

from execaudit.errors import ConfigError
from execaudit.redaction.presets import presets
from execaudit.redaction.rules import RedactSettings, parse_rules
from execaudit.redaction.ruleset import compile_rules
from tests.redaction.making import with_rules


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "test: rule 1 says not what a secret is: give it one of option, arguments, name"),
        ({"option": "-p", "name": "x"}, "test: rule 1 has option and name: give it one of"),
        ({"option": "-p", "progam": "x"}, "unknown setting 'progam' beside option: did you mean program?"),
        ({"name": "x", "program": "y"}, "unknown setting 'program' beside name"),
        ({"option": 7}, "option must be a text, or a list of texts"),
        ({"option": []}, "option must be a text, or a list of texts"),
        ({"option": ""}, "option must be a text"),
        ({"option": "-p", "value": "maybe"}, "value must be one of any, joined, next, none, skip"),
        ({"option": "--p*", "program": "x"}, "an option with * is for any program"),
        ({"option": "--p="}, "an option has no = in it"),
        ({"arguments": "SECRET x", "program": "y"}, "arguments must end with the word SECRET"),
        ({"arguments": "SECRET"}, "arguments need a program"),
        ({"userinfo": False}, "userinfo must be true"),
        ({"regex": "(?=x)"}, "redaction cannot use the regular expression '(?=x)': invalid perl operator"),
        ({"regex": "(x{1000}){1000}"}, "redaction cannot use the regular expression"),
        ({"regex": "("}, "missing )"),
    ],
    ids=str,
)
def test_a_wrong_rule_is_refused(table: dict[str, object], message: str) -> None:
    """It is named by its number, and the message has what to do."""
    with pytest.raises(ConfigError) as caught:
        with_rules(table)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.fix or "must be" in caught.value.what or "need" in caught.value.what


def test_rules_are_a_list_of_tables() -> None:
    """And not a table, as [redact.rules] makes."""
    for wrong in ({"option": "-p"}, ["-p"], "x", None):
        with pytest.raises(ConfigError, match="rules must be tables"):
            parse_rules(wrong, "test")


def test_a_preset_that_is_none_is_refused() -> None:
    """The message lists those that are there."""
    with pytest.raises(ConfigError, match="there is no preset 'mysq': there are all, accounts, archives"):
        compile_rules(RedactSettings(("mysq",), ()))
    with pytest.raises(ConfigError, match="redaction has no rules"):
        compile_rules(RedactSettings((), ()))


@pytest.mark.parametrize("name", presets())
def test_a_preset_can_be_used_alone(name: str) -> None:
    """Its rules are right, and it has some."""
    assert compile_rules(RedactSettings((name,), ())).rules
