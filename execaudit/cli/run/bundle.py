"""What `execaudit export --bundle` does."""

from __future__ import annotations

import hmac
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from execaudit import __version__
from execaudit.bundle import make
from execaudit.cli.run import missing
from execaudit.cli.run.build_filter import build_filter
from execaudit.cli.run.new_file import opened, refuse_existing
from execaudit.cli.run.progress import answering, bar
from execaudit.errors import ExecauditError
from execaudit.escaping import printable
from execaudit.event import Gap
from execaudit.query import find
from execaudit.system import clock
from execaudit.times import utc_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from execaudit.query.filter import Filter
    from execaudit.query.local_history import LocalHistory

_MACHINE_ID = Path("/etc/machine-id")
# man 5 machine-id: it is confidential, and what is shown is to be a keyed hash of it.
_APPLICATION = b"execaudit bundle"


def write(
    history: LocalHistory, values: dict[str, Any], output: Path, *, is_sparse: bool, force: bool
) -> None:
    """Writes a bundle of what the options ask for, and says on stderr what is missing of it.

    Raises FilterError; ExecauditError.
    """
    if str(output) == "-" or (output.exists() and not output.is_file()):
        raise ExecauditError("a bundle is written to a file", fix="name one with --bundle")
    if not force:
        refuse_existing(output)
    wanted = replace(build_filter(values, history), reverse=False)
    asked = missing.bounded_export(history, wanted)
    answering(history)  # it has bars
    with find.one_moment(history.connection):
        lacks = missing.Missing(history, wanted)
        missed = lacks.news()
        missing.say(missed)
        missing.warn_of_pruning(history, wanted)
        silences = [*lacks.records(each for each in missed if not isinstance(each, Gap))]
        about = _about(history, asked.wanted, silences)
        with opened(output, force=force) as out:
            written = make.write(history, asked.wanted, out.file, about, bar, is_sparse=is_sparse)
    asked.say()
    if not written.is_sealed:
        click.echo("nothing is sealed here: the bundle proves nothing (see `execaudit seal setup`)", err=True)
    records = "1 record" if written.records == 1 else f"{written.records} records"
    click.echo(f"wrote {records} and what proves them to {printable(str(output))}", err=True)


def _about(history: LocalHistory, wanted: Filter, silences: list[dict[str, object]]) -> dict[str, Any]:
    host = os.uname()
    gone = history.pruned()
    return {
        "made": utc_text(clock.wall_ns()),
        "execaudit": __version__,
        "schema": history.schema(),
        "query": {
            "arguments": sys.argv[1:],
            "since": None if wanted.since_ns is None else utc_text(wanted.since_ns),
            "until": None if wanted.until_ns is None else utc_text(wanted.until_ns),
            "limit": wanted.limit,
        },
        "host": {
            "name": host.nodename,
            "kernel": host.release,
            "machine": host.machine,
            "machine_id_hash": _machine(),
            "time_zone": time.strftime("%Z %z"),
            "boot_ids": [*dict.fromkeys(_boots(history))],
            "recorded_by": history.versions(()),
        },
        "not_recorded": silences,
        "pruned": None if gone is None else {"execs": gone.execs, "until": utc_text(gone.until_ns)},
    }


def _boots(history: LocalHistory) -> Iterator[str]:
    return (boot for (boot,) in history.connection.execute("SELECT boot_id FROM run ORDER BY id"))


def _machine() -> str | None:
    """Returns what tells machines apart and does not say the machine id."""
    try:
        raw = _MACHINE_ID.read_bytes().strip()
    except OSError:
        return None
    return hmac.new(raw, _APPLICATION, "sha256").hexdigest()
