"""A standby takes over that lacks the last second of the server: what it lacks is shipped again, once."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from execaudit.central.tables import EXEC
from tests.fleet.centre import Centre, assert_same, forwarding, make_central, ship
from tests.fleet.proxies import Proxy
from tests.fleet.recording import appended
from tests.fleet.servers import LOOPBACK, PostgresServer, as_ordinary_user, debian_postgres, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.long_fleet

PATIENCE_SECONDS = 60


def _standby_of(primary: PostgresServer) -> PostgresServer:
    """Returns a server that follows another one, as pg_basebackup makes it."""
    standby = PostgresServer(programs=primary.programs)
    subprocess.run(["rm", "-r", standby.data], check=True)
    subprocess.run(
        as_ordinary_user(
            primary.programs / "pg_basebackup", "--pgdata", standby.data, "--write-recovery-conf", "--checkpoint=fast",
            "--wal-method=stream", "--no-sync", "--host", LOOPBACK, "--port", str(primary.port), "--username=postgres",
            death="KILL",
        ),
        cwd=primary.folder,
        check=True,
        capture_output=True,
    )  # fmt: skip
    return standby


@pytest.fixture(params=["18", "15"])
def both(request: pytest.FixtureRequest) -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """Returns a server with a central database, and its standby, which follows it asynchronously."""
    primary = PostgresServer(
        "wal_level=replica", programs=debian_postgres() if request.param == "15" else None
    )
    with ExitStack() as stack:
        stack.enter_context(running(primary))
        make_central(primary.url(primary.new_database()))
        standby = _standby_of(primary)
        stack.enter_context(running(standby))
        yield primary, standby


def _await(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def _promoted(primary: PostgresServer, standby: PostgresServer) -> None:
    primary.kill()
    with standby.connect() as connection:
        connection.execute("SELECT pg_promote()")


@pytest.mark.parametrize("runs", [False, True], ids=["once", "goes on"])
def test_a_standby_that_lost_the_last_second_gets_it_again(
    both: tuple[PostgresServer, PostgresServer], tmp_path: Path, *, runs: bool
) -> None:
    """Exactly once: from a forwarder that runs through it, and from one that begins after it."""
    primary, standby = both
    path = tmp_path / "x.db"
    first, second = (Centre(each.url("test_1")) for each in both)
    appended(path, 1, 200)
    with ExitStack() as stack:
        # The address of the one that writes, as a name or a balancer gives it.
        proxy = Proxy(primary.port)
        port = stack.enter_context(proxy.serving())
        url = primary.url("test_1", port=port)
        child = None
        if runs:
            child = forwarding(path, url)
            stack.callback(os.waitpid, child, 0)
            stack.callback(os.kill, child, signal.SIGKILL)
            first.await_execs(200)
        else:
            ship(path, url)
        _await(lambda: 200 == len(second.table(EXEC)))
        # What is shipped now never reaches the standby.
        with standby.connect() as connection:
            connection.execute("ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port=1'")
            connection.execute("SELECT pg_reload_conf()")
            _await(lambda: not connection.execute("SELECT FROM pg_stat_wal_receiver").fetchall())
        appended(path, 201, 300)
        if runs:
            first.await_execs(300)
        else:
            ship(path, url)
            assert_same(path, first)
        assert 200 == len(second.table(EXEC))
        _promoted(primary, standby)
        proxy.target = standby.port
        appended(path, 301, 350)
        if runs:
            second.await_execs(350)
        else:
            ship(path, url)
    ship(path, standby.url("test_1"))
    assert_same(path, second)


def test_a_standby_is_no_place_to_ship_to(
    both: tuple[PostgresServer, PostgresServer], tmp_path: Path
) -> None:
    """Until it is promoted: one line says so. It can be asked."""
    from tests.commands import execaudit  # noqa: PLC0415  # beside its use

    primary, standby = both
    path = tmp_path / "x.db"
    appended(path, 1, 20)
    ship(path, primary.url("test_1"))
    appended(path, 21, 30)
    done = execaudit(f"--db={path}", "forward", f"--to={standby.url('test_1')}", "--once")
    assert (1, True) == (done.status, done.failed_in_one_line())
    assert b"only reads" in done.err
    _await(lambda: 20 == len(Centre(standby.url("test_1")).table(EXEC)))
    asked = [execaudit(f"--db={each.url('test_1')}", "query", "--format=jsonl").out for each in both]
    assert asked[0] == asked[1]
    _promoted(primary, standby)
    ship(path, standby.url("test_1"))
    assert_same(path, Centre(standby.url("test_1")))
