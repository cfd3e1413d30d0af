"""docs/redaction.md: its settings are taken, its table is true, and its commands say what stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from execaudit.config import load
from execaudit.daemon.settings import upkeep
from execaudit.redaction.presets import presets
from execaudit.redaction.ruleset import compile_rules
from tests.commands import execaudit
from tests.redaction.corpus import lines, measured
from tests.redaction.making import argv, redactor, secrets, with_rules

_PAGE = (Path(__file__).parents[2] / "docs/redaction.md").read_text(encoding="utf-8")
_MARK = re.compile(r"REDACTED:[a-z2-7]{12}")


def blocks(language: str) -> list[str]:
    """Returns the blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", _PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("settings", blocks("toml"))
def test_the_settings_of_the_page_are_taken(settings: str, tmp_path: Path) -> None:
    """And they make rules."""
    (tmp_path / "config.toml").write_text(settings, encoding="utf-8")
    redact = upkeep(load(tmp_path / "config.toml")).redact

    assert redact is not None
    assert compile_rules(redact).rules


def test_the_examples_of_the_page_say_what_stands_there() -> None:
    """But for the characters of marks, which are others with another key."""
    (text,) = blocks("text")
    ran = 0
    for command, output in re.findall(r"^\$ execaudit (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
        done = execaudit(*shlex.split(command))
        assert _MARK.sub("MARK", output) == _MARK.sub("MARK", done.out.decode())
        ran += 1
    assert ran == 2


def test_the_table_of_presets_is_true() -> None:
    """Each preset is in it, with what it finds in the corpus."""
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \| (\d+) \| (\d+) \| (\d+) \|$", _PAGE, re.MULTILINE)
    assert [row[0] for row in rows] == list(presets())

    for name, programs, *numbers in rows:
        known = [each for rule in presets()[name] for each in getattr(rule, "programs", ())]
        shown = re.sub(r" and \d+ more$", "", programs).split(", ")
        assert shown == ["any"] or set(shown) <= set(known)
        found = measured(name, lambda line, *chosen: [each[:2] for each in redactor(*chosen).find(line.argv)])
        assert [str(each) for each in found] == numbers, name


def test_the_numbers_of_the_page_are_true() -> None:
    """How many command lines there are, and how many are found in them with all presets."""
    good, exact = 0, 0
    for line in lines("with_secrets.txt"):
        places = tuple(each[:2] for each in redactor().find(line.argv))
        exact += places == line.places
        good += all(any(start <= at and end <= last for start, last in places) for at, end in line.places)
    total, without = len(lines("with_secrets.txt")), lines("without_secrets.txt")
    wrong = sum(bool(redactor().find(line.argv)) for line in without)

    assert f"{total} with secrets, each written for one preset, and {len(without)} without" in _PAGE
    assert f"{good} of {total} lines lose all of their secrets, {exact} of these exactly" in _PAGE
    unseen = lines("unseen.txt")
    lost = 0
    for line in unseen:
        places = tuple(each[:2] for each in redactor().find(line.argv))
        lost += all(any(start <= at and end <= last for start, last in places) for at, end in line.places)
    assert f"the {len(unseen)} lines of `unseen.txt`" in _PAGE
    assert f"{lost} lose all of their secrets ({round(100 * lost / len(unseen))} %)" in _PAGE
    assert f"in {wrong} of the {len(without)} lines" in _PAGE


def test_what_the_page_says_cannot_be_done_cannot() -> None:
    """It would be a reason to change the page."""
    assert [] == secrets(redactor(), argv("sshpass", "-p", "-secret"))
    assert [] == secrets(redactor(), argv("mytool", "--pin", "1234", "hunter2"))
    assert [b"evil"] == secrets(redactor(), argv("x", "--password", "evil"))


def test_the_rules_of_the_page_do_what_it_says() -> None:
    """Those of its own program."""
    deploy: dict[str, object] = {
        "program": "deploy",
        "option": ["--pin", "-p"],
        "flags": "vq",
        "command": "login",
        "after": ":",
    }

    assert [b"X"] == secrets(with_rules(deploy), argv("deploy", "login", "-vqp", "name:X"))
    assert [] == secrets(with_rules(deploy), argv("deploy", "-p", "name:X"))
