"""Connections to PostgreSQL, and what goes wrong there in one line."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from execaudit.errors import ConfigError, StoreError
from execaudit.escaping import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg
    import sqlalchemy

    from execaudit.database.url import Central

_CONNECT_SECONDS = "10"
LOCK_SECONDS = 90
"""The longest that a statement waits for a lock: longer than a host that went silent has one."""
_READ_ONLY = "-c default_transaction_read_only=on"
# What the host trusts. The OpenSSL of psycopg's wheel looks for `system` in a folder that is not there.
_ROOTS = tuple(
    map(
        Path,
        ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"),
    )
)
# A connection that is gone is noticed after a minute or two, and not after the kernel's two hours.
_ALIVE = {
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "6",
    "tcp_user_timeout": "60000",
}
_TAKE_BACK = "ask again"


@contextlib.contextmanager
def connected(
    location: Central, *, password: str | None = None, reads: bool
) -> Iterator[sqlalchemy.Connection]:
    """Opens a connection that commits each statement, unless a transaction is begun.

    `reads`: it cannot write. Raises StoreError, also for what goes wrong while it is open.
    """
    try:
        import psycopg  # noqa: F401, PLC0415  # heavy, and not on every machine
        import sqlalchemy  # noqa: PLC0415  # heavy
        from sqlalchemy.pool import NullPool  # noqa: PLC0415
    except ImportError as exc:
        raise ConfigError(
            "to use postgresql:// needs the package psycopg, which is not installed",
            fix='install execaudit with its extra: pip install "execaudit[postgresql]"',
        ) from exc
    # What they cannot clean up when a statement is given up, they tell with a traceback.
    for name in ("psycopg", "sqlalchemy"):
        logging.getLogger(name).propagate = False
        logging.getLogger(name).handlers = [logging.NullHandler()]
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://",
        connect_args=_arguments(location, password, reads=reads),
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
    )
    with translated(location), engine.connect() as connection:
        yield connection


def _arguments(location: Central, password: str | None, *, reads: bool) -> dict[str, Any]:
    """Returns what libpq is told."""
    options = dict(location.options)
    # What is not on this host is encrypted, and the server is who it says; unless the URL says otherwise.
    if not location.is_loopback and "sslmode" not in options:
        options["sslmode"] = "verify-full"
    if options.get("sslmode") in {"verify-full", "verify-ca"}:
        roots = "sslrootcert" in options or "PGSSLROOTCERT" in os.environ
        if not roots and not Path("~/.postgresql/root.crt").expanduser().exists():
            options["sslrootcert"] = _roots()
    placed = {
        "host": location.host,
        "port": location.port,
        "user": location.user,
        "dbname": location.database,
        "password": password,
        "options": f"{_READ_ONLY} -c lock_timeout={LOCK_SECONDS}s" if reads else None,
    }
    return {
        "application_name": "execaudit",
        "connect_timeout": _CONNECT_SECONDS,
        # Of a database without an encoding, texts would be bytes otherwise.
        "client_encoding": "utf8",
        **_ALIVE,
        **options,
        **{name: value for name, value in placed.items() if value is not None},
        # Statements differ, and a pooler between here and the server may have none of them.
        "prepare_threshold": None,
    }


def _roots() -> str:
    """Returns the file of the authorities that the host trusts, unless the environment names one."""
    named = any(name in os.environ for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"))
    found = None if named else next((file for file in _ROOTS if file.exists()), None)
    return "system" if found is None else str(found)


@contextlib.contextmanager
def translated(location: Central) -> Iterator[None]:
    """Raises StoreError, in one line, for what psycopg raises."""
    import psycopg  # noqa: PLC0415  # it is loaded already
    import sqlalchemy  # noqa: PLC0415  # as above

    try:
        yield
    except sqlalchemy.exc.DBAPIError as exc:
        error = exc.orig
        if not isinstance(error, psycopg.Error):
            raise
        raise failure(location, error) from exc
    except psycopg.Error as exc:
        raise failure(location, exc) from exc


# By SQLSTATE, or its first two characters: what happened, and what to do. {said} is what the server said.
_BY_STATE = {
    "28P01": ("{shown} refuses the password", "correct it in the file of passwords, see docs/fleet.md"),
    "28000": ("{shown} refuses this user", "name another one, or let it in there (pg_hba.conf)"),
    "3D000": ("there is no such database: {shown}", "name another one with --db"),
    "42501": ("{shown}: this user may not do that", "give it the rights of docs/fleet.md"),
    "42P01": ("{shown} lacks a table: {said}", "run `execaudit --db {shown} db upgrade`"),
    "25006": ("{shown} only reads: it is a standby, or set so", "name the server that writes"),
    "53100": ("{shown} has no room left on its disk", "make room there"),
    "53200": (
        "{shown} has no room left for locks, or no memory",
        "ask for a range of time, or raise max_locks_per_transaction there",
    ),
    "53300": ("{shown} has too many connections", "ask again later, or raise max_connections there"),
    "55P03": ("{shown}: somebody holds a lock for long", "try again; its pg_stat_activity says who it is"),
    "57014": ("{shown} ended the statement: {said}", "ask for less, or raise statement_timeout there"),
    "57P03": ("{shown} is starting up or shutting down", _TAKE_BACK),
    "57": ("{shown} ended the connection: {said}", _TAKE_BACK),
    "08": ("the connection to {shown} broke", _TAKE_BACK),
    "XX": ("{shown} is damaged: {said}", "look into the server's log"),
}
# By what libpq says where it has no SQLSTATE, in lower case: it never speaks another language than its own.
_BY_TEXT = (
    ("password authentication failed", _BY_STATE["28P01"]),
    ("no password supplied", ("{shown} wants a password", "put it into a file of passwords, see docs/fleet.md")),
    ("no pg_hba.conf entry", _BY_STATE["28000"]),
    ('database "', _BY_STATE["3D000"]),
    ("does not support ssl", ("{shown} has no TLS", "turn it on there; ?sslmode=disable sends all in the clear")),
    ("root certificate", ("nothing says whom to trust for {shown}: {said}", "name the file with ?sslrootcert=FILE")),
    ("certificate", ("{shown} is not who it should be: {said}", "name the authority with ?sslrootcert=FILE")),
    ("ssl", ("TLS with {shown} failed: {said}", "look at its certificate, and at ?sslrootcert=FILE")),
    ("could not translate host name", ("there is no host of this name: {shown}", "correct the name")),
    ("resolve", ("there is no host of this name: {shown}", "correct the name")),
    ("name or service not known", ("there is no host of this name: {shown}", "correct the name")),
    ("refused", ("nobody listens at {shown}", "start the server, or correct host and port")),
    ("no such file or directory", ("nobody listens at {shown}", "start the server, or correct the folder")),
    ("timeout", ("{shown} does not answer", "is the host up, and does a firewall let this through?")),
    ("no route", ("there is no way to {shown}", "is the network up?")),
    ("unreachable", ("there is no way to {shown}", "is the network up?")),
    ("closed", ("the connection to {shown} broke", _TAKE_BACK)),
)  # fmt: skip


def failure(location: Central, error: psycopg.Error) -> StoreError:
    """Returns the error for what PostgreSQL said, or libpq."""
    state = error.sqlstate or ""
    text = str(error)
    found = _BY_STATE.get(state) or _BY_STATE.get(state[:2])
    if found is None and not state:
        lower = text.lower()
        found = next((said for part, said in _BY_TEXT if part in lower), None)
    what, fix = found or ("cannot use {shown}: {said}", "look into the server's log")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = printable(lines[0] if lines else type(error).__name__)
    shown = str(location)
    return StoreError(what.format(shown=shown, said=said), fix=fix.format(shown=shown))
