"""Draw the report of docs/reporting.md: `make report-picture` writes docs/images/report.png anew.

It is the report that the page's command makes, on the history of tests/incident.py.
"""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from pathlib import Path
from typing import Any

from tests.commands import execaudit
from tests.incident import recorded

_DOCS = Path(__file__).parent.parent / "docs"
PICTURE = _DOCS / "images/report.png"
_CHROMIUM = os.environ.get("EXECAUDIT_TEST_CHROMIUM", "/usr/bin/chromium")
_SIZE = {"width": 1240, "height": 1290}


def command() -> list[str]:
    """Returns the words of the page's first command."""
    page = (_DOCS / "reporting.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"^```sh\n(execaudit report .*?)^```", page, re.MULTILINE | re.DOTALL)
    return shlex.split(found.replace("\\\n", " "))


def main() -> None:
    """Writes the picture."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  # only the extra `browser` has it

    with (
        tempfile.TemporaryDirectory() as name,
        recorded(Path(name) / "h.db"),
        sync_playwright() as playwright,
    ):
        done = execaudit("--db", Path(name) / "h.db", *command()[1:], folder=Path(name))
        assert done.status == 0, done.err  # noqa: S101  # a tool for developers
        browser: Any = playwright.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport=_SIZE, color_scheme="light")
        page.goto((Path(name) / "incident.html").as_uri())
        page.wait_for_selector("html[data-ready]")
        page.wait_for_timeout(500)
        page.screenshot(path=PICTURE)
        browser.close()


if __name__ == "__main__":
    main()
