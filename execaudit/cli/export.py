"""`execaudit export`: the same filters, into a file."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from execaudit.cli.context import State, config_option, db_option
from execaudit.cli.filter_options import build_filter, filter_options
from execaudit.errors import ExecauditError
from execaudit.escaping import printable
from execaudit.output.format import Format

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from execaudit.query.filter import Filter

_FORMATS = (Format.CSV, Format.JSONL)


@click.command("export")
@filter_options
@click.option(
    "--format",
    "fmt",
    type=click.Choice([fmt.value for fmt in _FORMATS]),
    default="csv",
    show_default=True,
    help="How to write them.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="Where to; - is standard output.  [default: -]",
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
    from execaudit.cli.run import missing  # noqa: PLC0415
    from execaudit.output import export  # noqa: PLC0415  # see answer
    from execaudit.output.json_lines import json_text  # noqa: PLC0415

    if str(output) == "-":
        output = None
    with state.history() as connection:
        wanted = build_filter(values, connection)
        asked = missing.bounded_export(connection, wanted)
        lacks = missing.Missing(connection, wanted)
        missed = lacks.news()
        missing.say(missed)
        missing.warn_of_pruning(connection, wanted)
        with _opened(output) as file:
            pieces = export.pieces(
                state.database(), connection, asked.wanted, Format(fmt), raw=raw, encoding=file.encoding
            )
            with contextlib.closing(pieces), _progress(connection, asked.wanted, output) as advance:
                for items, text in pieces:
                    file.buffer.write(text)
                    advance(items)
            if Format(fmt) is Format.JSONL:
                file.writelines(f"{json_text(record)}\n" for record in lacks.records(missed))
        if Format(fmt) is Format.CSV and output is not None and output.is_file() and file is not sys.stdout:
            _write_gaps(output, lacks.records(missed), raw=raw)
        asked.say()


def _write_gaps(output: Path, records: Iterable[Mapping[str, object]], *, raw: bool) -> None:
    """Writes what is missing into a file beside the CSV file, which has no place for it."""
    from execaudit.output.csv_lines import gaps_csv  # noqa: PLC0415  # see answer

    real = Path(os.path.realpath(output))
    with _opened(real.with_name(f"{real.name.removesuffix('.csv')}.gaps.csv")) as file:
        file.writelines(gaps_csv(records, raw=raw))


@contextlib.contextmanager
def _progress(
    connection: sqlite3.Connection, wanted: Filter, output: Path | None
) -> Iterator[Callable[[int], None]]:
    """Shows a bar on a terminal; it is told how many more were written."""
    if output is None or not sys.stderr.isatty():
        yield lambda _items: None
        return
    from execaudit.query import find  # noqa: PLC0415  # see answer

    length, label = find.count(connection, wanted), f"Writing {printable(output.name)}"
    with click.progressbar(length=length, label=label, file=sys.stderr) as bar:
        yield bar.update


@contextlib.contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    """Opens what is written to; a regular file takes its name when all is written."""
    if output is None or _is_standard_output(output):
        yield sys.stdout
        return
    try:
        device = output.exists() and not output.is_file()
        # Through a link, which stays one.
        opened = _text_file(output, 0) if device else _replacing(Path(os.path.realpath(output)))
        with opened as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise ExecauditError(f"cannot write {output}: {exc.strerror}: name another file with -o") from exc


def _is_standard_output(path: Path) -> bool:
    """Says whether a path such as /dev/stdout names what is standard output already."""
    try:
        return os.path.samestat(path.stat(), os.fstat(sys.stdout.fileno()))
    except OSError:
        return False


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[TextIO]:
    """Opens a new file that takes the path's place at the end, or vanishes with an exception."""
    new = path.with_name(f".execaudit-{os.urandom(8).hex()}")
    try:
        with _text_file(new, os.O_CREAT | os.O_EXCL) as file:
            yield file
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _text_file(path: Path, flags: int) -> TextIO:
    # Command lines hold secrets: others do not read them.
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC | flags, 0o640)
    return os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace", newline="")
