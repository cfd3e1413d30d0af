"""Read the value of `--db`: a file, or a central database. Pure.

A URL may have a password in whichever part of it, if it is wrong. So no message repeats more than its scheme.
"""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from execaudit.errors import ConfigError

DEFAULT_DATABASE = "/var/lib/execaudit/execaudit.db"
_URL = r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)"
_MOST_PORTS = 65_535
_PORT = re.compile(r"[0-9]{1,5}")
# Of an address in brackets, https://www.rfc-editor.org/rfc/rfc6874 has `%25` and a zone at its end.
_IPV6 = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%25[A-Za-z0-9._~-]+)?")
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# As in urllib.parse, which takes long to import.
_ESCAPE, _ESCAPED = re.compile(rb"%(..)"), re.compile(rb"[^A-Za-z0-9_.~-]")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_LOOPBACK = re.compile(r"localhost\.?|127(?:\.[0-9]{1,3}){3}|::1", re.IGNORECASE)
_FORM = "write postgresql://USER@HOST:PORT/DATABASE, or clickhouse://..."
_SECRET = re.compile(r"pass(?!file\Z)|pwd|secret|token", re.IGNORECASE)


class Engine(Enum):
    """A database system that keeps the histories of many hosts. The value is the scheme of its URLs."""

    POSTGRESQL = "postgresql"
    CLICKHOUSE = "clickhouse"


_SCHEMES = {each.value: each for each in Engine} | {"postgres": Engine.POSTGRESQL}
OPTIONS = {
    Engine.POSTGRESQL: frozenset(
        {
            *("host", "port", "user", "dbname", "application_name", "connect_timeout", "passfile", "sslcert"),
            *("sslcrl", "sslkey", "sslmode", "sslrootcert", "target_session_attrs"),
        }
    ),
    Engine.CLICKHOUSE: frozenset(
        {
            "ca_certs",
            "certfile",
            "cluster",
            "connect_timeout",
            "keyfile",
            "secure",
            "server_hostname",
            "verify",
        }
    ),
}
"""What a URL may say behind its question mark. Of PostgreSQL the names are libpq's."""
_WORDS = {"sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")}
"""Of an option, the values that there are."""
# Of these the URL has a place as well.
_PLACED = ("user", "host", "port", "dbname")


class Central(NamedTuple):
    """Where a central database is. It has no password."""

    engine: Engine
    user: str | None
    host: str | None
    """A name or an address without brackets; of PostgreSQL also the folder of a Unix socket, with its slash.

    None: as the client's library has it.
    """
    port: int | None
    database: str | None
    options: tuple[tuple[str, str], ...] = ()
    """Names are of OPTIONS, each once, in order."""

    @property
    def is_loopback(self) -> bool:
        """Says whether what is sent stays on this host, so that it need not be encrypted."""
        if self.is_socket:
            return True
        return self.host is not None and _LOOPBACK.fullmatch(self.host) is not None

    @property
    def is_socket(self) -> bool:
        """Says whether the host is a Unix socket."""
        return self.host is not None and self.host.startswith("/")

    def option(self, name: str) -> str | None:
        """Returns the value of an option; None if it is not given."""
        return dict(self.options).get(name)

    def __str__(self) -> str:
        """Returns the URL, for messages."""
        user = "" if self.user is None else f"{_escaped(self.user)}@"
        host = self.host or ""
        shown = f"[{host.replace('%', '%25')}]" if ":" in host else _escaped(host)
        port = "" if self.port is None else f":{self.port}"
        database = "" if self.database is None else _escaped(self.database)
        options = "&".join(f"{name}={_escaped(value)}" for name, value in self.options)
        return f"{self.engine.value}://{user}{shown}{port}/{database}{'?' if options else ''}{options}"


def location_of(text: str) -> Path | Central:
    """Returns the SQLite file, or the central database, that a path or URL names.

    A path is itself, and `sqlite:///` as SQLAlchemy has it. Raises ConfigError for other URLs, for those with
    a password, and for a text that names no file.
    """
    url = re.fullmatch(_URL, text, re.DOTALL)
    if url is None:
        name = text
    elif (scheme := url[1].lower()) in _SCHEMES:
        return _central(_SCHEMES[scheme], url[2])
    elif scheme == "sqlite" and url[2].startswith("/"):
        name = url[2][1:]
    else:
        raise ConfigError(
            f"cannot use the database {url[1]}://...",
            fix="name a postgresql:// or clickhouse:// database, or give a path, or sqlite:///PATH",
        )
    if not name or "\0" in name or name == ":memory:":
        raise ConfigError("the database needs a file name", fix="give a path, or sqlite:///PATH")
    return Path(name)


def _central(engine: Engine, rest: str) -> Central:
    """Returns what the part of a URL behind `://` names."""
    if "#" in rest:
        raise _wrong(engine, "has a #", "write %23 for it")
    if _BAD_ESCAPE.search(rest):
        raise _wrong(engine, "has a % without two digits", "write %25 for it")
    rest, _, query = rest.partition("?")
    authority, slash, database = rest.partition("/")
    user, at, place = authority.rpartition("@")
    if ":" in user:
        raise _password(engine)
    if "/" in database or "@" in database:
        raise _wrong(
            engine, "has more than a database behind the host", "write %2F and %40 for / and @ in names"
        )
    host, port = _host(engine, place)
    placed = {
        "user": _decoded(engine, user) if at and user else None,
        "host": host,
        "port": port,
        "dbname": _decoded(engine, database) if slash and database else None,
    }
    options = _options(engine, query)
    for name in _PLACED:
        if name not in options:
            continue
        if placed[name] is not None:
            raise _wrong(engine, f"says the {name} twice", "leave one of them out")
        placed[name] = options.pop(name)
    return Central(
        engine,
        placed["user"],
        _known_host(engine, placed["host"]),
        _port(engine, placed["port"]),
        placed["dbname"],
        tuple(sorted(options.items())),
    )


def _host(engine: Engine, place: str) -> tuple[str | None, str | None]:
    """Returns the host and the port of the part of a URL that has both."""
    if place.startswith("["):
        address, bracket, port = place[1:].partition("]")
        if not bracket or not _IPV6.fullmatch(address) or port[:1] not in {"", ":"}:
            raise _wrong(engine, "has no IPv6 address in its brackets", "write [::1], and :PORT behind it")
        return address.replace("%25", "%"), port[1:] if port else None
    host, colon, port = place.partition(":")
    if ":" in port:
        raise _wrong(engine, "has more than one : in its host", "put an IPv6 address into brackets: [::1]")
    return _decoded(engine, host) if host else None, port if colon else None


def _known_host(engine: Engine, host: str | None) -> str | None:
    """Returns a host that can be one."""
    if host is None and engine is Engine.CLICKHOUSE:
        raise _wrong(engine, "names no host", _FORM)
    if host is None or (engine is Engine.POSTGRESQL and host.startswith("/")) or _NAME.fullmatch(host):
        return host
    # An option has no brackets.
    if _IPV6.fullmatch(host.replace("%", "%25")):
        return host
    raise _wrong(engine, "has a host that is no name, no address and no folder of a socket", _FORM)


def _port(engine: Engine, text: str | None) -> int | None:
    if text is None:
        return None
    if not _PORT.fullmatch(text) or not 0 < int(text) <= _MOST_PORTS:
        # What stands there may be the beginning of a password.
        raise _wrong(engine, "has a port that is no number", f"ports are 1 to {_MOST_PORTS}")
    return int(text)


def _options(engine: Engine, query: str) -> dict[str, str]:
    """Returns what stands behind the question mark."""
    options: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, equals, value = part.partition("=")
        if _SECRET.search(name):
            raise _password(engine)
        if not equals or name not in OPTIONS[engine]:
            known = ", ".join(sorted(OPTIONS[engine]))
            raise _wrong(engine, "has an option that is not known", f"there are {known}")
        if name in options:
            raise _wrong(engine, f"says {name} twice", "leave one of them out")
        options[name] = _decoded(engine, value)
    for name, words in _WORDS.items():
        if options.get(name, words[0]) not in words:
            raise _wrong(engine, f"has an {name} that is not known", f"there are {', '.join(words)}")
    return options


def _decoded(engine: Engine, text: str) -> str:
    """Returns a part of a URL without its percent signs."""
    try:
        decoded = _ESCAPE.sub(lambda found: bytes((int(found[1], 16),)), text.encode("utf-8")).decode("utf-8")
    except UnicodeError as exc:
        raise _wrong(engine, "is not UTF-8", "write names as UTF-8, or as %XX of it") from exc
    if _CONTROLS.search(decoded):
        raise _wrong(engine, "has a control character", "write it without")
    return decoded


def _escaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: b"%%%02X" % found[0][0], text.encode("utf-8")).decode("ascii")


def _password(engine: Engine) -> ConfigError:
    return ConfigError(
        f"the URL {engine.value}://... has a password, which others can read there",
        fix="leave it out: it is taken from --password-file, a systemd credential or PGPASSFILE",
    )


def _wrong(engine: Engine, what: str, fix: str) -> ConfigError:
    return ConfigError(f"the URL {engine.value}://... {what}", fix=fix)
