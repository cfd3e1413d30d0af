"""The pages: their examples are what the commands say, their links lead somewhere, and they are short."""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.incident import recorded
from tests.recipes import OTHERS, PAGE, Asker, examples
from tools.pictures import IMAGES, PICTURES, TERMINALS, TOP_SIZE, said, texts, top

CHECKOUT = Path(__file__).parents[2]
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", OTHERS, ids=lambda page: page.stem)
def test_the_examples_of_a_page_are_true(page: Path, page_asker: Asker, tmp_path: Path) -> None:
    """What the page prints is what the commands print; `make pages` writes the outputs anew."""
    steps = examples(page.read_text(encoding="utf-8"))
    said = [page_asker.ask(step.command, tmp_path) for step in steps]

    assert [step.output for step in steps] == said
    assert steps


def test_every_page_with_examples_is_tried() -> None:
    """A block of `console` is an example, on whichever page."""
    assert {page for page in PAGES if "```console\n" in page.read_text(encoding="utf-8")} == {PAGE, *OTHERS}


def test_every_picture_is_drawn_and_shown() -> None:
    """By `make pictures`, and on a page."""
    shown = re.findall(r"\((?:docs/)?images/([^)]+)\)", "".join(page.read_text() for page in PAGES))

    assert {*PICTURES} == {path.name for path in IMAGES.iterdir()} == {*shown}


@pytest.mark.parametrize("name", TERMINALS)
def test_a_picture_shows_what_the_commands_say(name: str) -> None:
    """`make pictures` draws it anew."""
    expected = [
        line for words, output in said(name, NO_COLOR="1") for line in (f"$ {words}", *output.splitlines())
    ]

    assert texts((IMAGES / f"{name}.svg").read_text(encoding="utf-8")) == [line.rstrip() for line in expected]
    assert len(expected) > 5


def test_a_picture_shows_what_top_has() -> None:
    """`make pictures` draws it anew."""
    lines = top().lines

    assert texts((IMAGES / "top.svg").read_text(encoding="utf-8")) == lines
    assert len(lines) == TOP_SIZE[1]


@pytest.mark.parametrize("picture", sorted(IMAGES.glob("*.svg")), ids=lambda path: path.stem)
def test_a_picture_fetches_nothing(picture: Path) -> None:
    """A page that is opened as a file tells nobody."""
    assert not re.search(r"@font-face|@import|href=|url\((?!#)", picture.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("name", "lines", "words"), [("README.md", 200, 2000), ("CONTRIBUTING.md", 100, 2000)]
)
def test_a_page_is_short(name: str, lines: int, words: int) -> None:
    """Whoever comes for the first time reads it to its end."""
    text = (CHECKOUT / name).read_text(encoding="utf-8")

    assert len(text.splitlines()) <= lines
    assert len(text.split()) <= words


def check(checkout: Path) -> list[str]:
    """Returns the problems that the check of `make docs` finds."""
    done = subprocess.run(
        [sys.executable, CHECKOUT / "tools/check_pages.py", checkout],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == bool(done.stderr)
    return done.stderr.splitlines()


def test_links_lead_somewhere_and_no_page_is_left_out() -> None:
    """As `make docs` checks it, before the builder of the site."""
    assert [] == check(CHECKOUT)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The pages of a checkout, to be broken."""
    for name in (
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "LICENSE",
        "zensical.toml",
        "execaudit.service",
    ):
        shutil.copy(CHECKOUT / name, tmp_path)
    shutil.copytree(CHECKOUT / "docs", tmp_path / "docs")
    return tmp_path


@pytest.mark.parametrize(
    ("page", "text", "problem"),
    [
        ("docs/limits.md", "[x](nowhere.md)", "docs/limits.md: there is no nowhere.md"),
        (
            "docs/limits.md",
            "[x](service.md#no-such)",
            "docs/limits.md: service.md has no heading for #no-such",
        ),
        ("README.md", "[x](#no-such)", "README.md: README.md has no heading for #no-such"),
        ("README.md", "![x](docs/images/none.svg)", "README.md: there is no docs/images/none.svg"),
        ("docs/orphan.md", "# Orphan", "zensical.toml: docs/orphan.md is not in nav"),
    ],
)
def test_a_broken_page_is_found(copy: Path, page: str, text: str, problem: str) -> None:
    """A link, an anchor, a picture, and a page that nothing leads to."""
    with (copy / page).open("a", encoding="utf-8") as file:
        file.write(f"\n{text}\n")

    assert [problem] == check(copy)


def test_a_page_that_is_gone_is_found(copy: Path) -> None:
    """The navigation still names it."""
    (copy / "docs/ring.md").unlink()

    assert "zensical.toml: nav has ring.md, which is not there" in check(copy)


@pytest.mark.parametrize(
    "query",
    re.findall(r"^```sql\n(.*?)^```$", "".join(p.read_text() for p in PAGES), re.MULTILINE | re.DOTALL),
)
def test_sql_of_a_page_is_answered(tmp_path: Path, query: str) -> None:
    """People read the file with tools of their own."""
    history = tmp_path / "history.db"
    with recorded(history), contextlib.closing(sqlite3.connect(history)) as connection:
        assert connection.execute(query).fetchall()
