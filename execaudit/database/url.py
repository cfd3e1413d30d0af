"""Read the value of `--db`. Pure."""

from __future__ import annotations

import re
from pathlib import Path

from execaudit.errors import ConfigError

DEFAULT_DATABASE = "/var/lib/execaudit/execaudit.db"
_URL = r"([a-z][a-z0-9+.-]*)://(.*)"


def database_path(text: str) -> Path:
    """Returns the SQLite file that a path, or a `sqlite:///` URL as SQLAlchemy writes it, names.

    Raises ConfigError for other databases, and for a text that names no file.
    """
    url = re.fullmatch(_URL, text, re.DOTALL)
    if url is None:
        name = text
    elif url[1] == "sqlite" and url[2].startswith("/"):
        name = url[2][1:]
    else:
        # Not the whole URL: it may contain a password, and the message may go to a log.
        raise ConfigError(
            f"cannot use the database {url[1]}://...",
            fix="this version keeps its history in SQLite; give a path, or sqlite:///PATH",
        )
    if not name or "\0" in name or name == ":memory:":
        raise ConfigError("the database needs a file name", fix="give a path, or sqlite:///PATH")
    return Path(name)
