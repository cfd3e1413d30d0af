"""Until when an export of a fleet is complete, and whom it waits for."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from execaudit.event import Nanoseconds
from tests.commands import execaudit
from tests.fleet.centre import Centre, make_central, ship
from tests.histories import make_event, make_history

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fleet.servers import PostgresServer

_SECOND, _MINUTE = 10**9, 60 * 10**9
_COMPLETE = re.compile(rb"complete until .*: go on with --since @(\d+)\.(\d{9})\n")


class Fleet(NamedTuple):
    """Two hosts that ship to a central database."""

    centre: Centre
    folder: Path
    now: int

    def ship(self, host: str, *times: int) -> None:
        """Has a host ship that so many execs in all happened at these times, until now."""
        events = [
            make_event(b"a", host=host, time_ns=Nanoseconds(ns), boot_ns=Nanoseconds(n), pid=n + 1)
            for n, ns in enumerate(times)
        ]
        path = self.folder / f"{host}-{len(times)}.db"
        ship(make_history(path, events), self.centre.url)
        self.heard(host, self.now, self.now)

    def heard(self, host: str, contact_ns: int, seen_ns: int) -> None:
        """Sets when a host was heard of, and until when its recorder, which goes on, had stored all then."""
        raw = host.encode()
        self.centre.rows(
            'UPDATE "stream" SET "live_run" = 1, "contact_ns" = %s WHERE "host" = %s RETURNING 1',
            contact_ns,
            raw,
        )
        self.centre.rows(
            'UPDATE "run" SET "stopped_ns" = NULL, "seen_ns" = %s WHERE "host" = %s RETURNING 1', seen_ns, raw
        )

    def export(self, *words: str) -> tuple[bytes, int, list[bytes]]:
        """Exports. Returns it, until when it is complete, and what else is said."""
        done = execaudit("--db", self.centre.url, "export", "--format", "jsonl", *words, silence=True)
        assert done.status == 0, done.err
        (until,) = _COMPLETE.findall(done.err)
        said = [line for line in done.err.splitlines() if line.startswith((b"held", b"not waited"))]
        return done.out, int(b"".join(until)), said


@pytest.fixture
def fleet(postgres: PostgresServer, tmp_path: Path) -> Iterator[Fleet]:
    """Two hosts that do well."""
    name = postgres.new_database()
    found = Fleet(Centre(make_central(postgres.url(name))), tmp_path, time.time_ns())
    for host in ("web1", "web2"):
        found.ship(host, found.now - 9 * _MINUTE, found.now - 8 * _MINUTE)
    yield found
    postgres.drop_database(name)


def test_an_export_goes_as_far_as_the_host_that_was_heard_of_least(fleet: Fleet) -> None:
    """It is named when that is long ago. Of other hosts an export goes on."""
    fleet.heard("web1", fleet.now - 20 * _SECOND, fleet.now - 30 * _SECOND)
    assert fleet.export()[1:] == (fleet.now - 30 * _SECOND - _SECOND // 10, [])

    fleet.heard("web1", fleet.now - 5 * _MINUTE, fleet.now - 6 * _MINUTE)
    said = [b"held up by web1: nothing later has come from there"]
    assert fleet.export()[1:] == (fleet.now - 6 * _MINUTE - _SECOND // 10, said)
    assert fleet.export("--host", "web2")[1:] == (fleet.now - _SECOND // 10, [])
    assert fleet.export("--host", "w*1")[1:] == (fleet.now - 6 * _MINUTE - _SECOND // 10, said)


def test_a_host_that_is_behind_holds_up_an_export(fleet: Fleet) -> None:
    """What it has not shipped is later than what it has."""
    fleet.centre.rows("UPDATE stream SET last_seq = 7 WHERE host = 'web2' RETURNING 1")

    assert fleet.export()[1:] == (
        fleet.now - 8 * _MINUTE - _SECOND // 10,
        [b"held up by web2: nothing later has come from there"],
    )


def test_a_dead_host_stops_no_export(fleet: Fleet) -> None:
    """After a quarter of an hour it is left out, and named each time until it is retired."""
    fleet.heard("web1", fleet.now - 16 * _MINUTE, fleet.now - 17 * _MINUTE)
    _, until, (said,) = fleet.export()
    assert until == fleet.now - _SECOND // 10
    assert said.startswith(b"not waited for: web1: not heard of for 15min: ")

    assert execaudit("--db", fleet.centre.url, "fleet", "forget", "web1").status == 0
    assert fleet.export()[1:] == (fleet.now - _SECOND // 10, [])


def test_an_answer_to_a_person_waits_for_no_host(fleet: Fleet) -> None:
    """Two minutes are enough. Hosts of which something is missing are named all the same."""
    fleet.heard("web1", fleet.now - 5 * _MINUTE, fleet.now - 5 * _MINUTE)
    done = execaudit(
        "--db", fleet.centre.url, "query", "--format", "table", "--until", "5s", "--since", "1h", silence=True
    )

    assert b"complete until" not in done.err
    assert b"gap: nothing of web1 has come since " in done.err


def test_exports_that_follow_each_other_lose_nothing(fleet: Fleet) -> None:
    """Though a host ships late, and another one is behind."""
    fleet.heard("web1", fleet.now - 5 * _MINUTE, fleet.now - 5 * _MINUTE)
    first, until, _ = fleet.export()
    with_late = [fleet.now - minutes * _MINUTE for minutes in (9, 8, 4, 3)]
    fleet.centre.rows("DELETE FROM stream WHERE host = 'web1' RETURNING 1")
    fleet.centre.rows("DELETE FROM run WHERE host = 'web1' RETURNING 1")
    fleet.centre.rows("DELETE FROM exec WHERE host = 'web1' RETURNING 1")
    fleet.ship("web1", *with_late)
    second, _, said = fleet.export("--since", f"@{until // _SECOND}.{until % _SECOND:09d}")

    assert [row for row in (first + second).splitlines() if b'"kind":"exec"' in row and b'"web1"' in row] == [
        row
        for row in execaudit(
            "--db", fleet.centre.url, "query", "--host", "web1", "--format", "jsonl"
        ).out.splitlines()
        if b'"kind":"exec"' in row
    ]
    assert said == []


def test_an_empty_centre_says_what_to_do(postgres_database: str) -> None:
    """No recorder is to be started there."""
    url = make_central(postgres_database)
    done = execaudit("--db", url, "query", "--format", "table", silence=True)

    assert done.err == b"gap: no host has shipped anything here yet: see `execaudit forward`\n0 execs\n"
