"""Draw the screen as lines of text. Pure: the same state, size and time make the same lines.

All that comes from execs is escaped, cut and padded here, by the columns that it takes.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from execaudit.escaping import printable
from execaudit.exec_id import SHORT_LENGTH
from execaudit.output import summary_line
from execaudit.output.cells import UNKNOWN, user_text
from execaudit.output.shown_record import shown_record
from execaudit.output.tree_layout import BOX
from execaudit.output.widths import columns, cut, padded
from execaudit.screen.model import Mode, Order
from execaudit.times import zone_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import tzinfo

    from execaudit.event import ExecEvent
    from execaudit.output.tree_layout import Glyphs
    from execaudit.screen.model import Model
    from execaudit.screen.seen import Detail, Pace, Row

_DATE = len("2026-11-22")
_WHEN, _PID, _USER, _STATUS, _TOOK = 8, 7, 8, 8, 6
_WIDE = 100
"""Columns from which on the list has ids and durations."""
_CHART, _ASCII_CHART = " ▁▂▃▄▅▆▇█", " .:-=+*#%"
_BY_SIZE = (Order.NEWEST, Order.LONGEST)
_SHARE = 6
"""One line of so many may say what is missing."""
_LONGEST_VALUE = 20_000
_COLUMN = re.compile(r"column (\d+): (.*)", re.DOTALL)
_KEYS = {
    Mode.LIST: "/ filter  Enter show  t tree  s sort  p pause  q quit",
    Mode.TREE: "/ filter  Enter show  t list  p pause  Esc back  q quit",
    Mode.SHOW: "Esc back  Up Down PgUp PgDn Home End  q quit",
}
EDITING_KEYS = 'Enter keep  Esc back    comm == "curl" and exit_code != 0'


class Look(Enum):
    """How a piece of a line looks. Without colours, too, each line says all."""

    PLAIN = "plain"
    DIM = "dim"
    BOLD = "bold"
    WRONG = "wrong"
    """Failed, or missing."""
    CHOSEN = "chosen"


class Piece(NamedTuple):
    """A part of a line."""

    text: str
    look: Look = Look.PLAIN


Line = tuple[Piece, ...]


class Paper(NamedTuple):
    """On what it is drawn, and when."""

    width: int
    height: int
    now_ns: int
    glyphs: Glyphs = BOX
    encoding: str = "utf-8"
    zone: tzinfo | None = None
    """None: the system's."""

    def safe(self, text: str) -> str:
        """Returns a text with escapes for what the terminal's encoding does not have."""
        return text.encode(self.encoding, "backslashreplace").decode(self.encoding)

    def cut(self, text: str, width: int | None = None) -> str:
        """Returns a text that fits."""
        room = max(self.width if width is None else width, 0)
        return cut(self.safe(text), room, self.glyphs.cut if room > len(self.glyphs.cut) else "")


def draw(model: Model, paper: Paper) -> list[Line]:
    """Returns so many lines as fit. Moves `model.top` so that what is chosen is on the screen."""
    head = [*_head(model, paper)]
    foot = [*_notices(model, paper)][: max(0, paper.height - len(head) - 2)]
    room = max(1, paper.height - len(head) - len(foot) - 1)
    if model.mode is Mode.SHOW:
        body = _detail(model, paper)
        model.top = max(0, min(model.top, len(body) - room))
        body = body[model.top : model.top + room]
    else:
        body = _list(model, paper, room)
    body += [()] * (room - len(body))
    keys = (Piece(paper.cut(_KEYS[model.mode]), Look.DIM),)
    lines = [*[*head, *body, *foot][: paper.height - 1], keys]
    return [_clipped(line, paper.width) for line in lines]


def _clipped(line: Line, width: int) -> Line:
    """Returns what fits of a line: the columns alone are wider than a narrow screen."""
    if sum(columns(piece.text) for piece in line) <= width:
        return line
    pieces = []
    for text, look in line:
        pieces.append(Piece(cut(text, max(width, 0), ""), look))
        width -= columns(pieces[-1].text)
    return tuple(pieces)


def error_line(error: str, offset: int, width: int) -> str:
    """Returns one line that points at the column that an error of the filter names.

    `offset`: where the first character of the filter stands.
    """
    found = _COLUMN.fullmatch(error)
    if found is None:
        return cut(printable(error), width, "…")
    at, what = offset + int(found[1]) - 1, printable(found[2])
    if at + 2 + columns(what) <= width:
        return " " * at + "^ " + what
    if at < width and columns(what) + 1 <= at:
        return " " * (at - columns(what) - 1) + what + " ^"
    return cut(f"column {found[1]}: {what}", width, "…")


def _head(model: Model, paper: Paper) -> Iterator[Line]:
    seen, pace = model.seen, model.seen.pace
    left = "execaudit top"
    if seen.is_ready:
        left += f"  {printable(seen.host)}: recording" if seen.host else "  nobody records"
    if model.held is not None:
        left += f"  PAUSED, {model.newer} newer"
    right = zone_text(paper.now_ns, paper.zone)[_DATE + 1 : _DATE + 1 + _WHEN]
    yield (Piece(_between(paper, left, right), Look.BOLD),)
    if model.mode is Mode.SHOW:
        detail = seen.detail
        if detail is not None and detail.event is not None and detail.number == model.shown:
            event = detail.event
            command = summary_line.command_text(event, "", 4 * paper.width, paper.glyphs.cut)
            yield (Piece(paper.cut(command), Look.BOLD),)
            yield (Piece(paper.cut(summary_line.outcome(event, next_comm=detail.next_comm))),)
        return
    yield (Piece(_rates(pace, paper)),)
    commands = ((UNKNOWN if name is None else printable(name), count) for name, count in pace.commands)
    yield (Piece(_most("commands", commands, paper)),)
    yield (Piece(_most("users", ((printable(name), count) for name, count in pace.users), paper)),)
    wanted = "  ".join(text for text in (model.options, printable(model.typed)) if text)
    if wanted:
        yield (Piece(paper.cut(f"filter    {wanted}"), Look.BOLD),)


def _titles(model: Model, paper: Paper, when: int) -> Line:
    """Returns the titles of the columns, and at their end the order of the rows."""
    is_wide = paper.width >= _WIDE
    titles = f"{'TIME':<{when}} {'ID':<{SHORT_LENGTH}} " if is_wide else f"{'TIME':<{when}} "
    titles += f"{'PID':>{_PID}} {'USER':<{_USER}} {'STATUS':<{_STATUS}} "
    titles += f"{'TOOK':>{_TOOK}} COMMAND" if is_wide else "COMMAND"
    first = "last" if model.reverse else "first"
    how = f"{model.order.value} {first}" if model.order in _BY_SIZE else f"by {model.order.value}"
    if model.mode is Mode.TREE:
        how = "trees of the newest"
    return (Piece(_between(paper, titles, how), Look.BOLD),)


def _between(paper: Paper, left: str, right: str) -> str:
    """Returns two texts at the two ends of a line; without room, the left one alone."""
    left = paper.cut(left)
    space = paper.width - columns(left) - columns(right)
    return left if space < 1 else left + " " * space + right


def _rates(pace: Pace, paper: Paper) -> str:
    text = f"execs/s   {_rate(pace.now)} now  {_rate(pace.minute)} in 1 min  {_rate(pace.five_minutes)} in 5 min  "
    levels = _ASCII_CHART if paper.glyphs is not BOX else _CHART
    chart = [*pace.chart][-max(0, paper.width - len(text)) :] if paper.width > len(text) else []
    most = max(chart, default=0)
    steps = len(levels) - 1
    return paper.cut(text + "".join(levels[-(-count * steps // most) if most else 0] for count in chart))


def _rate(rate: float) -> str:
    return f"{rate:.1f}" if rate < 100 else f"{rate:.0f}"  # noqa: PLR2004  # three digits


def _most(title: str, counts: Iterable[tuple[str, int]], paper: Paper) -> str:
    line = f"{title:<9}"
    for name, count in counts:
        more = f" {count} {paper.cut(name, 20)} "
        if columns(line) + columns(more) > paper.width:
            break
        line += more
    return paper.cut(line.rstrip() if line.strip() != title else f"{line} none in the last minute")


def _notices(model: Model, paper: Paper) -> Iterator[Line]:
    said = [*model.seen.notices]
    pace = model.seen.pace
    if model.seen.refused is not None:
        said.insert(0, f"filter: {printable(model.seen.refused)}")
    if pace.unread:
        said.append(f"{pace.unread} execs of the last minute were not looked at: too many at once")
    if pace.unlisted:
        said.append(f"{pace.unlisted} execs of the last minute are counted, but came too fast to be listed")
    most = paper.height // _SHARE
    lines: list[str] = []
    for place, text in enumerate(said):
        wrapped = _wrapped(paper.safe(text), paper.width)
        if lines and len(lines) + len(wrapped) > most:
            lines.append(paper.cut(f"and {len(said) - place} more: `execaudit stats` lists all gaps"))
            break
        lines += wrapped[: max(most, 1)]
    yield from ((Piece(line, Look.WRONG),) for line in lines)


def _list(model: Model, paper: Paper, room: int) -> list[Line]:
    rows, room = model.rows, max(1, room - 1)
    place = model.place()
    model.top = max(0, min(model.top, place, len(rows) - 1))
    if place >= model.top + room:
        model.top = place - room + 1
    # Where the list has become shorter.
    model.top = max(0, min(model.top, len(rows) - room))
    visible = rows[model.top : model.top + room]
    whens = _Whens(paper, visible)
    lines = [_titles(model, paper, whens.width)]
    if not rows and not model.seen.is_ready:
        lines.append((Piece(paper.cut("reading"), Look.DIM),))
    elif not rows:
        is_filtered = model.where is not None or model.options
        lines.append((Piece(paper.cut("no exec matches" if is_filtered else "no execs yet"), Look.DIM),))
    lines += [
        _row(row, paper, whens, is_chosen=number == place) for number, row in enumerate(visible, model.top)
    ]
    return lines


class _Whens:
    """The column of times: of other days the day. It is as wide as some rows need."""

    def __init__(self, paper: Paper, rows: Iterable[Row]) -> None:
        self._zone = paper.zone
        self._today = zone_text(paper.now_ns, paper.zone)[:_DATE]
        self.width = max((len(self.text(row)) for row in rows), default=_WHEN)

    def text(self, row: Row) -> str:
        moment = zone_text(row.event.time_ns, self._zone)
        return moment[_DATE + 1 : _DATE + 1 + _WHEN] if moment.startswith(self._today) else moment[:_DATE]


def _row(row: Row, paper: Paper, whens: _Whens, *, is_chosen: bool) -> Line:
    event = row.event
    who = cut(paper.safe(user_text(event.launch.user, event.launch.uid)), _USER, "+")
    status = paper.cut(summary_line.status_text(event), _STATUS)
    named = f"{summary_line.short_name(event):<{SHORT_LENGTH}} " if paper.width >= _WIDE else ""
    before = f"{whens.text(row):<{whens.width}} {named}{event.pid:>{_PID}} {padded(who, _USER)} "
    after = " "
    if paper.width >= _WIDE:
        duration = None if event.end is None else event.end.duration_ns
        text = UNKNOWN if duration is None else summary_line.brief_duration(duration)
        after += f"{text:>{_TOOK}} "
    room = max(1, paper.width - columns(before) - _STATUS - len(after))
    # Cut twice: escapes for the encoding make a text longer.
    command = paper.cut(summary_line.command_text(event, row.lead, 4 * room, paper.glyphs.cut), room)
    if is_chosen:
        line = f"{before}{padded(status, _STATUS)}{after}{command}"
        return (Piece(padded(cut(line, paper.width, ""), paper.width), Look.CHOSEN),)
    look = Look.PLAIN if row.is_match else Look.DIM
    pieces = (
        Piece(before, look),
        Piece(padded(status, _STATUS), Look.WRONG if summary_line.went_wrong(event) else look),
    )
    return (*pieces, Piece(after + command, look))


def _detail(model: Model, paper: Paper) -> list[Line]:
    detail = model.seen.detail
    if detail is None or detail.number != model.shown:
        return [(Piece(paper.cut("reading"), Look.DIM),)]
    if detail.event is None:
        return [(Piece(paper.cut("the exec was pruned just now"), Look.WRONG),)]
    return [
        *_fields(detail, detail.event, paper),
        *_relatives(
            "ancestors", detail.ancestors, paper, "only the nearest" if detail.more_ancestors else ""
        ),
        *_relatives("children", detail.children, paper, _more(detail.more_children)),
    ]


def _more(count: int | None) -> str:
    if count == 0:
        return ""
    return (
        "many more: see `execaudit tree --id`"
        if count is None
        else f"{count} more: see `execaudit tree --id`"
    )


def _fields(detail: Detail, event: ExecEvent, paper: Paper) -> Iterator[Line]:
    shown = shown_record(event, summary_line.outcome(event, next_comm=detail.next_comm), paper.zone)
    indent = min(max(map(len, shown)) + 2, paper.width - 1)
    for name, value in shown.items():
        text = UNKNOWN if value is None else printable(value[:_LONGEST_VALUE])
        first, *rest = _wrapped(paper.safe(text), max(1, paper.width - indent))
        yield Piece(f"{name:<{indent}}"[:indent], Look.DIM), Piece(first)
        for line in rest:
            yield (Piece(" " * indent + line),)


def _wrapped(text: str, width: int) -> list[str]:
    """Returns a text in pieces that fit, at least one."""
    lines = []
    while (fitting := cut(text, width, "")) != text:
        length = len(fitting) or 1
        lines.append(text[:length])
        text = text[length:]
    return [*lines, text]


def _relatives(title: str, rows: Sequence[Row], paper: Paper, note: str) -> Iterator[Line]:
    yield ()
    yield (Piece(paper.cut(f"{title}{'' if rows or note else ': none'}"), Look.BOLD),)
    whens = _Whens(paper, rows)
    for row in rows:
        yield _row(row, paper, whens, is_chosen=False)
    if note:
        yield (Piece(paper.cut(f"({note})"), Look.DIM),)
