"""What `execaudit export` writes, and the files that it writes to."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from execaudit.cli.run import missing
from execaudit.cli.run.build_filter import build_filter
from execaudit.cli.run.progress import answering, bar
from execaudit.errors import ExecauditError
from execaudit.escaping import printable
from execaudit.output import export
from execaudit.output.csv_lines import gaps_csv
from execaudit.output.format import Format
from execaudit.output.json_lines import json_text
from execaudit.query import find

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping


class Target(NamedTuple):
    """Where the execs go, and how they are written."""

    fmt: Format
    output: Path | None
    """None: standard output."""
    raw: bool


def write(connection: sqlite3.Connection, database: Path, values: dict[str, Any], target: Target) -> None:
    """Writes what the options ask for, and says on stderr what is missing of it.

    The connection is one to the history in the file `database`. Raises FilterError; ExecauditError.
    """
    fmt, output, raw = target
    wanted = build_filter(values, connection)
    asked = missing.bounded_export(connection, wanted)
    lacks = missing.Missing(connection, wanted)
    missed = lacks.news()
    missing.say(missed)
    missing.warn_of_pruning(connection, wanted)
    answering(connection)  # it has a bar
    with _opened(output) as file:
        blocks = export.blocks(database, connection, asked.wanted, fmt, raw=raw, encoding=file.encoding)
        label = None if output is None else f"Writing {printable(output.name)}"
        progress = bar(label, lambda: find.count(connection, asked.wanted))
        with contextlib.closing(blocks), progress as advance:
            for items, text in blocks:
                file.buffer.write(text)
                advance(items)
        if fmt is Format.JSONL:
            file.writelines(f"{json_text(record)}\n" for record in lacks.records(missed))
    if fmt is Format.CSV and output is not None and output.is_file() and file is not sys.stdout:
        _write_gaps(output, lacks.records(missed), raw=raw)
    asked.say()


def _write_gaps(output: Path, records: Iterable[Mapping[str, object]], *, raw: bool) -> None:
    """Writes what is missing into a file beside the CSV file, which has no place for it."""
    real = Path(os.path.realpath(output))
    with _opened(real.with_name(f"{real.name.removesuffix('.csv')}.gaps.csv")) as file:
        file.writelines(gaps_csv(records, raw=raw))


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
        raise ExecauditError(
            f"cannot write {output}: {exc.strerror}", fix="name another file with -o"
        ) from exc


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
