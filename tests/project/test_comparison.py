"""docs/comparison.md: its table is what its sections say, and our commands are those of the recipes."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.recipes import PAGE, recipes

_COMPARISON = Path(__file__).parents[2] / "docs/comparison.md"
_TEXT = _COMPARISON.read_text(encoding="utf-8")
_RECORDERS = ["execaudit", "auditd", "execsnoop", "osquery", "Tetragon"]
_VERDICTS = ("yes", "partly", "no")
# An item goes on in indented lines.
_ITEM = re.compile(r"^- ((?:\*\*\w+\*\*(?:, )?)+): (\w+)\b(.*\n(?:  .*\n)*)", re.MULTILINE)


class Question(NamedTuple):
    """A section: what each recorder answers, and the text of that."""

    title: str
    verdicts: dict[str, str]
    texts: dict[str, str]


def _questions() -> list[Question]:
    found = []
    for section in re.split(r"^## (?=\d)", _TEXT, flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        verdicts, texts = {}, {}
        for names, verdict, text in _ITEM.findall(body.partition("\n## ")[0]):
            for name in re.findall(r"\w+", names):
                verdicts[name], texts[name] = verdict, text
        found.append(Question(title, verdicts, texts))
    return found


_QUESTIONS = _questions()


def _table() -> dict[str, list[str]]:
    """Returns the cells of each row of the table by its first one."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in _TEXT.splitlines() if "|" in line
    ]
    return {first: cells for first, *cells in rows}


def test_there_are_fifteen_questions() -> None:
    """Each is put to all recorders, in the same order."""
    assert [int(question.title.partition(".")[0]) for question in _QUESTIONS] == [*range(1, 16)]
    assert [question.title for question in _QUESTIONS if [*question.verdicts] != _RECORDERS] == []


@pytest.mark.parametrize("question", _QUESTIONS, ids=lambda question: question.title)
def test_the_table_says_what_the_section_says(question: Question) -> None:
    """Of each recorder."""
    number = question.title.partition(" ")[0]
    (row,) = (cells for first, cells in _table().items() if first.startswith(f"{number} "))

    assert row == [*question.verdicts.values()]
    assert {*row} <= {*_VERDICTS}


def test_the_table_counts_right() -> None:
    """Its last rows say how many answers of each kind a recorder gives."""
    table = _table()
    counts = [Counter(question.verdicts[name] for question in _QUESTIONS) for name in _RECORDERS]

    assert {verdict: [str(count[verdict]) for count in counts] for verdict in _VERDICTS} == {
        verdict: table[verdict] for verdict in _VERDICTS
    }


@pytest.mark.parametrize("question", _QUESTIONS, ids=lambda question: question.title)
def test_our_own_answer_is_one_of_the_recipes(question: Question) -> None:
    """test_recipes.py runs its command, and compares what that prints; a `no` has no command."""
    shown = {
        step.command
        for recipe in recipes(PAGE.read_text(encoding="utf-8"))
        for step in recipe.steps
        if step.output
    }
    commands = re.findall(r"`(execaudit [^`]*)`", question.texts["execaudit"])

    assert len(commands) == (question.verdicts["execaudit"] == "yes")
    assert {*commands} <= shown
