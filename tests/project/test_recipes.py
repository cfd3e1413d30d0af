"""docs/recipes.md: each command prints what the page says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.recipes import PAGE, Asker, Recipe, recipes

if TYPE_CHECKING:
    from pathlib import Path

_RECIPES = recipes(PAGE.read_text(encoding="utf-8"))
_FEWEST = 30
# These are about what programs do with an answer.
_PROGRAMS = ["How do I react to an exec?", "How do I count what `stats` does not count?"]
# Steps with jq must leave out the gaps at the end of JSON lines. Where nobody records, nothing is `running`:
# the step that asks for that finds nothing.
_WITH_JQ = [
    recipe
    for recipe in _RECIPES
    if any("jq " in step.command and '"running"' not in step.command for step in recipe.steps)
]
_NOBODY_RECORDS = "gap: nobody has recorded since "


@pytest.mark.parametrize("recipe", _RECIPES, ids=lambda recipe: recipe.title)
def test_a_recipe_is_true(recipe: Recipe, page_asker: Asker, tmp_path: Path) -> None:
    """What the page prints is what the commands print; `make pages` writes the outputs anew."""
    said = [page_asker.ask(step.command, tmp_path) for step in recipe.steps]

    assert [step.output for step in recipe.steps] == said


@pytest.mark.parametrize("recipe", _WITH_JQ, ids=lambda recipe: recipe.title)
def test_a_gap_is_no_exec(recipe: Recipe, copy_asker: Asker, tmp_path: Path) -> None:
    """Where JSON lines end with a gap, as on most hosts, a recipe with jq prints the same."""
    for step in recipe.steps:
        said = copy_asker.ask(step.command, tmp_path).splitlines()
        if "jq " in step.command:
            assert step.output.replace('"running"', '"unknown"').splitlines() == [
                line for line in said if not line.startswith(_NOBODY_RECORDS)
            ]


def test_each_recipe_shows_something() -> None:
    """There are enough of them, each has a command, and each prints something at the end."""
    assert len(_RECIPES) >= _FEWEST
    assert [] == [recipe.title for recipe in _RECIPES if not recipe.steps or not recipe.steps[-1].output]


def test_each_question_takes_one_command() -> None:
    """Of execaudit alone, without a pipe: at night nobody wants to compose. Only programs pipe."""
    composed = [recipe.title for recipe in _RECIPES if len(recipe.steps) > 1 or "|" in _unquoted(recipe)]

    assert len(_RECIPES) >= _FEWEST
    assert _PROGRAMS == composed


def _unquoted(recipe: Recipe) -> str:
    return re.sub("'[^']*'", "", recipe.steps[0].command)
