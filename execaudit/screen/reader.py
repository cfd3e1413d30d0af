"""Read the history again and again, in a thread of its own, and tell the screen what was found.

Each reading has a bound: in rows, because a flood of execs must not keep it from the newest ones, and in
time, because what is asked for may be slow.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from execaudit.arguments import keep_ends
from execaudit.enums import Ended, Kind
from execaudit.errors import ExecauditError, StoreError
from execaudit.escaping import printable
from execaudit.event import Nanoseconds
from execaudit.output import notices, tree_layout
from execaudit.query import find, lineage, recorders
from execaudit.query.connection import open_history
from execaudit.query.expression import And, every
from execaudit.query.filter import Filter
from execaudit.query.recent import recent
from execaudit.query.running import is_about_ends
from execaudit.query.statements import Span, count_statement
from execaudit.screen.pacing import MINUTE, WINDOW, Pacing
from execaudit.screen.seen import Ask, Detail, Row, Seen
from execaudit.system import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from execaudit.event import ExecEvent
    from execaudit.output.tree_layout import Glyphs
    from execaudit.query.connection import Connection
    from execaudit.query.rows import Found

_TICK_SECONDS = 1.0
_LISTED = 500
"""The newest execs that are kept."""
_LOOKED_AT, _LOOKED_BACK = 20_000, 200_000
"""New execs that one reading looks at; execs that are looked at in the beginning, and for another filter."""
_AGAIN = 100
"""Programs that ran when they were read, and are read again."""
_IN_TREE, _DRAWN = 100, 500
_ANCESTORS, _CHILDREN, _COUNTED = 200, 50, 100_000
_MOST_BYTES = 32_000_000
"""Of command lines, that one reading looks at."""
_PAGE = 16
_LONGEST = 8192
"""Bytes of a command line in the list: any user can start a program with megabytes."""
_LONGEST_SHOWN = 65536
_MOST_SECONDS = 3.0
"""A reading that takes longer is given up."""
_STEPS = 20_000
_SLOW = "this takes too long here: ask `execaudit query --where`, or write a simpler expression"
_NEWS_SECONDS = 30
# A drawing is to leave room for commands in 80 columns.
_SHALLOW = 8
_SECOND = 1_000_000_000


class Source(NamedTuple):
    """The history, and which of its execs the options ask for."""

    path: Path
    wanted: Callable[[sqlite3.Connection], Filter]
    """Raises ExecauditError."""
    glyphs: Glyphs


class Reader:
    """Reads until it is stopped."""

    def __init__(self, source: Source, tell: Callable[[Seen | BaseException], None]) -> None:
        """Calls `tell`, in its thread, with what was found, or with the bug that ended it."""
        self._source, self._tell = source, tell
        self._asked = threading.Condition()
        self._ask, self._is_stopped, self._is_new = Ask(), False, False
        self._deadline = 0.0
        self._history: _History | None = None
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def ask(self, ask: Ask) -> None:
        """Has the next reading, which begins at once, answer this."""
        with self._asked:
            if ask != self._ask:
                self._ask, self._is_new = ask, True
                self._asked.notify()

    def stop(self) -> None:
        """Ends the thread, and waits for that, unless a regular expression takes its time."""
        with self._asked:
            self._is_stopped = self._is_new = True
            self._asked.notify()
        self._thread.join(_MOST_SECONDS)

    def _run(self) -> None:
        try:
            while not self._is_stopped:
                self._read_until_it_fails()
        except BaseException as exc:  # noqa: BLE001  # the screen ends, and raises it
            self._tell(exc)

    def _read_until_it_fails(self) -> None:
        """Reads the history while it can be opened and is the same file."""
        path = self._source.path
        history = self._history
        try:
            identity = _identity(path)
            with open_history(path, follow=True) as connection:
                if history is None or history.identity != identity:
                    is_another = history is not None
                    history = _History(self._source, connection, identity)
                    if is_another:
                        history.tell("the history was replaced: this is what the new file has")
                    self._history = history
                history.use(connection)
                connection.set_progress_handler(self._is_over, _STEPS)
                while not self._is_stopped and identity == _identity(path):
                    self._read_once(history)
                    self._wait()
        except ExecauditError as exc:
            seen = Seen(self._ask) if history is None else history.seen._replace(ask=self._ask, host="")
            self._tell(seen._replace(notices=(printable(str(exc)),)))
            self._wait()

    def _read_once(self, history: _History) -> None:
        with self._asked:
            ask, self._is_new = self._ask, False
        self._deadline = time.monotonic() + _MOST_SECONDS
        try:
            seen = history.read(ask)
        except sqlite3.OperationalError:
            if self._is_new:
                return
            failure = history.taken_failure()
            if failure is None and not self._is_over():
                raise
            if failure is None and ask.typed is None:
                raise StoreError(
                    f"reading took longer than {_MOST_SECONDS:g} s", fix="is the disk busy?"
                ) from None
            seen = history.refuse(ask, _SLOW if failure is None else str(failure))
        except StoreError:
            raise
        except ExecauditError as exc:
            seen = history.refuse(ask, str(exc))
        if seen is not None:
            self._tell(seen)

    def _is_over(self) -> bool:
        return self._is_new or time.monotonic() > self._deadline

    def _wait(self) -> None:
        with self._asked:
            self._asked.wait_for(lambda: self._is_new, _TICK_SECONDS)


def _identity(path: Path) -> tuple[int, int] | None:
    """Returns what distinguishes a file from one that took its place; None: there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


class _History:
    """What was read of one file."""

    def __init__(self, source: Source, connection: Connection, identity: tuple[int, int] | None) -> None:
        """Raises ExecauditError if the options name what is not in the history."""
        self.identity = identity
        self.seen = Seen(Ask())
        self._options = source.wanted(connection)
        self._glyphs = source.glyphs
        self._news: tuple[str, float] | None = None
        self._begin(None)
        self.use(connection)

    def use(self, connection: Connection) -> None:
        """Goes on with a connection to the same file."""
        self._connection = connection
        self._version = self._looked = -1.0

    def tell(self, news: str) -> None:
        """Has something said for some time."""
        self._news = news, time.monotonic() + _NEWS_SECONDS

    def taken_failure(self) -> ExecauditError | None:
        """Returns why a function of ours ended a statement, and forgets it."""
        failure, self._connection.failure = self._connection.failure, None
        return failure

    def _begin(self, typed: object) -> None:
        """Forgets what was read, for another filter."""
        self._typed = typed
        self._rows: dict[int, Row] = {}
        self._pacing = Pacing()
        self._last: int | None = None
        self._refused: str | None = None
        self._detail: Detail | None = None
        self._tree: Sequence[Row] = ()

    def refuse(self, ask: Ask, why: str) -> Seen:
        """Does not read for this filter again."""
        self._begin(ask.typed)
        self._refused = why
        self.seen = Seen(ask, refused=why, notices=self.seen.notices, host=self.seen.host, is_ready=True)
        return self.seen

    def read(self, ask: Ask) -> Seen | None:
        """Returns what there is now; None: the same as before. Raises ExecauditError."""
        version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        was = self.seen
        if ask.typed != self._typed:
            self._begin(ask.typed)
        is_changed = version != self._version or self._last is None
        if self._refused is None:
            self._read_rows(ask, is_changed=is_changed)
        host, said = was.host, was.notices
        if is_changed or time.monotonic() > self._looked + 2 * _TICK_SECONDS:
            self._looked = time.monotonic()
            host, said = self._state()
        self._version = version
        self.seen = Seen(
            ask,
            rows=tuple(self._rows.values()) if is_changed else was.rows,
            tree=self._tree,
            pace=self._pacing.at(clock.wall_ns() // _SECOND),
            detail=self._detail,
            host=host,
            notices=said,
            refused=self._refused,
            is_ready=True,
        )
        return None if self.seen == was else self.seen

    def _wanted(self, ask: Ask) -> Filter:
        wanted = self._options
        if ask.typed is not None:
            parts = (ask.typed,) if wanted.where is None else (wanted.where, ask.typed)
            wanted = replace(wanted, where=And(parts))
        names_kind = any(getattr(node, "field", None) == "kind" for node in every(wanted.expression()))
        # What ran already is not new.
        return wanted if names_kind else replace(wanted, kinds=(Kind.EXEC, Kind.FAILED))

    def _read_rows(self, ask: Ask, *, is_changed: bool) -> None:
        if is_changed:
            new = self._new(self._wanted(ask))
            self._renew()
            kept = sorted([*new, *self._rows.values()], key=lambda row: -row.number)[: self._most()]
            self._rows = {row.number: row for row in kept}
        if ask.tree and (is_changed or not self.seen.ask.tree):
            self._tree = self._trees()
        if ask.shown is None:
            self._detail = None
        elif (
            self._detail is None
            or self._detail.number != ask.shown
            or (is_changed and _runs(self._detail.event))
        ):
            self._detail = self._all_about(ask.shown)

    def _most(self) -> int:
        return _LISTED if self._options.limit is None else min(_LISTED, self._options.limit)

    def _new(self, wanted: Filter) -> list[Row]:
        """Returns what was recorded since the last reading, and counts it.

        A program may come to match when it ends. If the filter speaks of that, what is near is read again.
        """
        connection, most, last = self._connection, self._most(), self._last
        again = last is not None and is_about_ends(wanted.expression())
        high = find.last_number(connection)
        begin = 1 if last is None or again else last + 1
        low = max(begin, high - (_LOOKED_BACK if last is None else _LOOKED_AT) + 1)
        if low > high:
            self._last = high
            return []
        wanted = replace(wanted, limit=None, reverse=True)
        reader, part = find.PartReader(connection, wanted), Span(low, high)
        rows: list[Row] = []
        size = 0
        for page in reader.pages(part, most=most) if most else ():
            for found in find.found_of(page):
                rows.append(_row(found))
                size += len(found.event.argv)
            if size > _MOST_BYTES:
                break
        now = clock.wall_ns() // _SECOND
        with find.one_moment(connection):
            counted = named = recent(connection, wanted, part, since=now - WINDOW, until=now + 2)
            if last is None or again:
                named = recent(connection, wanted, part, since=now - MINUTE, until=now + 2)
        unlisted = unread = 0
        if again:
            self._rows = {number: row for number, row in self._rows.items() if number < low}
            self._pacing = Pacing()
        elif last is not None:
            unread = low - last - 1
            if len(rows) == most or size > _MOST_BYTES:
                unlisted = connection.execute(*count_statement(wanted, part)).fetchone()[0] - len(rows)
        self._pacing.add(now, counted.seconds, named.commands, named.users, unlisted=unlisted, unread=unread)
        self._last = high
        return rows

    def _renew(self) -> None:
        """Reads programs again that ran when they were read."""
        running = [number for number, row in self._rows.items() if _runs(row.event)][:_AGAIN]
        for row in self._fetch(running):
            self._rows[row.number] = row

    def _fetch(self, numbers: Sequence[int]) -> Iterator[Row]:
        """Yields the execs of these numbers: a few at a time, because command lines can have megabytes."""
        for start in range(0, len(numbers), _PAGE):
            for found in find.fetch(self._connection, numbers[start : start + _PAGE]):
                yield _row(found)

    def _trees(self) -> list[Row]:
        """Returns the drawing of the newest execs and of what led to them."""
        matches = [*self._rows][:_IN_TREE]
        forest = tree_layout.Forest(lineage.lineage(self._connection, matches, most=_DRAWN), reverse=True)
        places = list(forest.walk(self._glyphs, most=_SHALLOW))
        rows = {row.number: row for row in self._fetch([place.number for place in places])}
        return [
            rows[place.number]._replace(lead=place.lead, is_match=place.number in self._rows)
            for place in places
            if place.number in rows
        ]

    def _all_about(self, number: int) -> Detail:
        connection = self._connection
        found = find.fetch(connection, [number])
        if not found:
            return Detail(number, None)
        event = found[0].event
        argv, holes = keep_ends(event.argv, event.holes, _LONGEST_SHOWN)
        kin = [*lineage.lineage(connection, [number], most=_ANCESTORS + 1)]
        ancestors = [each for each in kin if each.number != number]
        leads = {
            place.number: place.lead
            for place in tree_layout.Forest(ancestors).walk(self._glyphs, most=_SHALLOW)
        }
        children = lineage.children(connection, number, most=_CHILDREN)
        more: int | None = 0
        if len(children) == _CHILDREN:
            count = lineage.count_children(connection, number, most=_COUNTED)
            more = None if count == _COUNTED else count - _CHILDREN
        return Detail(
            number,
            event._replace(argv=argv, holes=holes),
            _next_comm(connection, event),
            [row._replace(lead=leads[row.number]) for row in self._fetch([*leads])],
            len(kin) > _ANCESTORS,
            [*self._fetch(children)],
            more,
        )

    def _state(self) -> tuple[str, tuple[str, ...]]:
        """Returns which host is recorded, and what is to be said."""
        now_ns, hosts = clock.wall_ns(), self._options.hosts
        live = recorders.live(self._connection)
        since_ns = Nanoseconds(now_ns - WINDOW * _SECOND)
        gaps = find.gaps(self._connection, Filter(since_ns=since_ns, hosts=hosts))
        silences = recorders.silences(self._connection, hosts, gaps, now_ns=now_ns)
        said = [self._news[0]] if self._news and time.monotonic() < self._news[1] else []
        said += [notices.missing_line(each, None) for each in silences if each.to_ns is None]
        said += [notices.missing_line(each, None) for each in reversed(gaps)]
        return "" if live is None else live.host, tuple(said)


def _row(found: Found) -> Row:
    event = found.event
    argv, holes = keep_ends(event.argv, event.holes, _LONGEST)
    return Row(found.number, event._replace(argv=argv, holes=holes))


def _runs(event: ExecEvent | None) -> bool:
    return event is not None and event.end is not None and event.end.how is Ended.RUNNING


def _next_comm(connection: sqlite3.Connection, event: ExecEvent) -> bytes | None:
    if event.end is None or event.end.replaced_by is None:
        return None
    number = find.locate(connection, event.end.replaced_by)
    found = [] if number is None else find.fetch(connection, [number])
    return found[0].event.launch.comm if found else None
