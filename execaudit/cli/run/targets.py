"""What a recorder writes to: the database, the JSON log, the terminal."""

from __future__ import annotations

import functools
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from execaudit.cli.context import Look
from execaudit.cli.run import hunter_command
from execaudit.cli.run.progress import Progress
from execaudit.cli.run.view import table_view
from execaudit.daemon import log_limit
from execaudit.daemon.hunting import Hunting
from execaudit.daemon.log_file import LogFile
from execaudit.daemon.redacting import Redacting
from execaudit.daemon.retention import Retention
from execaudit.daemon.seals import Seals
from execaudit.daemon.sinks.database import DatabaseSink
from execaudit.daemon.sinks.json_log import JsonLogSink, JsonStreamSink
from execaudit.daemon.sinks.terminal import TerminalSink
from execaudit.daemon.sinks.threaded import ThreadedSink
from execaudit.escaping import name_text
from execaudit.store.ballast import Ballast
from execaudit.store.writer import Store
from execaudit.system import clock
from execaudit.system.stream import write_all

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Iterator

    from execaudit.daemon.settings import Upkeep
    from execaudit.daemon.sinks.sink import Sink


class Targets(NamedTuple):
    """What the recorder writes to."""

    store: Store
    log_file: LogFile | None
    sinks: list[Sink]
    host: str
    retention: Retention
    hunting: Hunting
    redacting: Redacting
    seals: Seals


def open_targets(
    stack: contextlib.ExitStack, path: Path, json_log: str | None, wanted: Upkeep, *, quiet: bool
) -> Targets:
    """Opens all that the recorder writes to; the stack closes it. Raises ExecauditError."""
    host = name_text(socket.gethostname())
    retention = Retention(path, clock.boot_id(), wanted.limits, host=host)
    retention.wait_for = wanted.wait_for
    with Progress(lines=True) as progress:
        store = stack.enter_context(Store(path, durable=wanted.durable, progress=progress.say_upgrade))
    ballast = Ballast(path)
    # Freed before the database is closed: to close it takes room.
    stack.callback(ballast.give_up)
    hunting = Hunting(functools.partial(hunter_command.command, path))
    # The history cannot be closed as readers need it while the child reads it.
    stack.callback(hunting.close)
    redacting = Redacting(path)
    redacting.use(wanted.redact)
    seals = Seals()
    seals.use(wanted.seal)
    log_file = _log_file(json_log, wanted)
    sinks: list[Sink] = [
        DatabaseSink(store, host=host, ballast=ballast, retention=retention, hunting=hunting, seals=seals),
        *_further_sinks(log_file, host, json_log, quiet=quiet),
    ]
    for sink in sinks:
        stack.callback(sink.close)
    return Targets(store, log_file, sinks, host, retention, hunting, redacting, seals)


def written(database: Path, log_file: LogFile | None) -> list[Path]:
    """Returns the files that the recorder writes, and the folders in which it makes more."""
    files = [database.absolute(), *([] if log_file is None else [log_file.path.absolute()])]
    return [*files, *(file.parent for file in files)]


def _log_file(json_log: str | None, wanted: Upkeep) -> LogFile | None:
    """Opens the JSON log, if it is a file."""
    if json_log in (None, "-"):
        return None
    return LogFile(Path(json_log), log_limit.completed(wanted.rotation, Path(json_log)))


def _further_sinks(
    log_file: LogFile | None, host: str, json_log: str | None, *, quiet: bool
) -> Iterator[Sink]:
    """Yields the sinks beside the database. The recorder waits for none of them."""
    write = functools.partial(write_all, sys.stdout.fileno())
    if json_log == "-":
        yield ThreadedSink(JsonStreamSink(write), host=host, patient=False)
        return
    if log_file is not None:
        yield ThreadedSink(JsonLogSink(log_file, host=host), host=host, patient=True)
    if sys.stdout.isatty() and not quiet:
        yield ThreadedSink(TerminalSink(write, table_view(Look())), host=host, patient=False)
