"""From the values of the filter options to the filter that they ask for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from execaudit.errors import ExecauditError, FilterError
from execaudit.escaping import printable
from execaudit.event import Nanoseconds
from execaudit.exec_id import encode_id
from execaudit.query import find, globs, users
from execaudit.query.expression import Within, any_of, conjuncts
from execaudit.query.filter import Filter

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from execaudit.exec_id import ExecKey
    from execaudit.query.expression import Expression

_MOST = 2**63 - 1  # what SQLite can count


def build_filter(values: dict[str, Any], connection: sqlite3.Connection) -> Filter:
    """Returns the filter that the options ask for; users and execs are looked up in the history.

    Raises FilterError; ExecauditError for an exec that is not in the history.
    """
    since, until = values["since"], values["until"]
    if since is not None and until is not None and since >= until:
        raise FilterError(
            "--since is not before --until, so nothing can be between them", fix="swap or correct them"
        )

    def raw(name: str) -> tuple[bytes, ...]:
        return tuple(os.fsencode(text) for text in values[name])

    def meant(name: str, of: Callable[..., tuple[bytes, ...]]) -> tuple[bytes, ...]:
        paths = raw(name)
        if not paths:
            return ()
        # The working directory is asked for only if it is needed: it may have been deleted.
        here = _here() if any(path[:1] == b"." for path in paths) else b"/"
        return tuple(glob for path in paths for glob in of(path, here=here, real=os.path.realpath))

    where = any_of(values["where"]) if values["where"] else None
    since, until = _range(since, until, where)
    return Filter(
        since_ns=since,
        until_ns=until,
        pids=values["pids"],
        ppids=values["ppids"],
        comms=tuple(glob for text in values["comms"] for glob in _comm_globs(text)),
        exes=meant("exes", globs.of_image),
        filenames=tuple(glob for text in raw("filenames") for glob in globs.of_filename(text)),
        cwds=meant("cwds", globs.of_directory),
        args=raw("args"),
        args_regex=raw("args_regex"),
        users=tuple(users.user_match(connection, text) for text in values["users"]),
        login_users=tuple(
            users.user_match(connection, text, option="--login-user") for text in values["login_users"]
        ),
        ttys=raw("ttys"),
        cgroups=tuple(glob for text in raw("cgroups") for glob in globs.of_cgroup(text)),
        # No container and no host has a name that is not UTF-8, and SQLite takes none.
        containers=tuple(_utf8(text) for text in values["containers"]),
        under=tuple(number_of(connection, key) for key in values["under"]),
        hosts=tuple(_utf8(text) for text in values["hosts"]),
        failed=values["failed"],
        truncated=values["truncated"],
        where=where,
        limit=None if values["limit"] is None else min(values["limit"], _MOST),
        reverse=values["reverse"],
    )


def _range(
    since: Nanoseconds | None, until: Nanoseconds | None, where: Expression | None
) -> tuple[Nanoseconds | None, Nanoseconds | None]:
    """Returns the range of time, which the expression may narrow: no more of the history is read."""
    for part in () if where is None else conjuncts(where):
        if isinstance(part, Within) and part.field == "time":
            if part.low is not None:
                since = Nanoseconds(max(part.low, since or 0))
            if part.end is not None:
                until = Nanoseconds(part.end if until is None else min(part.end, until))
    return since, until


def _here() -> bytes:
    try:
        return bytes(Path.cwd())
    except FileNotFoundError:
        return b"/"


def _comm_globs(text: str) -> tuple[bytes, ...]:
    """Returns the globs that are meant. Says on stderr if the glob can match no command name."""
    glob = os.fsencode(text)
    meant = globs.of_comm(glob)
    if not meant:
        click.echo(
            f"--comm {printable(text)}: no command has such a name, because the kernel cuts names to"
            f" {globs.COMM_BYTES} bytes: use --exe or --filename",
            err=True,
        )
    return meant or (glob,)


def number_of(connection: sqlite3.Connection, key: ExecKey) -> int:
    """Returns the row number of an exec. Raises ExecauditError if it is not in the history."""
    number = find.locate(connection, key)
    if number is None:
        raise ExecauditError(
            f"there is no exec {encode_id(key)} in this history",
            fix="take an id from `query`, or name another --db",
        )
    return number


def _utf8(text: str) -> str:
    return os.fsencode(text).decode("utf-8", "backslashreplace")
