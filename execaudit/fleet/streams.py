"""The streams of a central database: the histories of its hosts, and the place of each in an answer."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit.fleet.answer_pages import Live
from execaudit.query import globs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from execaudit.fleet.conditions import Conditions
    from execaudit.fleet.engine import Engine

_COLUMNS = ("stream", "host", "contact_ns", "live_run", "lost_ns", "continued")


class Stream(NamedTuple):
    """One history of one host."""

    number: int
    host: bytes
    """Its last name."""
    contact_ns: int
    """Wall clock: until then, what happened there has arrived."""
    live: Live


class Streams:
    """All streams, as they were when the connection was opened."""

    def __init__(self, engine: Engine) -> None:
        """Raises StoreError."""
        columns = ", ".join(f'"{name}"' for name in _COLUMNS)
        rows = engine.rows(f"SELECT {columns} FROM {engine.dialect.table('stream')}", {})  # noqa: S608  # ours
        # The place is a part of each exec's number, so it stays.
        self.all = sorted(map(_stream, rows), key=lambda each: (each.host, each.number))
        self.places = {each.number: place for place, each in enumerate(self.all)}
        """The place of each stream, by its number."""
        self.live = {each.number: each.live for each in self.all}

    def visible(self, conditions: Conditions, chosen: Sequence[Stream], alias: str = "e") -> list[str]:
        """Returns the conditions for what is of the chosen streams."""
        if len(chosen) == len(self.all) > 1:
            return []
        return [conditions.one_of(f'{alias}."stream"', [each.number for each in chosen])]

    def of_hosts(self, engine: Engine, hosts: Sequence[str]) -> list[Stream]:
        """Returns the streams of hosts that one of the globs names, whatever they were called before."""
        # Not DISTINCT: over shards of 2018 it fails together with FINAL.
        sql = f'SELECT "stream", "host" FROM {engine.dialect.table("run")} GROUP BY "stream", "host"'  # noqa: S608  # ours
        rows = engine.rows(sql, {})
        is_meant = globs.matching(tuple(map(os.fsencode, hosts)))
        found = {stream for stream, host in rows if is_meant(host)}
        return [each for each in self.all if each.number in found or is_meant(each.host)]


def _stream(row: Sequence[Any]) -> Stream:
    number, host, contact_ns, live_run, lost_ns, continued = row
    return Stream(number, host, contact_ns, Live(live_run, lost_ns or 0, _seqs(continued)))


def _seqs(text: bytes) -> frozenset[int]:
    """Returns what is in `continued`; of a text that makes no sense nothing: a forwarder may mean harm."""
    try:
        return frozenset(map(int, json.loads(text or b"[]")))
    except (OverflowError, RecursionError, TypeError, ValueError):
        return frozenset()
