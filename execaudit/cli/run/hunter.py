"""The process that runs detection rules for the recorder: reads the history, and tells what they hit.

It has no privileges and little priority, and is the first to be ended when memory is short. It writes to
nothing but its pipe: see daemon/hunt_reports. It waits for the recorder, which writes a byte when there is
more to look at, and closes the pipe when it stops.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from execaudit.daemon.hunt_reports import line_of, short, short_tags
from execaudit.errors import ExecauditError
from execaudit.escaping import exact, name_text
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.system import fork, privileges

if TYPE_CHECKING:
    import sqlite3

    from execaudit.hunt.rule import Named
    from execaudit.hunt.search import Hit, Hunt
    from execaudit.hunt.sieve import Sieve

_STDIN, _STDOUT = 0, 1
_NICE, _FIRST_TO_END = 19, 500
_MOST_MEMORY = 1024 * 1024 * 1024
# What was stored within this time is looked at together: a round costs more than an exec.
_BREATH_SECONDS = 0.2
# Execs, and hits, after which it is noted how far it is.
_STRIDE, _ENOUGH = 20_000, 500
# Hits of a rule by one user in a minute; more are counted. And of all rules and users.
_MOST_OF_ONE, _MOST_OF_ALL = 100, 5000
_MINUTE_NS = 60_000_000_000
# Longer rounds are said.
_LONG_SECONDS = 60.0
_HUNTED = "SELECT value FROM meta WHERE key = 'hunted'"
_PRUNED = "SELECT max(top) FROM pruned WHERE execs > 0"
_THERE = "SELECT count(*) FROM exec WHERE id > ? AND id <= ?"


def main(given: dict[str, Any]) -> None:
    """Hunts until the recorder stops."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the recorder says when it is over
    try:
        try:
            _hunt(given)
        except ExecauditError as exc:
            _tell(line_of("failed", short(exc.what), short(exc.fix)))
        except BrokenPipeError:
            raise
        except Exception as exc:  # noqa: BLE001  # whatever it is, the recorder logs it
            _tell(line_of("failed", short(f"a bug: {type(exc).__name__}: {exc}, {_place(exc)}"), None))
    except BrokenPipeError:
        pass  # the recorder has gone
    os._exit(0)  # nothing is to be written to a pipe that is closed


def _hunt(given: dict[str, Any]) -> None:
    from execaudit.cli.run import hunt  # noqa: PLC0415  # raises ExecauditError where packages are missing
    from execaudit.hunt.rule_files import read_rules  # noqa: PLC0415
    from execaudit.hunt.search import Hunt  # noqa: PLC0415

    path = Path(given["db"])
    is_nice = _be_modest(path, given["parent"])
    found = read_rules(given["rules"])
    _tell(
        b"".join(line_of("refused", short(name_text(each.file)), short(each.why)) for each in found.refusals)
    )
    sieve, correlations = hunt.arranged(found, given["level"])
    if not sieve.rules:
        raise ExecauditError("there is no rule to run", fix="correct `rules` and `level` in [hunt]")
    with open_history(path, follow=True) as connection:
        searching = Hunt(connection, sieve, Filter(where=hunt.STARTED), correlations)
        hunter = _Hunter(connection, sieve, searching, given["stride"] or _STRIDE, rests=not is_nice)
        goes_on = True
        while goes_on:
            goes_on = _await_more()
            hunter.work()


def _be_modest(database: Path, parent: int) -> bool:
    """Gives up what only the recorder needs. Returns whether it has the lowest priority.

    The service may not set one: a filter of its calls that allows it would allow more.
    """
    privileges.become_owner(database.parent)
    privileges.drop_all(())
    fork.end_with(parent)  # after that: the kernel forgets it when the user changes
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_FIRST_TO_END), encoding="ascii")
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (_MOST_MEMORY, _MOST_MEMORY))
    try:
        os.nice(_NICE)
    except OSError:
        return False
    return True


def _await_more() -> bool:
    """Waits until there is more in the database. Returns False when the recorder stops."""
    select.select([_STDIN], [], [])
    goes_on = bool(os.read(_STDIN, 65_536))
    if goes_on:
        time.sleep(_BREATH_SECONDS)
    return goes_on


def _tell(lines: bytes) -> None:
    left = memoryview(lines)
    while left:
        left = left[os.write(_STDOUT, left) :]


class _Hunter:
    """Goes on after the last exec that was hunted."""

    def __init__(
        self, connection: sqlite3.Connection, sieve: Sieve, hunt: Hunt, stride: int, *, rests: bool
    ) -> None:
        """`rests`: it stands still for as long as it works, because nothing else makes it give way."""
        self._rests = rests
        self._connection, self._sieve, self._hunt, self._width = connection, sieve, hunt, stride
        self._last: int | None = None
        self._rules: dict[int, int] = {}
        """The numbers of rules that the recorder knows, by id()."""
        self._told: list[bytes] = []
        self._flood = _Flood()
        self._aside = 0
        self._is_behind = False

    def work(self) -> None:
        """Hunts in what there is now."""
        if self._last is None:
            row = self._connection.execute(_HUNTED).fetchone()
            if row is None:
                return  # the recorder notes it with the first exec
            self._last = int(row[0])
            _tell(line_of("ready", len(self._sieve.rules), self._last))
        began, end = time.monotonic(), find.last_number(self._connection)
        self._say_pruned(self._last)
        if self._last < end:
            _tell(line_of("looks", end))
        while self._last < end:
            started = time.monotonic()
            self._stride(self._last, min(self._last + self._width, end))
            time.sleep(self._rests * (time.monotonic() - started))
            if time.monotonic() - began >= _LONG_SECONDS and not self._is_behind:
                self._is_behind = True
                _tell(line_of("behind", end - self._last))
        self._is_behind = self._is_behind and time.monotonic() - began >= 1

    def _say_pruned(self, last: int) -> None:
        top = self._connection.execute(_PRUNED).fetchone()[0]
        if top is not None and top > last:
            gone = top - last - self._connection.execute(_THERE, (last, top)).fetchone()[0]
            if gone > 0:
                _tell(line_of("pruned", gone))

    def _stride(self, after: int, until: int) -> None:
        """Hunts in some execs, and tells it."""
        at = after
        for hit in self._hunt.hits(after=after, until=until):
            if len(self._told) >= _ENOUGH and hit.number > at:
                self._note(hit.number - 1)
            at = hit.number
            key = self._key(hit.rule)
            if self._flood.admits(key, hit):
                self._told.append(_hit_line(hit, key, 0))
        self._note(until)
        for index in self._sieve.aside[self._aside :]:
            self._aside += 1
            rule = self._sieve.rules[index]
            _tell(line_of("aside", short(name_text(rule.file)), short(rule.title)))

    def _note(self, hunted: int) -> None:
        """Tells what was hit up to an exec, and that all up to there was looked at."""
        self._told += [_hit_line(hit, key, count - 1) for key, (hit, count) in self._flood.take().items()]
        self._told.append(line_of("hunted", hunted))
        _tell(b"".join(self._told))
        self._told = []
        self._last = hunted

    def _key(self, rule: Named) -> int:
        key = self._rules.get(id(rule))
        if key is None:
            key = self._rules[id(rule)] = len(self._rules)
            says = rule.said()
            values = (
                short(says.id),
                short(says.title),
                says.level,
                short_tags(says.tags),
                short(name_text(says.file)),
            )
            self._told.append(line_of("rule", key, *values))
        return key


class _Flood:
    """Bounds how many hits are told for each minute: an exec that a rule hits costs its user nothing."""

    def __init__(self) -> None:
        self._minute = -1
        self._by_user: Counter[tuple[int, int | None]] = Counter()
        self._all = 0
        self._left_out: dict[int, tuple[Hit, int]] = {}

    def admits(self, key: int, hit: Hit) -> bool:
        """Says whether to tell a hit of the rule with this number; else it is counted."""
        minute = hit.event.time_ns // _MINUTE_NS
        if minute != self._minute:
            self._minute, self._all = minute, 0
            self._by_user.clear()
        whose = key, hit.event.launch.uid
        if self._by_user[whose] < _MOST_OF_ONE and self._all < _MOST_OF_ALL:
            self._by_user[whose] += 1
            self._all += 1
            return True
        self._left_out[key] = hit, self._left_out.get(key, (hit, 0))[1] + 1
        return False

    def take(self) -> dict[int, tuple[Hit, int]]:
        """Returns by rule the last hit that was not told, and how many there were."""
        left_out, self._left_out = self._left_out, {}
        return left_out


def _hit_line(hit: Hit, key: int, left_out: int) -> bytes:
    event = hit.event
    launch = event.launch
    comm, exe = (None if raw is None else short(exact(raw)) for raw in (launch.comm, launch.exe))
    who = (event.pid, launch.uid, short(launch.user), comm, exe)
    return line_of("hit", hit.number, key, left_out, event.id, event.time_ns, short(event.host), *who)


def _place(exc: BaseException) -> str:
    """Returns where an error was raised."""
    at = exc.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return "" if at is None else f"{at.tb_frame.f_code.co_filename}:{at.tb_lineno}"
