"""A browser, and reports that are open in it. An error of a page fails the test, and so does a request."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

from tests.incident import recorded
from tests.reports import report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

CHROMIUM = os.environ.get("EXECAUDIT_TEST_CHROMIUM", "/usr/bin/chromium")
MARKED = ("248h24003tbaeqy8g005yy", "248h24003tep3n25000608")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, without a window. Root has no sandbox in a container."""
    with sync_playwright() as playwright:
        yield (started := playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]))
        started.close()


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The night of docs/recipes.md."""
    path = tmp_path_factory.mktemp("incident") / "history.db"
    with recorded(path):
        yield path


@pytest.fixture(scope="session")
def incident(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report about that night, with two marked execs."""
    out = tmp_path_factory.mktemp("reports") / "incident.html"
    marks = [f"--mark={each}" for each in MARKED]
    report(history, out, "--since=2026-11-22 22:00", "--until=2026-11-23 06:00", "--note=Look here", *marks)
    return out


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a report; afterwards nothing may have gone wrong, and nothing may have been asked for."""
    problems: list[str] = []
    contexts = []

    def open_it(path: Path, *, width: int = 1280, height: int = 900, dark: bool = False) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            timezone_id="Asia/Tokyo",
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda message: problems.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on("dialog", lambda dialog: problems.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: problems.append(f"request: {request.url}"))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]")
        # The file itself.
        assert problems.pop(0).startswith("request: file://")
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert [] == problems
