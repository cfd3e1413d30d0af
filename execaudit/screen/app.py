"""The screen: keys in, lines out. The only user of textual, which the extra `top` brings.

Textual's own widgets would draw it as well, but they interpret markup, redraw more than what changed, and
take several percent of a processor at rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from datetime import datetime, timezone
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.binding import Binding
from textual.containers import Horizontal
from textual.events import Resize
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input

from execaudit.errors import FilterError
from execaudit.escaping import printable
from execaudit.query import where
from execaudit.screen.drawing import EDITING_KEYS, Look, Paper, Piece, draw, error_line
from execaudit.screen.model import Mode
from execaudit.screen.reader import Reader
from execaudit.system import clock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from execaudit.query.expression import Expression
    from execaudit.screen.drawing import Line
    from execaudit.screen.model import Model
    from execaudit.screen.reader import Source
    from execaudit.screen.seen import Seen

_BUG, _INTERRUPTED, _BY_SIGNAL = 3, 130, 128
_CLOCK_SECONDS = 1.0
_TYPING_SECONDS = 0.25
"""After the last key, so that not each letter asks the history."""
_PROMPT = "/ "
# The terminal's own colours, because nobody knows its background.
_STYLES = {
    Look.PLAIN: Style(),
    Look.DIM: Style(dim=True),
    Look.BOLD: Style(bold=True),
    Look.WRONG: Style(color="red"),
    Look.CHOSEN: Style(reverse=True),
}


class Canvas(Widget):
    """Lines of text, of which only those are drawn again that changed."""

    def __init__(self, name: str) -> None:
        super().__init__(id=name)
        self._lines: Sequence[Line] = ()

    def put(self, lines: Sequence[Line]) -> None:
        """Shows these lines."""
        was, self._lines = self._lines, lines
        if len(was) != len(lines):
            self.refresh()
            return
        changed = [y for y, (old, new) in enumerate(zip(was, lines, strict=True)) if old != new]
        if changed:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))

    def render_line(self, y: int) -> Strip:
        """Returns a line as textual wants it. Nothing in it is markup."""
        line = self._lines[y] if y < len(self._lines) else ()
        strip = Strip([Segment(piece.text, _STYLES[piece.look]) for piece in line])
        return strip.adjust_cell_length(self.size.width)


class FilterLine(Input):
    """The line of the filter. What is pasted into it may be as hostile as what is shown."""

    def validate_value(self, value: str) -> str:
        """Returns the text, with escapes for what is not visible. Is called by textual."""
        return printable(value)


class Top(App[int]):
    """The screen of `execaudit top`. Returns the exit status."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { layout: vertical; }
    #board { height: 1fr; }
    #line { height: 1; }
    #prompt { width: 2; height: 1; }
    #typed { width: 1fr; }
    #hint { height: 2; }
    """
    BINDINGS: ClassVar = [
        Binding("ctrl+c", "interrupt", priority=True, show=False),
        Binding("ctrl+z", "suspend_process", priority=True, show=False),
        Binding("q", "leave"),
        # At once, because what is typed next may have arrived already, and would be taken for other keys.
        Binding("slash", "edit", priority=True),
        Binding("enter", "open"),
        Binding("escape", "return"),
        Binding("t", "trees"),
        Binding("s", "sort"),
        Binding("p", "pause"),
        Binding("up,k", "move(-1)"),
        Binding("down,j", "move(1)"),
        Binding("pageup", "page(-1)"),
        Binding("pagedown,space", "page(1)"),
        Binding("home,g", "move(-1000000)"),
        Binding("end,G", "move(1000000)"),
    ]

    def __init__(self, model: Model, source: Source, *, encoding: str = "utf-8") -> None:
        super().__init__(ansi_color=True)
        self.model = model
        self.failure: BaseException | None = None
        """The bug that ended the reader."""
        self._glyphs, self._encoding = source.glyphs, encoding
        self._reader = Reader(source, self._tell)
        self._board, self._hint = Canvas("board"), Canvas("hint")
        self._prompt = Canvas("prompt")
        self._line = FilterLine(id="typed", compact=True, select_on_focus=False)
        self._line.cursor_blink = False
        self._typing = Horizontal(self._prompt, self._line, id="line")
        self._is_editing = self._typing.display = self._hint.display = False
        self._kept: tuple[str, Expression | None] = "", None
        self._last: tuple[str, Expression | str | None] = "", None

    def compose(self) -> ComposeResult:
        """Yields the parts of the screen, from above."""
        yield self._board
        yield self._typing
        yield self._hint

    def on_mount(self) -> None:
        """Begins to read."""
        self._line.disabled = True
        self._prompt.put([(Piece(_PROMPT, Look.BOLD),)])
        self._events = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            self._events.add_signal_handler(number, self.exit, _BY_SIGNAL + number)
        self.app_resume_signal.subscribe(self, self._resume)
        self.set_interval(_CLOCK_SECONDS, self._tick)
        self._reader.start()

    def on_unmount(self) -> None:
        """Ends the reader."""
        self._reader.stop()

    def on_resize(self, _event: Resize) -> None:
        """Draws for another size."""
        self.call_after_refresh(self._draw)

    def _resume(self, _app: App[object]) -> None:
        """Draws all again: a shell had the screen."""
        for canvas in (self._board, self._prompt, self._hint):
            canvas.refresh()
        self._line.refresh()

    def _tick(self) -> None:
        """Draws the time, and at another size if the signal for that was lost."""
        if not self.is_headless:
            size = Size(*shutil.get_terminal_size())
            if size != self.size:
                self.post_message(Resize(size, size))
        self._draw()

    def _tell(self, seen: Seen | BaseException) -> None:
        """Is called by the reader, in its thread."""
        with contextlib.suppress(RuntimeError):  # the screen has ended
            self._events.call_soon_threadsafe(self._take, seen)

    def _take(self, seen: Seen | BaseException) -> None:
        if isinstance(seen, BaseException):
            self.failure = seen
            self.exit(1)
        # What answers an earlier question is late.
        elif seen.ask.typed == self.model.where:
            self.model.seen = seen
            self._draw()

    def _draw(self) -> None:
        size = self._board.size
        if size.width and size.height:
            paper = Paper(size.width, size.height, clock.wall_ns(), self._glyphs, self._encoding)
            self._board.put(draw(self.model, paper))
        if self._is_editing:
            self._draw_hint()

    def _ask(self) -> None:
        self._reader.ask(self.model.ask)
        self._draw()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002  # textual's
        """Says whether a key has its meaning now."""
        return action != "edit" or not (self._is_editing or self.model.mode is Mode.SHOW)

    def action_interrupt(self) -> None:
        """Ends as Ctrl-C does."""
        self.exit(_INTERRUPTED)

    def action_leave(self) -> None:
        """Ends."""
        self.exit(0)

    def action_open(self) -> None:
        """Shows an exec."""
        self.model.open()
        self._ask()

    def action_return(self) -> None:
        """Leaves what is shown."""
        if self._is_editing:
            self._stop_editing(*self._kept)
        else:
            self.model.back()
            self._ask()

    def action_trees(self) -> None:
        """Shows trees, or the list."""
        self.model.switch()
        self._ask()

    def action_sort(self) -> None:
        """Takes the next order."""
        if self.model.mode is Mode.LIST:
            self.model.sort()
            self._draw()

    def action_pause(self) -> None:
        """Stays with what is there, or goes on."""
        if self.model.mode is not Mode.SHOW:
            self.model.pause()
            self._draw()

    def action_move(self, lines: int) -> None:
        """Moves in the list, or in what is shown."""
        self.model.move(lines)
        self._draw()

    def action_page(self, pages: int) -> None:
        """Moves by the lines of the screen, or so."""
        self.action_move(pages * max(1, self._board.size.height - 8))

    def action_edit(self) -> None:
        """Begins to type a filter."""
        self._is_editing, self._kept = True, (self.model.typed, self.model.where)
        self._typing.display = self._hint.display = True
        self._line.disabled = False
        self._line.value = self.model.typed
        self._line.cursor_position = len(self._line.value)
        self.screen.set_focus(self._line)
        self.call_after_refresh(self._draw)

    def _stop_editing(self, typed: str, expression: Expression | None) -> None:
        self._is_editing = self._typing.display = self._hint.display = False
        self._line.disabled = True
        self.screen.set_focus(None)
        self.model.filter(typed, expression)
        self._ask()
        self.call_after_refresh(self._draw)

    def on_input_changed(self, _event: Input.Changed) -> None:
        """Looks for what was typed, when nothing more is for a moment."""
        if self._is_editing:
            typed = self._line.value
            self._draw_hint()
            self.set_timer(_TYPING_SECONDS, lambda: self._use(typed))

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        """Keeps the filter, unless it has a mistake."""
        typed = self._line.value.strip()
        if self._is_editing and not isinstance(expression := self._parsed(typed), str):
            self._stop_editing(typed, expression)

    def _use(self, typed: str) -> None:
        if self._is_editing and typed == self._line.value:
            expression = self._parsed(typed)
            if not isinstance(expression, str):
                self.model.filter(typed.strip(), expression)
                self._ask()

    def _parsed(self, typed: str) -> Expression | str | None:
        """Returns what was typed; a text if it has a mistake, None if it is empty."""
        if typed != self._last[0]:
            found: Expression | str | None = None
            try:
                if typed.strip():
                    found = where.parse(typed, now=datetime.now(timezone.utc).astimezone())
            except FilterError as exc:
                found = str(exc)
            self._last = typed, found
        return self._last[1]

    def _draw_hint(self) -> None:
        mistake, width = self._parsed(self._line.value), self._hint.size.width or self.size.width
        if isinstance(mistake, str):
            offset = len(_PROMPT) - self._line.scroll_offset.x
            first: Line = (Piece(error_line(mistake, offset, width), Look.WRONG),)
        else:
            first = ()
        self._hint.put([first, (Piece(EDITING_KEYS[:width], Look.DIM),)])


def run(model: Model, source: Source, *, encoding: str) -> int:
    """Shows the screen until the user leaves it. Returns the exit status."""
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)  # textual would take these for the size, whatever becomes of it
    app = Top(model, source, encoding=encoding)
    status: int | None = app.run(mouse=False)
    if app.failure is not None:
        raise app.failure
    if status is None:
        # Textual has said what went wrong.
        return _BUG if app.return_code else 0
    return status
