"""What `execaudit export` writes, and the files that it writes to."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from execaudit.cli.run import missing, proof_text
from execaudit.cli.run.build_filter import build_filter
from execaudit.cli.run.new_file import Out, is_standard_output, opened, refuse_existing
from execaudit.cli.run.progress import answering, bar
from execaudit.errors import ExecauditError
from execaudit.escaping import printable
from execaudit.event import Nanoseconds
from execaudit.output import export
from execaudit.output.csv_lines import gaps_csv
from execaudit.output.format import Format
from execaudit.output.json_lines import json_text
from execaudit.query import find
from execaudit.query.filter import Filter
from execaudit.sizes import size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from execaudit.cli.run.proof import Verifier
    from execaudit.query.history import History

# What spreadsheets keep of a cell: https://support.microsoft.com/office/1672b34d-7043-467e-8e27-269d656771c3
_LONGEST_CELL = 32_767
# Not with the csv module, which refuses a cell of more than 128 KB.
_CELL = re.compile(rb'"([^"]*(?:""[^"]*)*)"|([^,"]+)')


class Target(NamedTuple):
    """Where the execs go, and how they are written."""

    fmt: Format
    output: Path | None
    """None: standard output."""
    columns: tuple[str, ...] | None
    """Only these fields of the record; None: all."""
    raw: bool
    bom: bool
    force: bool
    """Files that are there are replaced."""


def _characters(cell: re.Match[bytes]) -> int:
    raw = cell[2] if cell[1] is None else cell[1].replace(b'""', b'"')
    return len(raw.decode("utf-8", "replace"))


class _More(NamedTuple):
    """What is written besides the execs: records of gaps, and of seals."""

    gaps: Sequence[Mapping[str, Any]]
    seals: Sequence[Mapping[str, Any]]


class _Beside(NamedTuple):
    """The files beside the output for these."""

    gaps: Path
    seals: Path


class _Written:
    """Counts what was written."""

    def __init__(self) -> None:
        self.execs = self.bytes = self.long_cells = 0

    def count_long_cells(self, text: bytes) -> None:
        """Counts the cells of CSV that spreadsheets would cut."""
        for line in text.split(b"\n"):
            if len(line) > _LONGEST_CELL:
                self.long_cells += sum(_characters(cell) > _LONGEST_CELL for cell in _CELL.finditer(line))


def write(history: History, values: dict[str, Any], target: Target, verifier: Verifier) -> None:
    """Writes what the options ask for. Says on stderr what is missing, how much it is, and if it is proved.

    Raises FilterError; ExecauditError.
    """
    output = target.output
    beside = None if output is None or is_standard_output(output) else _beside(target.fmt, output)
    if not target.force and output is not None:
        refuse_existing(output, *beside or ())
    wanted = build_filter(values, history)
    asked = missing.bounded_export(history, wanted)
    lacks = missing.Missing(history, wanted)
    missed = lacks.news()
    missing.say(missed)
    missing.warn_of_pruning(history, wanted)
    answering(history)  # it has a bar
    vouched = verifier.look(history, asked.wanted)
    more = _More([*lacks.records(missed)], [proof_text.record(each) for each in vouched])
    with opened(output, force=target.force) as out:
        written = _write(history, asked.wanted, target, out, more)
    if beside is not None and out.is_new:
        _write_gaps(beside.gaps, more.gaps, target)
        _write_seals(beside.seals, more.seals, target)
    asked.say()
    proof_text.say(vouched)
    if written.long_cells:
        cells = "1 cell has" if written.long_cells == 1 else f"{written.long_cells} cells have"
        click.echo(
            f"{cells} more than the {_LONGEST_CELL} characters that spreadsheets keep: --format jsonl is for other programs",
            err=True,
        )
    if output is not None and out.is_new:
        execs = "1 exec" if written.execs == 1 else f"{written.execs} execs"
        click.echo(f"wrote {execs} to {printable(str(output))}, {size_text(written.bytes)}", err=True)


def _write(history: History, wanted: Filter, target: Target, out: Out, more: _More) -> _Written:
    label = None if target.output is None else f"Writing {printable(target.output.name)}"
    with bar(label, lambda: history.count(wanted)) as advance:
        if target.fmt is Format.PARQUET:
            return _write_parquet(history, wanted, target, out, more, advance)
        written = _Written()
        maker = export.maker(
            target.fmt,
            target.columns,
            raw=target.raw,
            encoding=out.encoding,
            epoch_ns=_epoch(history, wanted),
            seals=more.seals,
        )

        def put(text: bytes) -> None:
            out.file.write(text)
            written.bytes += len(text)

        if target.bom:
            put(codecs.BOM_UTF8)
        with contextlib.closing(export.blocks(history, wanted, maker)) as blocks:
            for execs, text in blocks:
                put(text)
                if target.fmt is Format.CSV:
                    written.count_long_cells(text)
                written.execs += execs
                advance(execs)
        put(maker.gaps(more.gaps) + maker.tail)
        return written


def _write_parquet(  # noqa: PLR0913, PLR0917  # all of an export
    history: History, wanted: Filter, target: Target, out: Out, more: _More, advance: Callable[[int], None]
) -> _Written:
    from execaudit.output.parquet import Parquet  # noqa: PLC0415  # other formats need none of it

    if out.file.isatty():
        raise ExecauditError("Parquet is no text for a terminal", fix="name a file with -o")
    written = _Written()
    with Parquet(out.file, target.columns, seals=more.seals) as parquet:
        for page in history.pages(wanted):
            parquet.add(found.event for found in find.found_of(page))
            written.execs += len(page.rows)
            advance(len(page.rows))
    written.bytes = parquet.bytes
    return written


def _epoch(history: History, wanted: Filter) -> Nanoseconds:
    """Returns from when on a trace counts: the beginning of the range, or of the history."""
    if wanted.since_ns is not None:
        return wanted.since_ns
    first, _ = history.times(Filter()) or (0, 0)
    return Nanoseconds(first)


def _beside(fmt: Format, output: Path) -> _Beside | None:
    """Returns the files beside the output for what is missing and for seals, if the format has no place."""
    if fmt not in (Format.CSV, Format.PARQUET):
        return None
    real = Path(os.path.realpath(output))
    name = real.name.removesuffix(f".{fmt.value}")
    return _Beside(real.with_name(f"{name}.gaps.{fmt.value}"), real.with_name(f"{name}.seal.json"))


def _write_gaps(path: Path, gaps: Sequence[Mapping[str, Any]], target: Target) -> None:
    with opened(path, force=target.force) as out:
        if target.fmt is Format.PARQUET:
            from execaudit.output.parquet import Parquet  # noqa: PLC0415  # as above

            with Parquet(out.file, gaps=True) as parquet:
                parquet.add_gaps(gaps)
            return
        out.file.write(codecs.BOM_UTF8 if target.bom else b"")
        out.file.writelines(
            line.encode(out.encoding, "backslashreplace") for line in gaps_csv(gaps, raw=target.raw)
        )


def _write_seals(path: Path, seals: Sequence[Mapping[str, Any]], target: Target) -> None:
    with opened(path, force=target.force) as out:
        out.file.write(f"{json_text(seals)}\n".encode("ascii"))
