"""docs/recipes.md: each command prints what the page says, from a central database too."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import psycopg
import pytest

from execaudit.system import clock
from tests.fleet.centre import make_central, ship
from tests.incident import recorded
from tests.recipes import PAGE, Asker, Recipe, recipes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fleet.servers import PostgresServer

_RECIPES = recipes(PAGE.read_text(encoding="utf-8"))
# What is done with the file of a host alone.
_OF_A_FILE = (" --bundle", " db ", " top", " --follow", " doctor", " record", " verify", " seal", "sqlite")
# Of a centre it is said of each host, and nothing of what --verify would prove.
_SEALS = re.compile(r"^\n?(web1 is sealed until|sealed until|not looked at:) .*\n", re.MULTILINE)


def _asks_a_file(recipe: Recipe) -> bool:
    return any(word in step.command for step in recipe.steps for word in _OF_A_FILE)


@pytest.fixture(scope="module")
def central_asker(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[Asker]:
    """Ships the page's history while its recorder seems to run, and asks the central database."""
    folder = tmp_path_factory.mktemp("incident")
    name = postgres.new_database()
    url = postgres.url(name)
    make_central(url)
    (folder / "bin").mkdir()
    with recorded(folder / "execaudit.db"):
        ship(folder / "execaudit.db", url)
        yield Asker(None, url, folder / "bin")
    postgres.drop_database(name)


@pytest.mark.parametrize(
    "recipe",
    [each for each in _RECIPES if not _asks_a_file(each)],
    ids=lambda recipe: recipe.title,
)
def test_a_recipe_is_true(recipe: Recipe, central_asker: Asker, tmp_path: Path) -> None:
    """Of the hosts whose histories were shipped."""
    said = []
    for step in recipe.steps:
        with psycopg.connect(central_asker.history, autocommit=True) as connection:
            connection.execute("UPDATE run SET seen_ns = %s", (clock.wall_ns(),))  # as a forwarder does
        said.append(central_asker.ask(step.command, tmp_path))

    assert [_SEALS.sub("", step.output) for step in recipe.steps] == [_SEALS.sub("", each) for each in said]
