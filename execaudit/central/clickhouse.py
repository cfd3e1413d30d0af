"""Connections to ClickHouse, over its native protocol, and what goes wrong there in one line."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING, Any

from execaudit.central.clickhouse_schema import REVISION, VERSION_TABLE, literal, quoted
from execaudit.central.pgpass import password_for
from execaudit.errors import ConfigError, StoreError
from execaudit.escaping import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from execaudit.database.url import Central

    Row = tuple[Any, ...]

_CONNECT_SECONDS = 10
_ANSWER_SECONDS = 300
_PORT, _TLS_PORT = 9000, 9440
# Numbers of ClickHouse's errors: src/Common/ErrorCodes.cpp. They never change.
_NO_DATABASE, _NO_TABLE, _NO_PRIVILEGE = 81, 60, 497
NOTHING_THERE = frozenset({_NO_DATABASE, _NO_TABLE})
_AGAIN = "ask again"
_PASSWORD = (
    "{shown} refuses this user or the password",
    "correct the user in the URL, or the file of passwords",
)
_NO_ROOM = ("{shown} has no room left on its disk", "make room there")
_CANNOT_WRITE, _ENOSPC = 75, "errno: 28,"
# {shown}: the URL, {said}: the server's text.
_BY_CODE = {
    192: _PASSWORD,
    193: _PASSWORD,
    194: ("{shown} wants a password", "put it into a file of passwords, see docs/fleet.md"),
    516: _PASSWORD,
    _NO_DATABASE: ("there is no such database: {shown}", "name another one, or make it: `execaudit --db {shown} db upgrade`"),
    _NO_TABLE: ("{shown} lacks a table: {said}", "run `execaudit --db {shown} db upgrade`"),
    _NO_PRIVILEGE: ("{shown}: this user may not do that: {said}", "give it the rights of docs/fleet.md"),
    164: ("{shown} lets this user only read: {said}", "give it the rights of docs/fleet.md"),
    392: ("{shown} lets this user change no tables: {said}", "give it the rights of docs/fleet.md"),
    242: ("{shown} only reads now: {said}", "look into the server's log"),
    243: _NO_ROOM,
    241: ("{shown} lacks memory for this: {said}", "ask for less, or raise max_memory_usage there"),
    252: ("{shown} is behind with merging parts: {said}", "wait, or look into the server's log"),
    159: ("{shown} ended the statement: {said}", "ask for less, or raise max_execution_time there"),
    394: ("{shown} ended the statement", _AGAIN),
    32: ("the connection of {shown} to a shard broke", _AGAIN),
    210: ("the connection of {shown} to a shard broke", _AGAIN),
    202: ("{shown} has too many statements at once", _AGAIN),
    209: ("{shown} does not answer", "is the host up, and does a firewall let this through?"),
    170: ("{shown} knows no such cluster: {said}", "name one of its configuration: remote_servers"),
    279: ("{shown} cannot reach a shard: {said}", "look whether all servers of the cluster run"),
}  # fmt: skip
# What the operating system or OpenSSL said, in lower case.
_BY_TEXT = (
    ("certificate verify failed", ("{shown} is not who it should be: {said}", "name the authority with ?ca_certs=FILE")),
    ("no such file", ("a file for TLS with {shown} is missing", "correct ?ca_certs=FILE")),
    ("ssl", ("TLS with {shown} failed: {said}", "is this the port for TLS? ?secure=0 sends all in the clear")),
    ("refused", ("nobody listens at {shown}", "start the server, or correct host and port")),
    ("name or service not known", ("there is no host of this name: {shown}", "correct the name")),
    ("name resolution", ("there is no host of this name: {shown}", "correct the name, or look at the network")),
    ("no address associated", ("there is no host of this name: {shown}", "correct the name")),
    ("timed out", ("{shown} does not answer", "is the host up, and does a firewall let this through?")),
    ("unreachable", ("there is no way to {shown}", "is the network up?")),
    ("no route", ("there is no way to {shown}", "is the network up?")),
)  # fmt: skip
_BROKE = ("the connection to {shown} broke", _AGAIN)


class ClickHouseError(StoreError):
    """ClickHouse refused something, or could not be reached."""

    code: int | None = None
    """The server's number for it; None: the server said nothing."""


class Session:
    """One connection. All texts are bytes."""

    def __init__(
        self, location: Central, password: str | None = None, *, database: str | None = None
    ) -> None:
        """Raises ClickHouseError, and ConfigError without the driver. `database` None: the URL's."""
        self.location = location
        self._client = _client(location, password, location.database if database is None else database)
        with self._translated():
            self._client.connection.connect()
        info = self._client.connection.server_info
        self.version: tuple[int, int] = (info.version_major, info.version_minor)

    def execute(
        self, statement: str, parameters: Mapping[str, object] | None = None, **settings: object
    ) -> list[Row]:
        """Returns the rows of a statement; `{name}` in it stands for a parameter. Raises ClickHouseError."""
        written = statement
        if parameters is not None:
            written = statement.format_map({name: literal(value) for name, value in parameters.items()})
        with self._translated():
            found: list[Row] = self._client.execute(written, settings={**_LARGE, **settings})
        return found

    def insert(
        self, statement: str, rows: Sequence[Row], query_id: str | None = None, **settings: object
    ) -> None:
        """Inserts rows as one block. Raises ClickHouseError, and ValueError for a value of another type."""
        from clickhouse_driver import errors  # noqa: PLC0415  # heavy

        columns = [list(column) for column in zip(*rows, strict=True)]
        try:
            with self._translated():
                self._client.execute(
                    statement, columns, columnar=True, query_id=query_id, settings={**_ONE_BLOCK, **settings}
                )
        except errors.TypeMismatchError as exc:
            raise ValueError(str(exc).splitlines()[0]) from exc

    def close(self) -> None:
        """Closes the connection: what runs there ends. Raises nothing."""
        self._client.disconnect()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        from clickhouse_driver import errors  # noqa: PLC0415  # heavy

        try:
            yield
        except errors.TypeMismatchError:
            raise
        except (errors.Error, EOFError, OSError) as exc:
            self._client.disconnect()
            raise failure(self.location, exc) from exc
        except BaseException:
            # The rest of an answer must not be read as that of the next statement.
            self._client.disconnect()
            raise


# Values stand in the statement, and an argument of a filter may be as long as a command line.
_LARGE = {"max_query_size": 64 * 1024 * 1024}
# Squashing and splitting by the server would make two inserts of one.
_ONE_BLOCK = {"insert_distributed_sync": 1, "max_insert_block_size": 1_048_576}


@contextlib.contextmanager
def session(location: Central, password: str | None = None) -> Iterator[Session]:
    """Opens a connection for the body. Raises as Session does."""
    opened = Session(location, password)
    try:
        yield opened
    finally:
        opened.close()


def check_revision(opened: Session) -> str | None:
    """Returns the name of the cluster; None: there is none. Raises StoreError for other tables."""
    shown = str(opened.location)
    try:
        found = opened.execute(f"SELECT `revision`, `cluster` FROM {quoted(VERSION_TABLE)} FINAL")  # noqa: S608  # ours
    except ClickHouseError as exc:
        if exc.code not in NOTHING_THERE:
            raise
        found = []
    if not found:
        raise StoreError(
            f"{shown} is no central database", fix=f"make one with `execaudit --db {shown} db upgrade`"
        )
    revision, cluster = (text.decode("utf-8", "replace") for text in found[0])
    if not revision.isdigit() or int(revision) > int(REVISION):
        raise StoreError(
            f"{shown} was made by a newer execaudit (tables {printable(revision)})",
            fix="install that version",
        )
    if int(revision) < int(REVISION):
        raise StoreError(
            f"{shown} has older tables ({revision})", fix=f"run `execaudit --db {shown} db upgrade`"
        )
    return cluster or None


def failure(location: Central, error: BaseException) -> ClickHouseError:
    """Returns the error for what the server said, or the driver, or the operating system."""
    text = getattr(error, "message", None) or str(error)
    code: int | None = getattr(error, "code", None)
    is_server = type(error).__name__ == "ServerException"
    cause = f"{text} {error.__cause__ or error.__context__ or ''}".lower()
    by_text = next((found for part, found in _BY_TEXT if part in cause), None)
    if is_server and code == _CANNOT_WRITE and _ENOSPC in text:
        found = _NO_ROOM
    elif is_server:
        found = _BY_CODE.get(code or 0, ("cannot use {shown}: {said}", "look into the server's log"))
    else:
        found = by_text or _BY_CODE.get(code or 0, _BROKE)
    shown = str(location)
    what, fix = (part.format(shown=shown, said=_line_of(text)) for part in found)
    made = ClickHouseError(what, fix=fix)
    made.code = code if is_server else None
    return made


_MOST_SAID = 200


def _line_of(text: str) -> str:
    """Returns the part of an error's text that says something, as one line."""
    said = (
        text.partition("Stack trace")[0]
        .strip()
        .replace("DB::Exception: ", "")
        .replace("DB::NetException: ", "")
    )
    return printable(" ".join(said.split())[:_MOST_SAID].rstrip(". "))


def _client(location: Central, password: str | None, database: str | None) -> Any:  # noqa: ANN401  # it has no types
    try:
        from clickhouse_driver import Client  # noqa: PLC0415  # heavy, and not on every machine
    except ImportError as exc:
        raise ConfigError(
            "to use clickhouse:// needs the package clickhouse-driver, which is not installed",
            fix='install execaudit with its extra: pip install "execaudit[clickhouse]"',
        ) from exc
    # It writes tracebacks to standard error for what it raises, too.
    quiet = logging.getLogger("clickhouse_driver")
    quiet.addHandler(logging.NullHandler())
    quiet.propagate = False
    secure = _is_on(location, "secure", default=not location.is_loopback)
    given = {
        "ca_certs": location.option("ca_certs"),
        "certfile": location.option("certfile"),
        "keyfile": location.option("keyfile"),
        "server_hostname": location.option("server_hostname"),
    }
    host, user = location.host or "localhost", location.user or "default"
    port = location.port or (_TLS_PORT if secure else _PORT)
    if password is None:
        password = password_for((host, str(port), location.database or "", user), os.environ)
    return Client(
        host,
        port,
        database=database or "",
        user=user,
        password=password or "",
        secure=secure,
        verify=_is_on(location, "verify", default=True),
        connect_timeout=_seconds(location),
        send_receive_timeout=_ANSWER_SECONDS,
        client_name="execaudit",
        settings={"strings_as_bytes": True},
        **({name: value for name, value in given.items() if value is not None} if secure else {}),
    )


_WORDS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def _is_on(location: Central, name: str, *, default: bool) -> bool:
    value = location.option(name)
    if value is None:
        return default
    if value.lower() not in _WORDS:
        raise ConfigError(f"the URL clickhouse://... has {name} that is neither 1 nor 0", fix="write 1 or 0")
    return _WORDS[value.lower()]


def _seconds(location: Central) -> int:
    value = location.option("connect_timeout")
    if value is None:
        return _CONNECT_SECONDS
    if not value.isascii() or not value.isdigit() or int(value[:6]) == 0:
        raise ConfigError(
            "the URL clickhouse://... has a connect_timeout that is no number", fix="write seconds"
        )
    return int(value[:6])
