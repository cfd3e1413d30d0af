"""`execaudit export`: the same filters, into a file."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from execaudit import query, render
from execaudit.cli.options import State, build_filter, config_option, db_option, filter_options
from execaudit.cli.query import warn_of_gaps, write
from execaudit.errors import ExecauditError
from execaudit.reader import open_history

if TYPE_CHECKING:
    from collections.abc import Iterator

_FORMATS = (render.Format.CSV, render.Format.JSONL)


@click.command("export")
@filter_options
@click.option(
    "--format", "fmt", type=click.Choice([fmt.value for fmt in _FORMATS]), default="csv", show_default=True,
)  # fmt: skip
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="[default: standard output]"
)
@click.option("--raw", is_flag=True, help="CSV: exact values, though a spreadsheet may run them.")
@config_option
@db_option
@click.pass_obj
def command(state: State, /, fmt: str, output: Path | None, *, raw: bool, **values: Any) -> None:  # noqa: ANN401  # the filters
    """Write execs to a file for an incident review.

    The file appears under its name when it is complete. Without --raw, CSV cells that a
    spreadsheet would run as a formula get an apostrophe before them.
    """
    with open_history(state.database()) as connection:
        wanted = build_filter(values, lambda text: query.user_match(connection, text))
        warn_of_gaps(connection, wanted)
        events = (found.event for found in query.find(connection, wanted))
        if output is None or not sys.stderr.isatty():
            progress = contextlib.nullcontext(events)
        else:
            progress = click.progressbar(
                events,
                length=query.count(connection, wanted),
                label=f"Writing {output.name}",
                file=sys.stderr,
            )
        with _opened(output) as file, progress as seen:
            for piece in write(render.Format(fmt), iter(seen), raw=raw):
                file.write(piece)


@contextlib.contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    """Opens what is written to; a regular file takes its name when all is written."""
    if output is None:
        yield sys.stdout
        return
    special = output.exists() and not stat.S_ISREG(output.stat().st_mode)
    target = output if special else output.with_name(f"{output.name}.partial")
    try:
        # Command lines hold secrets: others do not read them.
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    except OSError as exc:
        raise ExecauditError(f"cannot write {target}: {exc.strerror}: name another file with -o") from exc
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            yield file
        if not special:
            target.replace(output)
    except BaseException:
        if not special:
            target.unlink(missing_ok=True)
        raise
