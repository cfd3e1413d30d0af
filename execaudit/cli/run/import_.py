"""What `execaudit import` does."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, NamedTuple

import click

from execaudit.cli.run.progress import Progress
from execaudit.errors import ExecauditError
from execaudit.escaping import printable
from execaudit.importing.audit_log import AuditReader
from execaudit.importing.importer import THERE, Importer
from execaudit.importing.items import Reject
from execaudit.importing.json_log import JsonReader
from execaudit.importing.lines import STANDARD_INPUT, open_log
from execaudit.importing.rejects import Rejects
from execaudit.store.writer import Store

if TYPE_CHECKING:
    from pathlib import Path

    from execaudit.importing.items import Reader
    from execaudit.importing.lines import Log

# After so many lines, progress is shown.
_LINES = 2000
_AUDIT = "audit"


class Wanted(NamedTuple):
    """What is to be imported."""

    names: tuple[str, ...]
    format: str | None
    host: str | None
    rejects: Path | None


def run(path: Path, wanted: Wanted) -> None:
    """Imports logs, and says how much of them. Raises ExecauditError."""
    with contextlib.ExitStack() as stack:
        logs = _opened(stack, wanted.names)
        rejects = Rejects(wanted.rejects)
        stack.callback(rejects.close)
        progress = stack.enter_context(Progress(lines=False))
        store = stack.enter_context(Store(path, progress=progress.say_upgrade))
        importer = Importer(store, rejects)
        host = wanted.host or socket.gethostname()
        audit, json = AuditReader(host), JsonReader(host, wanted.format)
        try:
            for log in logs:
                is_json = log.is_json if wanted.format is None else wanted.format != _AUDIT
                _read(log, json if is_json else audit, importer, progress)
            importer.take(wanted.names[-1], audit.finish())
        finally:
            importer.finish()
            progress.clear()
            if (audit.has_default or json.has_default) and wanted.host is None:
                name = printable(socket.gethostname())
                click.echo(f"the log does not name its host: taken as {name}; --host says another", err=True)
            click.echo(_said(importer.imported, rejects), err=True)
    _check(logs, importer, rejects)


def _opened(stack: contextlib.ExitStack, names: tuple[str, ...]) -> list[Log]:
    """Opens logs, and returns them in the order of their times."""
    if names.count(STANDARD_INPUT) > 1:
        raise click.UsageError("- stands for standard input: name it once")
    logs: list[Log] = []
    for name in names:
        log = open_log(name)
        stack.callback(log.close)
        logs.append(log)
    return sorted(logs, key=lambda log: log.order())


def _read(log: Log, reader: Reader, importer: Importer, progress: Progress) -> None:
    for number, line, is_whole in log.lines():
        if not is_whole:
            importer.take(log.name, [Reject(number, "the line is too long", line)])
            continue
        found = reader.feed(number, line)
        if found:
            importer.take(log.name, found)
        if number % _LINES == 0:
            progress.say(f"{importer.imported:,} execs imported, line {number:,} of {printable(log.name)}")


def _said(number: int, rejects: Rejects) -> str:
    """Returns what was done, in one line."""
    counts = rejects.counts
    skipped = f"skipped {counts.total()}"
    if counts:
        reasons = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
        skipped += f" ({', '.join(f'{reason}: {count}' for reason, count in reasons)})"
    return f"imported {number}, {skipped}"


def _check(logs: list[Log], importer: Importer, rejects: Rejects) -> None:
    """Raises ExecauditError if a log could not be read to its end, or is something else."""
    for log in logs:
        if log.damage is not None:
            raise ExecauditError(
                f"cannot read all of {log.name}: {log.damage}", fix="what could be read is imported"
            )
    if rejects.rejected and not importer.imported and not rejects.counts[THERE]:
        raise ExecauditError("nothing could be imported", fix="--rejects FILE keeps what it is, line by line")
