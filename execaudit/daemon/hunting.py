"""Run detection rules beside the recorder: a child process reads the history and tells what they hit.

The recorder never waits for it. What is told waits here for the database, and if it is much, the child
waits too.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections import deque
from typing import IO, TYPE_CHECKING, NamedTuple

import structlog

from execaudit.daemon import hunt_reports
from execaudit.daemon.hunt_reports import WrongReportError
from execaudit.escaping import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from execaudit.daemon.settings import HuntSettings
    from execaudit.event import Hit, HuntRule

log = structlog.get_logger()

# Hits that wait for the database: the child tells no more of them at a time than _MOST_HITS.
_MOST_CHUNKS, _MOST_HITS = 4, 20_000
# A child that ended is started again after so long, twice as long each time, unless it lived for _LONG_LIFE.
_FIRST_PAUSE, _LONGEST_PAUSE, _LONG_LIFE = 1.0, 300.0, 60.0
# A stop waits so long for hits in what was stored last.
_LAST_SECONDS = 3.0
_LOOK_SECONDS = 0.1
# So much is said of the same rules: of those that cannot be run, for example.
_MOST_NAMED = 100
_STUCK = 3
# The child must not speak for the recorder.
_NOT_INHERITED = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")


class Chunk(NamedTuple):
    """What rules hit up to an exec."""

    hits: Sequence[Hit]
    hunted: int
    """The exec's row."""


class Hunting:
    """Keeps the child running. Without settings it does nothing."""

    def __init__(self, command: Callable[[HuntSettings, bool], Sequence[str]]) -> None:
        """`command` returns the child's command line; True: it is to note each single exec."""
        self._command = command
        self._wanted: HuntSettings | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._epoch = 0
        """Grows when a child must not be believed any more."""
        self._chunks: deque[Chunk] = deque()
        self._stored: list[Hit] = []
        """What the database has and the JSON log has not."""
        self._ends_at: float | None = None
        self._is_over = False
        self._said: set[tuple[object, ...]] = set()
        """What was said of these rules: it is not said again by the next child."""
        self._failure: str | None = None
        """Why the last child ended, if it never ran a rule: that is not said again."""
        self._stuck = 0
        """So many children in a row ended before they had looked at anything."""

    @property
    def is_on(self) -> bool:
        """Says whether there are rules to run."""
        return self._wanted is not None

    def use(self, wanted: HuntSettings | None) -> None:
        """Runs these rules from now on; reads them again if they are the same."""
        with self._changed:
            self._wanted, self._stuck = wanted, 0
            self._said.clear()
            self._failure = None
            self._forget_child()
        # Not earlier: a thread keeps the privileges that the process had when the thread was started. The
        # child ends with this thread.
        if wanted is not None and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="hunting", daemon=True)
            self._thread.start()

    def restart(self) -> None:
        """Another file has taken the database's place: what was told of it is forgotten."""
        with self._changed:
            self._forget_child()

    def _forget_child(self) -> None:
        self._epoch += 1
        self._chunks.clear()
        if self._child is not None:
            self._child.kill()
        self._changed.notify_all()

    def poke(self) -> None:
        """Tells the child that there is more in the database. Returns at once."""
        with self._changed:
            if self._child is not None and self._child.stdin is not None and self._ends_at is None:
                _write_now(self._child.stdin)

    def next(self) -> Chunk | None:
        """Returns what to store next; None: nothing."""
        with self._changed:
            return self._chunks[0] if self._chunks else None

    def stored(self, chunk: Chunk) -> None:
        """Logs what the database has now."""
        with self._changed:
            if self._chunks and self._chunks[0] is chunk:
                self._chunks.popleft()
            self._stored += chunk.hits
            self._changed.notify_all()
        for hit in chunk.hits:
            facts = {name: _shown(getattr(hit, name)) for name in ("pid", "uid", "user", "comm", "exe")}
            rule, level, file = _shown(hit.rule.title), hit.rule.level, _shown(hit.rule.file)
            more = {"left_out": hit.left_out} if hit.left_out else {}
            log.warning(
                "rule_hit", rule=rule, rule_level=level, file=file, id=_shown(hit.exec_id), **facts, **more
            )

    def take_stored(self) -> Sequence[Hit]:
        """Returns what the database has had since this was called last."""
        if not self._stored:
            return ()
        with self._changed:
            stored, self._stored = self._stored, []
        return stored

    def is_waiting(self) -> bool:
        """Says whether there is anything to store or to write."""
        return bool(self._chunks or self._stored)

    def await_last(self) -> bool:
        """Waits a moment for hits in what was stored last. Returns whether more may come."""
        with self._changed:
            if self._ends_at is None:
                self._ends_at = time.monotonic() + _LAST_SECONDS
                if self._child is not None and self._child.stdin is not None:
                    self._child.stdin.close()  # it does the rest, and ends
            left = self._ends_at - time.monotonic()
            if left <= 0:
                return False
            if not self._chunks:
                self._changed.wait_for(lambda: self._child is None or self._chunks, min(left, _LOOK_SECONDS))
            else:
                self._changed.wait(_LOOK_SECONDS / 10)  # the database may be locked
            return self._child is not None or self.is_waiting()

    def close(self) -> None:
        """Ends the child: while it reads, the database cannot be closed as readers need it."""
        with self._changed:
            self._is_over = True
            self._wanted = None
            self._forget_child()
        if self._thread is not None:
            self._thread.join(_LAST_SECONDS)

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted is not None or self._is_over)
                if self._is_over or self._ends_at is not None:
                    return
                wanted, epoch = self._wanted, self._epoch
            began = time.monotonic()
            why, todo = self._hunt(wanted, epoch) if wanted is not None else (None, None)
            if time.monotonic() - began >= _LONG_LIFE:
                pause = _FIRST_PAUSE
            if self._is_expected(epoch, _FIRST_PAUSE):
                pause = _FIRST_PAUSE
                continue
            self._say(why or "it ended", todo, pause)
            self._is_expected(epoch, pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _is_expected(self, epoch: int, seconds: float) -> bool:
        """Waits so long. Returns whether the child had to end: a signal to all may reach it before us."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._is_over or self._ends_at is not None or epoch != self._epoch, seconds
            )

    def _say(self, why: str, todo: str | None, pause: float) -> None:
        if why != self._failure:
            self._failure = why
            log.error(
                "hunt_failed",
                reason=printable(why),
                todo=printable(todo or "recording goes on; look for the cause, or remove [hunt] rules"),
                again_in_seconds=pause,
            )

    def is_news(self, *said: object) -> bool:
        """Says whether something was not said yet of these rules."""
        if said in self._said or len(self._said) >= _MOST_NAMED:
            return False
        self._said.add(said)
        return True

    def _hunt(self, wanted: HuntSettings, epoch: int) -> tuple[str | None, str | None]:
        """Runs a child to its end. Returns why it ended, and what to do.

        Whoever can run a program may make one that ends the child. So after some such ends the next child
        notes each exec, and the one at which it ends is left out.
        """
        is_careful = self._stuck >= _STUCK
        environment = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
        try:
            # Without the lock: a file system that hangs may hold this up.
            child = subprocess.Popen(  # noqa: S603  # ourselves
                self._command(wanted, is_careful),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        except OSError as exc:
            return f"it cannot be started: {exc.strerror}", None
        if child.stdin is None or child.stdout is None:
            raise AssertionError("there are pipes")
        os.set_blocking(child.stdin.fileno(), False)  # its only form
        _write_now(child.stdin)
        with self._changed:
            if epoch == self._epoch:
                self._child = child
            else:
                child.kill()
        failure, told = None, _Told(self, epoch)
        try:
            failure = told.read_all(child.stdout)
        except WrongReportError as exc:
            failure = f"it told nonsense: {exc}", None
        except Exception as exc:  # noqa: BLE001  # a bug here ends the child and not the hunting
            failure = f"a bug: {type(exc).__name__}: {exc}", None
        finally:
            child.kill()
            status = child.wait()
            with self._changed:
                self._child = None
                child.stdout.close()
                if not child.stdin.closed:
                    child.stdin.close()
                self._changed.notify_all()
        if told.after is not None and epoch == self._epoch and self._ends_at is None:
            self._failure = None
            self._stuck = 0 if told.has_progress else self._stuck + told.has_looked
            if is_careful and told.has_looked and not told.has_progress:
                log.error("exec_not_hunted", number=told.after + 1, reason="the rules cannot be run on it")
                self.take(Chunk([], told.after + 1), epoch)
        if failure is None:
            how = f"signal {-status}" if status < 0 else f"status {status}"
            return f"the process that runs the rules ended with {how}", None
        return failure

    def take(self, chunk: Chunk, epoch: int) -> None:
        """Keeps a chunk when there is room. The child's pipe is not read meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._chunks) < _MOST_CHUNKS or epoch != self._epoch)
            if epoch == self._epoch:
                self._chunks.append(chunk)
                self._changed.notify_all()


NO_RULES = Hunting(lambda _wanted, _is_careful: ())


class _Told:
    """What one child told."""

    def __init__(self, hunting: Hunting, epoch: int) -> None:
        self._hunting, self._epoch = hunting, epoch
        self._rules: dict[int, HuntRule] = {}
        self._hits: list[Hit] = []
        self._refused = 0
        self.after: int | None = None
        """The exec after which it began; None: it has not begun."""
        self.has_looked = self.has_progress = False
        """It began to run rules; and on an exec at least it has."""

    def read_all(self, pipe: IO[bytes]) -> tuple[str, str | None] | None:
        """Reads until the child ends. Returns why it failed, if it says so. Raises WrongReportError."""
        failure = None
        while line := pipe.readline(hunt_reports.LONGEST_LINE):
            if not line.endswith(b"\n"):
                break  # it was killed, or the line is too long
            kind, values = hunt_reports.read(line)
            if kind == "failed":
                failure = values[0], values[1]
            elif kind == "looks":
                self.has_looked = True
            elif kind == "rule":
                number, rule = hunt_reports.to_rule(values)
                self._rules[number] = rule
            elif kind == "hit":
                self._hits.append(hunt_reports.to_hit(values, self._rules))
                if len(self._hits) > _MOST_HITS:
                    raise WrongReportError("there are too many hits at a time")
            elif kind == "hunted":
                self._hunting.take(Chunk(self._hits, values[0]), self._epoch)
                self._hits, self.has_progress = [], True
            else:
                self._say(kind, values)
        return failure

    def _say(self, kind: str, values: Sequence[int | str]) -> None:
        first, second = (*map(_shown, values), None)[:2]
        if kind == "ready":
            self.after = values[1] if isinstance(values[1], int) else None
            log.info("hunting", rules=first, after_exec=second, refused=self._refused)
        elif kind == "refused":
            self._refused += 1
            if self._hunting.is_news(kind, *values):
                todo = "correct the rule and reload, or remove it"
                log.warning("rule_refused", file=first, reason=second, todo=todo)
        elif kind == "aside" and self._hunting.is_news(kind, *values):
            todo = "write its regular expression without repetitions in one another, then reload"
            log.warning("rule_put_aside", file=first, title=second, reason="it took too long", todo=todo)
        elif kind == "pruned":
            todo = "fewer rules, or more history ([retention])"
            log.warning("not_hunted", execs=first, reason="they were pruned before", todo=todo)
        elif kind == "behind":
            log.warning("hunt_is_behind", execs=first, todo="fewer or simpler rules: they take too long")


def _shown(value: int | str | None) -> int | str | None:
    return printable(value) if isinstance(value, str) else value


def _write_now(pipe: IO[bytes]) -> None:
    """Writes a byte, if there is room: else the child has not read the last ones."""
    try:
        os.write(pipe.fileno(), b"\n")
    except (OSError, ValueError):
        return
