"""Drive the screen with textual's own harness: press keys, and wait for what it then has."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from textual.widgets import Input

from execaudit.cli.run.build_filter import build_filter
from execaudit.cli.top import command
from execaudit.output.tree_layout import BOX
from execaudit.query.local_history import LocalHistory
from execaudit.screen.app import Top
from execaudit.screen.model import Model
from execaudit.screen.reader import Source
from tests.commands import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
    from pathlib import Path


class Screen:
    """A screen that runs."""

    def __init__(self, app: Top, pilot: Any) -> None:  # noqa: ANN401  # textual's
        self.app, self._pilot = app, pilot

    @property
    def lines(self) -> list[str]:
        """Returns what is on it, without the spaces at the ends of lines."""
        return [strip.text.rstrip() for strip in self.app.screen._compositor.render_strips()]

    async def press(self, *keys: str) -> None:
        """Presses keys, one after the other."""
        await self._pilot.press(*keys)

    async def type(self, text: str) -> None:
        """Types a text into the filter line: at once, because each key takes its time. See test_tmux."""
        self.app.query_one(Input).insert_text_at_cursor(text)
        await self._pilot.pause()

    async def resize(self, width: int, height: int) -> None:
        """Gives it another size."""
        await self._pilot.resize_terminal(width, height)

    async def until(self, is_so: Callable[[list[str]], object]) -> list[str]:
        """Waits until the lines are so, and returns them."""
        deadline = time.monotonic() + PATIENCE
        while not is_so(self.lines):
            assert time.monotonic() < deadline, "\n".join(self.lines)
            await self._pilot.pause(0.02)
        return self.lines

    async def until_has(self, *texts: str, without: str | None = None) -> list[str]:
        """Waits until all texts are on it, and one is not."""

        def is_so(lines: list[str]) -> bool:
            shown = "\n".join(lines)
            return all(text in shown for text in texts) and (without is None or without not in shown)

        return await self.until(is_so)


def commands(lines: list[str]) -> list[str]:
    """Returns the commands of the list, from above."""
    titles = next((number for number, line in enumerate(lines) if line.startswith("TIME ")), None)
    if titles is None:
        return []
    at = lines[titles].index("COMMAND")
    rows = (line for line in lines[titles + 1 :] if line[at - 1 : at] == " " and line[:1].isdigit())
    return [line[at:] for line in rows]


@contextlib.asynccontextmanager
async def screen(path: Path, *options: str, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Screen]:
    """Runs `execaudit top` with these options on a history."""
    values = command.make_context("top", [*options]).params
    model = Model(options=" ".join(options), reverse=values["reverse"])
    source = Source(path, lambda connection: build_filter(values, LocalHistory(connection)), BOX)
    app = Top(model, source)
    async with app.run_test(size=size) as pilot:
        yield Screen(app, pilot)
    if app.failure is not None:
        raise app.failure


def driven(
    scenario: Callable[[Screen], Awaitable[None]], path: Path, *options: str, size: tuple[int, int] = (80, 24)
) -> None:
    """Runs a scenario on a screen of its own."""

    async def run() -> None:
        async with screen(path, *options, size=size) as shown:
            await scenario(shown)

    coroutine: Coroutine[Any, Any, None] = run()
    asyncio.run(coroutine)
