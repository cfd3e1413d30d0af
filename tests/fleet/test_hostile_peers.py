"""Hosts that went silent, and forwarders of others that mean harm, stop nobody else."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from typing import TYPE_CHECKING

import psycopg
import pytest

from execaudit.forward import postgresql_target
from tests.commands import PATIENCE, execaudit, line_of, running
from tests.families import make_family
from tests.fleet.centre import Centre, assert_same, forwarding, ship
from tests.fleet.proxies import Proxy
from tests.fleet.recording import appended
from tests.fleet.test_central_database import roles
from tests.histories import make_event, make_history

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fleet.servers import PostgresServer


class _Stalling:
    """Holds up what a client sends after it sent some text: a network that dies without a word."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self.is_held = threading.Event()
        self.is_over = threading.Event()
        self._is_next = False

    def watch(self, is_client: bool, piece: bytes) -> bool:  # noqa: FBT001  # as Proxy calls it
        """Lets pieces pass, but for those after the text."""
        if is_client and self._is_next:
            self.is_held.set()
            self.is_over.wait(PATIENCE)
        if is_client and self._text in piece:
            self._is_next = True
        return not self.is_over.is_set()


def test_a_host_that_went_silent_holds_nothing(
    centre: Centre, postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes after it, from a new address, waits for its transaction no longer than a while."""
    monkeypatch.setattr(postgresql_target, "_SILENT_MS", 500)
    path, stalling = tmp_path / "x.db", _Stalling(b'INSERT INTO "stream"')
    appended(path, 1, 50)
    with Proxy(postgres.port, watch=stalling.watch).serving() as port:
        child = forwarding(path, centre.url.replace(f":{postgres.port}/", f":{port}/"))
        try:
            assert stalling.is_held.wait(PATIENCE)
            start = time.monotonic()
            ship(path, centre.url)
            assert time.monotonic() - start < PATIENCE / 3
        finally:
            stalling.is_over.set()
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    assert_same(path, centre)


def test_a_statement_is_given_up_without_a_word(
    centre: Centre, postgres: PostgresServer, tmp_path: Path
) -> None:
    """No library tells that it could not clean up: standard error has the service's own lines."""
    path, stalling = tmp_path / "x.db", _Stalling(b'INSERT INTO "stream"')
    appended(path, 1, 50)
    with Proxy(postgres.port, watch=stalling.watch).serving() as port:
        url = centre.url.replace(f":{postgres.port}/", f":{port}/")
        with running("--db", path, "forward", "--to", url) as process:
            assert b"forwarding" in line_of(process.stderr)
            assert stalling.is_held.wait(PATIENCE)
            process.send_signal(signal.SIGTERM)
            assert 0 == process.wait(PATIENCE)
            assert process.stderr is not None
            assert b"" == process.stderr.read()
            stalling.is_over.set()


def test_a_database_without_an_encoding_does(postgres: PostgresServer, tmp_path: Path) -> None:
    """As initdb makes it where the locale is C."""
    name = f"{postgres.new_database()}_ascii"
    with postgres.connect() as connection:
        connection.execute(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0".encode())
    url, path = postgres.url(name), make_family(tmp_path / "db").path
    assert 0 == execaudit("--db", url, "db", "upgrade").status
    ship(path, url)

    assert execaudit("--db", path, "query").out == execaudit("--db", url, "query").out
    postgres.drop_database(name)


_HARM = (
    "UPDATE stream SET exec_seq = 9223372036854775807 WHERE stream = {theirs}",
    "UPDATE stream SET continued = 'garbage', shifts = 'garbage' WHERE stream = {theirs}",
    "UPDATE run SET started_ns = 0, host = 'nobody' WHERE stream = {theirs}",
    "UPDATE pruned SET execs = 7 WHERE stream = {theirs}",
    "UPDATE program SET first_ts = 9 WHERE stream = {theirs}",
)
_REFUSED = (
    "UPDATE stream SET stream = 5 WHERE stream = {theirs}",
    "INSERT INTO program VALUES ('/tmp/evil', {theirs}, 0)",
    "INSERT INTO gap VALUES ({theirs}, 99, 'h', 1, 2, 'clock', 1, 0, NULL)",
    "INSERT INTO rule VALUES ({theirs}, 1, NULL, 'a', NULL, '[]', 'a')",
    "INSERT INTO run VALUES ({theirs}, 99, 'a', 'b', 'c', 1, NULL, NULL)",
    "INSERT INTO exit VALUES ({theirs}, 1, 1, 1, 1, 0, NULL)",
    "INSERT INTO hit VALUES ({theirs}, 1, 1, 1, 0)",
    "INSERT INTO program VALUES ('/tmp/evil', 12345, 0)",
    "UPDATE stream SET owner = 'postgres'",
)


def test_a_forwarder_writes_into_no_stream_but_its_own(
    centre: Centre, postgres: PostgresServer, tmp_path: Path
) -> None:
    """Each host has a user of its own: what is of another one is neither changed nor added to."""
    suffix = centre.url.rpartition("_")[2]
    users = [f"{name}_{suffix}" for name in ("good", "evil")]
    with psycopg.connect(centre.url, autocommit=True) as owner:
        for statement in roles():
            owner.execute(re.sub(r"execaudit_(forward|read)", rf"\1s_{suffix}", statement).encode())
        for name in users:
            owner.execute(f"CREATE ROLE {name} LOGIN IN ROLE forwards_{suffix}".encode())
    urls = [postgres.url(centre.url.rpartition("/")[2], name) for name in users]
    good, evil = tmp_path / "good.db", tmp_path / "evil.db"
    appended(good, 1, 20)
    ship(good, urls[0])
    assert_same(good, centre)
    before = {
        table: centre.rows(f"SELECT * FROM {table}") for table in ("stream", "run", "pruned", "program")
    }
    ((theirs,),) = centre.rows("SELECT stream FROM stream")
    make_history(evil, [make_event(b"a", host="evil")])
    ship(evil, urls[1])
    with psycopg.connect(urls[1], autocommit=True) as connection:
        for statement in _HARM:
            assert 0 == connection.execute(statement.format(theirs=theirs).encode()).rowcount, statement
        for statement in _REFUSED:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.format(theirs=theirs).encode())
    for table, rows in before.items():
        assert {*rows} <= {*centre.rows(f"SELECT * FROM {table}")}, table
    appended(good, 21, 40)
    ship(good, urls[0])

    assert [*range(1, 41)] == [
        pid for (pid,) in centre.rows(f"SELECT pid FROM exec WHERE stream = {theirs} ORDER BY seq")
    ]


_NONSENSE = (
    "UPDATE stream SET continued = 'garbage'",
    "UPDATE stream SET continued = '[1e400]'",
    "UPDATE gap SET reason = 'none'",
    "UPDATE exec SET kind = 99",
    "UPDATE exec SET boot_id = 'x'",
    "UPDATE exec SET pid = 9223372036854775807",
    "UPDATE exec SET ts = -9223372036854775808",
    "UPDATE exec SET truncated = 1",
)


@pytest.mark.parametrize("statement", _NONSENSE)
def test_what_no_reader_understands_is_not_taken(centre: Centre, tmp_path: Path, statement: str) -> None:
    """Whoever sends it: one row of one host would end the questions about all."""
    appended(tmp_path / "x.db", 1, 3)
    ship(tmp_path / "x.db", centre.url)
    with (
        psycopg.connect(centre.url, autocommit=True) as connection,
        pytest.raises(psycopg.errors.CheckViolation),
    ):
        connection.execute(statement.encode())
