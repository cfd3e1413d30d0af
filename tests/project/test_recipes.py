"""docs/recipes.md: each command prints what the page says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.recipes import PAGE, Asker, Recipe, asker, recipes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_RECIPES = recipes(PAGE.read_text(encoding="utf-8"))
_FEWEST = 15


@pytest.fixture(scope="module")
def page_asker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    """The history of the page, and its recorder."""
    with asker(tmp_path_factory.mktemp("incident")) as of:
        yield of


@pytest.mark.parametrize("recipe", _RECIPES, ids=lambda recipe: recipe.title)
def test_a_recipe_is_true(recipe: Recipe, page_asker: Asker, tmp_path: Path) -> None:
    """What the page prints is what the commands print; `make pages` writes the outputs anew."""
    said = [page_asker.ask(step.command, tmp_path) for step in recipe.steps]

    assert [step.output for step in recipe.steps] == said


def test_each_recipe_shows_something() -> None:
    """There are enough of them, each has a command, and each prints something at the end."""
    assert len(_RECIPES) >= _FEWEST
    assert [] == [recipe.title for recipe in _RECIPES if not recipe.steps or not recipe.steps[-1].output]
