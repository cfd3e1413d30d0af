"""What `execaudit verify FILE` says of a bundle that `execaudit export --bundle` wrote."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from execaudit.bundle import archive, check
from execaudit.cli.run import verify_text
from execaudit.cli.run.progress import bar
from execaudit.cli.run.verification_key import key_of
from execaudit.enums import GapReason
from execaudit.escaping import printable
from execaudit.event import Gap
from execaudit.output import notices
from execaudit.output.json_lines import json_text
from execaudit.output.summary_line import local_text
from execaudit.seal.chain import Head
from execaudit.times import utc_ns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from execaudit.bundle.check import BundleResult

# What somebody else says is no reason to fill the terminal.
_MOST_SAID = 300


def run(path: Path, keys: Sequence[str], heads: Sequence[str], *, as_json: bool) -> bool:
    """Verifies a bundle, and writes what was found. Returns whether it is proved. Raises StoreError."""
    given, noted = [key_of(text) for text in keys], [Head.from_text(text) for text in heads]
    with archive.opened(path) as reader, bar("Verifying", reader.size) as advance:
        found = check.check(reader, given, noted, advance)
    if as_json:
        click.echo(json_text(_record(found)))
        return found.is_verified
    for line in _lines(found):
        click.echo(line)
    for gap in found.gaps:
        click.echo(_gap(gap), err=True)
    return found.is_verified


def _record(found: BundleResult) -> dict[str, object]:
    return {
        **verify_text.record(found.result, (), found.gaps),
        "verified": found.is_verified,
        "records": found.records,
        "by_key": found.by_key if found.result.is_authentic is not None else None,
        "by_head": found.by_head,
        "open": found.open,
        "loose": found.loose,
        "said": found.about,
    }


def _lines(found: BundleResult) -> Iterator[str]:
    result = found.result
    if not result.is_sealed:
        yield "NOT VERIFIED: nothing is sealed in this bundle"
        yield from verify_text.problem_lines(result.problems)
        yield from _said(found.about)
        return
    until = "?" if result.sealed_until_ns is None else local_text(result.sealed_until_ns)
    if found.is_verified:
        yield f"verified: {_count(found.records, 'record is', 'records are')} as sealed, until {until}"
    else:
        yield f"NOT VERIFIED, until {until}: of {_count(found.records, 'record', 'records')}, {result.execs} as sealed"
        yield from verify_text.problem_lines(result.problems)
    yield from _vouched(found)
    yield f"head: {result.head}"
    yield from verify_text.lost_lines(result)
    yield "not proved: that nothing was left out that matched"
    if found.open:
        yield f"not proved: that {_count(found.open, 'program', 'programs')} had not ended: ends may have been left out"
    if found.loose:
        yield f"not proved: what replaced {_count(found.loose, 'program', 'programs')}: it was pruned, or left out"
    yield from _said(found.about)


def _vouched(found: BundleResult) -> Iterator[str]:
    result = found.result
    if result.is_authentic:
        yield "authentic: the key vouches for all records and gaps"
        if result.unkeyed:
            yield "not authentic, only unbroken: what was sealed when there was no key"
        if found.unchecked:
            yield "not authentic, only unbroken: seals of a chain whose key was not given (--key)"
    elif result.is_authentic is False:
        yield f"NOT AUTHENTIC: the key vouches for {found.by_key} of {found.parts} records and gaps"
    if found.by_head is not None:
        yield f"the head vouches for {found.by_head} of {found.parts} records and gaps"
    elif result.is_authentic is None:
        yield (
            "not authentic, only unbroken: give the verification key (--key), or a head that was noted elsewhere"
            " (--head)"
        )
    yield from verify_text.chain_lines(result)


def _count(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"


def _said(about: dict[str, Any]) -> Iterator[str]:
    """Yields what who made the bundle says. Nothing of it need be true, or of any type."""
    host, query = about.get("host"), about.get("query")
    name = host.get("name") if isinstance(host, dict) else None
    arguments = query.get("arguments") if isinstance(query, dict) else None
    if isinstance(arguments, list):
        words = shlex.join(map(str, arguments))
        yield _cut(f"who made it says: execaudit {words}")
    yield _cut(f"who made it says: at {about.get('made')}, on {name}, execaudit {about.get('execaudit')}")
    silences = about.get("not_recorded")
    if isinstance(silences, list) and silences:
        yield f"who made it says: nobody recorded in {_count(len(silences), 'time', 'times')} of that range"


def _cut(text: str) -> str:
    shown = printable(text)
    return shown if len(shown) <= _MOST_SAID else f"{shown[:_MOST_SAID]}..."


def _gap(record: dict[str, Any]) -> str:
    gap = Gap(
        record["host"] or "",
        utc_ns(record["from"]),
        utc_ns(record["to"]),
        GapReason(record["reason"]),
        record["count"],
        record["exits"],
        record["uid"],
    )
    return notices.gap_line(gap, None)
