"""What `execaudit report` writes, and what it says beside that on stderr."""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import replace
from datetime import timezone
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from execaudit import __version__
from execaudit.cli.run import missing, proof_text
from execaudit.cli.run.build_filter import build_filter
from execaudit.cli.run.new_file import opened, refuse_existing
from execaudit.cli.run.progress import answering, bar
from execaudit.cli.run.proof_text import Proof
from execaudit.cli.run.references import number_of
from execaudit.enums import Kind
from execaudit.escaping import printable, shell_words
from execaudit.fields import FIELDS
from execaudit.output import notices
from execaudit.output.cells import user_text
from execaudit.output.program import what_ran
from execaudit.output.summary_line import status_text, went_wrong
from execaudit.query.expression import And, Not, OneOf
from execaudit.query.filter import Filter
from execaudit.report import columns, gather, page
from execaudit.report.summary import Scope, counted, span_text, thinned_text, utc
from execaudit.report.summary import summary as summarise
from execaudit.sizes import size_text
from execaudit.system import clock
from execaudit.times import utc_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from execaudit.cli.run.missing import Bounded
    from execaudit.cli.run.proof import Verifier
    from execaudit.cli.run.proof_text import Vouched
    from execaudit.query.history import History
    from execaudit.report.gather import Gathered, Hit

_LONGEST_COMMAND, _MOST_GAPS = 2_000, 500
_GAP = "gap: "
_STARTED = Not(OneOf("kind", (Kind.FAILED,)))


class Said(NamedTuple):
    """What the user says of an incident, and which execs matter."""

    title: str | None
    author: str | None
    notes: tuple[str, ...]
    marks: tuple[str, ...]
    rules: tuple[str, ...]
    configured: Sequence[str]
    """Options that the configuration set."""


class Target(NamedTuple):
    """Where the report goes."""

    output: Path | None
    """None: standard output."""
    force: bool
    """A file that is there is replaced."""


def write(history: History, values: dict[str, Any], said: Said, target: Target, verifier: Verifier) -> None:
    """Writes the report, and says on stderr what is missing in its range, and how large it is.

    Raises FilterError; ExecauditError for an exec that is not in the history, or a file that is there.
    """
    output = target.output
    if not target.force and output is not None:
        refuse_existing(output)
    wanted = build_filter(values, history)
    marks = [number_of(history, text, wanted.since_ns, wanted.until_ns) for text in said.marks]
    asked = missing.bounded(history, wanted)
    lacks = missing.Missing(history, wanted)
    missed = lacks.news()
    missing.say(missed)
    missing.warn_of_pruning(history, wanted)
    vouched = verifier.look(history, asked.wanted, marks=marks)
    hits = [*_hits(history, asked.wanted, said.rules)]
    answering(history)  # it has a bar
    label = None if output is None else f"Reading for {printable(output.name)}"
    beside = gather.Asked(marks, hits, clock.wall_ns(), wanted.since_ns if _is_of_all(wanted) else None)
    with bar(label, lambda: history.count(asked.wanted)) as advance:
        gathered = gather.gather(history, asked.wanted, beside, advance)
    lines = [notices.missing_line(each, timezone.utc).removeprefix(_GAP) for each in missed]
    gone = history.pruned()
    is_pruned = gone is not None and (wanted.since_ns is None or wanted.since_ns < gone.until_ns)
    if gone is not None and is_pruned:
        lines.append(notices.pruned_line(*gone, timezone.utc))
    data = columns.inert_json(_data(gathered, asked, [*lacks.records(missed)], lines, vouched))
    text = page.render(_page(history, gathered, asked, said, _Texts(lines, len(missed), vouched, data)))
    with opened(output, force=target.force) as out:
        out.file.write(text)
    asked.say()
    proof_text.say(vouched)
    if output is not None and out.is_new:
        execs = "1 exec" if len(gathered.columns) == 1 else f"{len(gathered.columns)} execs"
        click.echo(f"wrote {execs} to {printable(str(output))}, {size_text(len(text))}", err=True)
        click.echo(f"SHA-256 of its data: {_hash(data)}", err=True)
        if gathered.chosen.kept:
            click.echo(
                f"the range has {gathered.stats.execs} execs: the report says which are left out", err=True
            )


def _is_of_all(wanted: Filter) -> bool:
    return replace(wanted, since_ns=None, until_ns=None, reverse=False) == Filter()


def _hits(history: History, wanted: Filter, rules: Sequence[str]) -> Iterator[Hit]:
    """Yields what rules hit in the range, one more than are shown at most."""
    if not rules:
        return
    # Most reports hunt nothing, and what hunts is an extra.
    from execaudit.cli.run import hunt  # noqa: PLC0415
    from execaudit.hunt.paged import hunt_of  # noqa: PLC0415

    read = hunt.read(rules, level=None)
    where = _STARTED if wanted.where is None else And((wanted.where, _STARTED))
    of_rules = replace(wanted, where=where, limit=None, reverse=False)
    found = hunt_of(history, read.sieve, of_rules, read.correlations).hits()
    for hit in islice(found, gather.MOST_HITS + 1):
        yield gather.Hit(hit.number, hit.rule.title, hit.rule.level, tuple(hit.rule.tags))


class _Texts(NamedTuple):
    missing: list[str]
    gaps: int
    """So many of these are gaps; the last may be about what was pruned."""
    seals: Sequence[Vouched]
    data: str


def _data(
    gathered: Gathered,
    asked: Bounded,
    gaps: Sequence[dict[str, object]],
    lines: Sequence[str],
    seals: Sequence[Vouched],
) -> dict[str, object]:
    wanted, density = asked.wanted, gathered.density
    return {
        "format": 1,
        "rows": len(gathered.columns),
        "names": [field.name for field in FIELDS],
        "meanings": {field.name: field.meaning for field in FIELDS},
        "from": None if wanted.since_ns is None else utc_text(wanted.since_ns),
        "to": None if wanted.until_ns is None else utc_text(wanted.until_ns),
        "reverse": wanted.reverse,
        "columns": gathered.columns.encoded(),
        "context": gathered.context,
        "onward": gathered.onward,
        "marked": gathered.marked,
        "hits": gathered.hits,
        "gaps": columns.gap_rows(gaps, lines[: len(gaps)]),
        "seals": [proof_text.record(each) for each in seals],
        "density": None
        if density is None
        else {
            "from": density.from_ns / 1e9,
            "width": density.width_ns / 1e9,
            "execs": density.execs,
            "failed": density.failed,
        },
    }


def _hash(data: str) -> str:
    return hashlib.sha256(data.encode("ascii")).hexdigest()


def _page(history: History, gathered: Gathered, asked: Bounded, said: Said, texts: _Texts) -> page.Page:
    hosts = gathered.columns.hosts()
    span = _span(gathered, asked)
    scope = Scope(span, hosts, not _is_of_all(asked.wanted), texts.gaps, len(texts.missing) > texts.gaps)
    where = ", ".join(hosts) if hosts else "no host"
    title = said.title or f"Execs on {where}" + ("" if span is None else f", {span_text(*span)}")
    return page.Page(
        title=_shown(title),
        author=None if said.author is None else _shown(said.author),
        made=utc(clock.wall_ns())[:-4],
        summary=summarise(gathered, scope),
        warnings=[*_unproved(texts.seals), *_warnings(gathered)],
        notes=["\n".join(map(_shown, note.split("\n"))) for note in said.notes],
        marked=[*_marked(gathered)],
        missing=[*_missing(texts.missing)],
        seals=[*map(_sentence, proof_text.lines(texts.seals, utc))],
        about=[*_about(history, gathered, asked, said, texts)],
        data=texts.data,
    )


def _missing(lines: Sequence[str]) -> Iterator[str]:
    """Yields the lines about what is missing; of very many the latest."""
    older = len(lines) - _MOST_GAPS
    if older > 0:
        yield f"{older:,} more before these: `execaudit stats` lists all."
    yield from (f"{_capital(line)} (UTC)." for line in lines[-_MOST_GAPS:])


def _capital(line: str) -> str:
    return line[:1].upper() + line[1:]


def _sentence(line: str) -> str:
    return f"{_capital(line)}."


def _unproved(seals: Sequence[Vouched]) -> Iterator[str]:
    """Yields what the reader must know first."""
    if any(each.proof is Proof.NOT_PROVED for each in seals):
        yield "This report is not proved: something was changed, or no key vouches for it. See below."


def _shown(text: str) -> str:
    """Returns a text of the command line, safe to show."""
    return printable(os.fsencode(text))


def _span(gathered: Gathered, asked: Bounded) -> tuple[int, int] | None:
    """Returns the range that the report is about: what was asked for, else what there is."""
    since, until = asked.wanted.since_ns, asked.wanted.until_ns
    times = gathered.columns.times()
    start, end = (since, until) if times is None else (since or times[0], until or times[1] + 999_999_999)
    return None if start is None or end is None else (start, end)


def _warnings(gathered: Gathered) -> Iterator[str]:
    thinned = thinned_text(gathered.chosen.kept, gathered.stats.execs)
    if thinned is not None:
        yield thinned
    if gathered.more_hits:
        yield f"Rules hit more than {gather.MOST_HITS:,} times: the first {gather.MOST_HITS:,} are here."
    if gathered.columns.cut:
        yield (
            f"Long command lines and paths are cut in this report ({counted(gathered.columns.cut, 'exec')}):"
            f" command lines to {gathered.longest:,} bytes. `execaudit show ID` has them whole."
        )


def _marked(gathered: Gathered) -> Iterator[page.Marked]:
    for row, event in zip(gathered.marked, gathered.events, strict=True):
        command = what_ran(event).text
        if len(command) > _LONGEST_COMMAND:
            command = f"{command[:_LONGEST_COMMAND]}[...{len(command) - _LONGEST_COMMAND} more characters...]"
        yield page.Marked(
            row,
            utc(event.time_ns),
            user_text(event.launch.user, event.launch.uid),
            event.pid,
            status_text(event),
            went_wrong(event),
            command,
            event.id,
        )


def _about(
    history: History, gathered: Gathered, asked: Bounded, said: Said, texts: _Texts
) -> Iterator[tuple[str, str]]:
    wanted = asked.wanted
    words = shell_words([b"execaudit", *map(os.fsencode, sys.argv[1:])])
    yield "Command", " ".join(words)
    if said.configured:
        yield "Set by the configuration", ", ".join(said.configured)
    start = "the beginning" if wanted.since_ns is None else utc_text(wanted.since_ns)
    end = "the end" if wanted.until_ns is None else utc_text(wanted.until_ns)
    yield "Range", f"{start} to {end}"
    if asked.complete_ns is not None:
        yield "Complete until", utc_text(asked.complete_ns)
    context = len(gathered.context)
    found = len(gathered.columns) - context
    yield "Execs", f"{found:,} that the query found, and {context:,} that led to them or were marked"
    versions = ", ".join(map(printable, history.versions(wanted.hosts))) or "none"
    yield "Made by", f"execaudit {__version__}, schema {history.schema()}"
    yield "Recorded by", f"execaudit {versions}"
    yield "SHA-256 of the data", _hash(texts.data)
