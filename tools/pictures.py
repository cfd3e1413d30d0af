"""Draw the pictures of the pages: `make pictures` writes docs/images/ anew, or one with `PICTURE=terminal`.

All show what the program says of the history of tests/incident.py. A test compares the texts of the terminals
with what the commands say.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import os
import re
import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

from rich.console import Console
from rich.text import Text

from execaudit.store.writer import Run, Store
from execaudit.system import clock
from tests.commands import execaudit, on_terminal
from tests.histories import BOOT_ID, HOST
from tests.incident import BEGIN, NIGHT, Incident, at_night, recorded
from tests.screen.driving import screen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DOCS = Path(__file__).parent.parent / "docs"
IMAGES = _DOCS / "images"
_COLUMNS = 112
# The first is explained in README, the second where the page tells of marks.
TERMINALS = {
    "terminal": (
        "execaudit query --args /etc/cron.d/sync --since 2026-11-23",
        "execaudit tree --args /etc/cron.d/sync --since 2026-11-23",
    ),
    "marks": (
        "execaudit query --since 2026-11-23 --where 'nlink == 0 or privileged != null or root != null'",
    ),
}
"""The commands of each picture of a terminal."""
TOP_SIZE = (100, 22)
_TOP_AT = at_night(784.6)
"""When `top` is looked at: just after the cron job was made."""
_CHROMIUM = os.environ.get("EXECAUDIT_TEST_CHROMIUM", "/usr/bin/chromium")
_REPORT_SIZE = {"width": 1240, "height": 1290}


class Top(NamedTuple):
    """A screen of `execaudit top`."""

    lines: list[str]
    """What is on it, without the spaces at the ends."""
    drawn: list[Text]
    """The same with colours."""


def said(name: str, **env: str) -> list[tuple[str, str]]:
    """Returns each command of a picture, and its output on a terminal, standard error included."""
    with tempfile.TemporaryDirectory() as folder, recorded(Path(folder) / "execaudit.db") as store:
        store.append((), seen_ns=clock.wall_ns())  # a recorder does this each minute
        env = {"COLUMNS": str(_COLUMNS), "EXECAUDIT_DB": f"{folder}/execaudit.db", **env}
        return [
            (words, on_terminal(*shlex.split(words)[1:], env=env, stderr=True).out.decode())
            for words in TERMINALS[name]
        ]


def top() -> Top:
    """Returns the screen of `top` at a moment of the night, with what had happened until then."""
    incident = Incident()
    events = [event for event in incident.events if event.time_ns < _TOP_AT]
    exits = [ended for ended in incident.exits if ended.time_ns < _TOP_AT]

    async def look(history: Path) -> Top:
        async with screen(history, size=TOP_SIZE) as shown:
            lines = await shown.until_has("tee /etc/cron.d/sync", "recording")
            strips = shown.app.screen._compositor.render_strips()  # noqa: SLF001  # as textual's own harness
            return Top(
                lines, [Text.assemble(*((part.text, part.style or "") for part in strip)) for strip in strips]
            )

    with (
        tempfile.TemporaryDirectory() as folder,
        _in_utc(),
        mock.patch.object(clock, "wall_ns", return_value=_TOP_AT),
        Store(Path(folder) / "h.db") as store,
    ):
        store.begin_run(Run(boot_id=BOOT_ID, host=HOST, version="0", started_ns=at_night(BEGIN - NIGHT - 1)))
        store.append(events, (), exits, seen_ns=_TOP_AT)
        return asyncio.run(look(Path(folder) / "h.db"))


@contextlib.contextmanager
def _in_utc() -> Iterator[None]:
    try:
        with mock.patch.dict(os.environ, TZ="UTC"):
            time.tzset()
            yield
    finally:
        time.tzset()


def texts(picture: str) -> list[str]:
    """Returns the lines of a picture of a terminal, without empty ones and the spaces at the ends."""
    lines: dict[int, str] = {}
    for line, text in re.findall(r'clip-path="url\(#terminal-line-(\d+)\)">(.*?)</text>', picture):
        lines[int(line)] = lines.get(int(line), "") + html.unescape(text).replace("\xa0", " ")
    return [line.rstrip() for _, line in sorted(lines.items()) if line.strip()]


def _draw(name: str, title: str, columns: int, parts: list[Text]) -> None:
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=columns, force_terminal=True, file=nowhere)
        for part in parts:
            console.print(part)
    drawn = console.export_svg(title=title, unique_id="terminal")
    # Without this, the reader's browser would fetch fonts from another site.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)
    written = re.sub(r"[ \t]+$", "", picture, flags=re.MULTILINE)
    (IMAGES / f"{name}.svg").write_text(written, encoding="utf-8")


def _draw_commands(name: str) -> None:
    parts = [part for words, output in said(name) for part in (f"\033[1m$ {words}\033[0m", output)]
    _draw(name, "web1", _COLUMNS, [Text.from_ansi(part) for part in parts])


def _draw_top() -> None:
    _draw("top", "execaudit top", TOP_SIZE[0], top().drawn)


def _report_command() -> list[str]:
    """Returns the words of the first command of the page."""
    page = (_DOCS / "reporting.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"^```sh\n(execaudit report .*?)^```", page, re.MULTILINE | re.DOTALL)
    return shlex.split(found.replace("\\\n", " "))


def _draw_report() -> None:
    """The report that the command of docs/reporting.md makes, in Chromium."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  # only the extra `browser` has it

    with (
        tempfile.TemporaryDirectory() as name,
        recorded(Path(name) / "h.db"),
        sync_playwright() as playwright,
    ):
        done = execaudit("--db", Path(name) / "h.db", *_report_command()[1:], folder=Path(name))
        assert done.status == 0, done.err  # noqa: S101  # a tool for developers
        browser: Any = playwright.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport=_REPORT_SIZE, color_scheme="light")
        page.goto((Path(name) / "incident.html").as_uri())
        page.wait_for_selector("html[data-ready]")
        page.wait_for_timeout(500)
        page.screenshot(path=IMAGES / "report.png")
        browser.close()


PICTURES: dict[str, Callable[[], None]] = {
    **{f"{name}.svg": lambda name=name: _draw_commands(name) for name in TERMINALS},  # type: ignore[misc]
    "top.svg": _draw_top,
    "report.png": _draw_report,
}
"""How each file of docs/images is drawn."""


def main() -> None:
    """Draws the pictures that the arguments name, or all."""
    wanted = sys.argv[1:] or [*PICTURES]
    for file, draw in PICTURES.items():
        if file in wanted or file.partition(".")[0] in wanted:
            draw()


if __name__ == "__main__":
    main()
