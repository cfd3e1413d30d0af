"""docs/commands.md says what the commands say, and the pages that belong together link to what is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import execaudit

CHECKOUT = Path(__file__).parents[2]
DOCS = CHECKOUT / "docs"
_PAGE = (DOCS / "commands.md").read_text(encoding="utf-8")
_HEADING = re.compile(r"^(#+) (.*)$", re.MULTILINE)
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def sections() -> dict[str, str]:
    """Returns the text of each section of the page."""
    _, *found = re.split(r"^## ", _PAGE, flags=re.MULTILINE)
    return {section.partition("\n")[0].strip("`"): section for section in found}


def anchors(page: str) -> set[str]:
    """Returns what links can name in a page."""
    titles = [title for _, title in _HEADING.findall(_FENCE.sub("", page))]
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


def test_the_page_is_up_to_date(tmp_path: Path) -> None:
    """`make pages` makes it anew."""
    made = tmp_path / "commands.md"
    subprocess.run([sys.executable, "-m", "tools.commands_page", made], cwd=CHECKOUT, check=True)

    assert made.read_text() == _PAGE, "stale: run `make pages`"


@pytest.mark.parametrize(
    "path",
    [name for name in sections() if name.startswith("execaudit ")],
    ids=lambda path: path.split(" ", 1)[1],
)
def test_a_section_has_what_help_has(path: str) -> None:
    """Each option that a command's --help names is in its section, or in one that is for more commands."""
    help_text = execaudit(*path.split()[1:], "--help").out.decode()
    options = set(re.findall(r"^  (-[^ ]+?),? ", help_text, re.MULTILINE))
    options |= set(re.findall(r"^  -\w, (--[\w-]+)", help_text, re.MULTILINE))
    found = sections()
    own = found[path]
    shared = found["Options of every command"] + (found["Filters"] if "](#filters)" in own else "")

    assert {"--db", "--config", "--help"} < options
    assert [] == [name for name in sorted(options) if not re.search(rf"`{name}[` ]", own + shared)]


def test_every_command_is_there() -> None:
    """Those of `execaudit --help`, and those of `execaudit db --help`."""
    named = []
    for path in ("execaudit", "execaudit db"):
        help_text = execaudit(*path.split()[1:], "--help").out.decode()
        listed = help_text.partition("\nCommands:\n")[2]
        named += [f"{path} {name}" for name in re.findall(r"^  (\w+) ", listed, re.MULTILINE)]

    assert len(named) > len(["record", "query", "export", "show", "tree", "stats", "doctor", "db"])
    assert [] == [name for name in named if name not in sections()]


@pytest.mark.parametrize("name", ["commands.md", "recipes.md", "record.md"])
def test_links_lead_somewhere(name: str) -> None:
    """Each link is to a page, or to a heading, that is there."""
    text = (DOCS / name).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]*)\)", _FENCE.sub("", text))
    broken = []
    for link in links:
        page, _, anchor = link.partition("#")
        target = DOCS / (page or name)
        if not target.is_file() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            broken.append(link)

    assert links
    assert [] == broken
