"""From the values of the filter options to the filter that they ask for."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from execaudit.cli.run.references import number_of
from execaudit.enums import Kind
from execaudit.errors import ExecauditError, FilterError
from execaudit.escaping import printable
from execaudit.event import Nanoseconds
from execaudit.query import find, globs, users
from execaudit.query.expression import Within, any_of, conjuncts
from execaudit.query.filter import Filter

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from execaudit.query.expression import Expression
    from execaudit.query.filter import UserMatch

_MOST = 2**63 - 1  # what SQLite can count
_WITHIN_NS = 30_000_000_000


def build_filter(values: dict[str, Any], connection: sqlite3.Connection) -> Filter:
    """Returns the filter that the options ask for; users and execs are looked up in the history.

    Raises FilterError; ExecauditError for an exec that is not in the history.
    """
    since, until = _asked_range(connection, values)

    def raw(name: str) -> tuple[bytes, ...]:
        return tuple(os.fsencode(text) for text in values[name])

    def meant(name: str, of: Callable[..., tuple[bytes, ...]]) -> tuple[bytes, ...]:
        paths = raw(name)
        if not paths:
            return ()
        # The working directory is asked for only if it is needed: it may have been deleted.
        here = _here() if any(path[:1] == b"." for path in paths) else b"/"
        return tuple(glob for path in paths for glob in of(path, here=here, real=os.path.realpath))

    def commands(name: str, option: str) -> tuple[bytes, ...]:
        return tuple(glob for text in values[name] for glob in _comm_globs(text, option))

    def matches(name: str, option: str) -> tuple[UserMatch, ...]:
        return tuple(users.user_match(connection, text, option=option) for text in values[name])

    def spread(name: str, of: Callable[[bytes], tuple[bytes, ...]]) -> tuple[bytes, ...]:
        return tuple(glob for text in raw(name) for glob in of(text))

    def execs(name: str) -> tuple[int, ...]:
        return tuple(number_of(connection, text, since, until) for text in values[name])

    where = any_of(values["where"]) if values["where"] else None
    since, until = _range(since, until, where)
    wanted = Filter(
        since_ns=since,
        until_ns=until,
        pids=values["pids"],
        ppids=values["ppids"],
        comms=commands("comms", "--comm"),
        exes=meant("exes", globs.of_image),
        filenames=spread("filenames", globs.of_filename),
        cwds=meant("cwds", globs.of_directory),
        args=raw("args"),
        args_regex=raw("args_regex"),
        users=matches("users", "--user"),
        login_users=matches("login_users", "--login-user"),
        ttys=raw("ttys"),
        cgroups=spread("cgroups", globs.of_cgroup),
        # No container and no host has a name that is not UTF-8, and SQLite takes none.
        containers=tuple(map(_utf8, values["containers"])),
        under=execs("under"),
        hosts=tuple(map(_utf8, values["hosts"])),
        euids=tuple(uid for text in values["euids"] for uid in users.uids(connection, text, option="--euid")),
        interpreters=spread("interpreters", globs.of_filename),
        kinds=tuple(map(Kind, values["kinds"])),
        exit_codes=values["exit_codes"],
        errnos=values["errnos"],
        not_comms=commands("not_comms", "--not-comm"),
        not_exes=meant("not_exes", globs.of_image),
        not_cwds=meant("not_cwds", globs.of_directory),
        not_args=raw("not_args"),
        not_users=matches("not_users", "--not-user"),
        not_cgroups=spread("not_cgroups", globs.of_cgroup),
        not_containers=tuple(map(_utf8, values["not_containers"])),
        not_under=execs("not_under"),
        failed=values["failed"],
        ok=values["ok"],
        deleted=values["deleted"],
        privileged=values["privileged"],
        truncated=values["truncated"],
        where=where,
        limit=None if values["limit"] is None else min(values["limit"], _MOST),
        reverse=values["reverse"],
    )
    _say_setuid(connection, wanted, values["users"])
    return wanted


def _say_setuid(connection: sqlite3.Connection, wanted: Filter, names: Sequence[str]) -> None:
    """Says on stderr if setuid programs of others ran as a user: they are not what --user finds."""
    if not names or wanted.euids:
        return
    for name, match in zip(names, wanted.users, strict=True):
        uids = users.uids(connection, name, option="--user")
        if not users.has_setuid(connection, uids):
            continue
        others = dataclasses.replace(
            wanted, users=(), not_users=(*wanted.not_users, match), euids=tuple(uids)
        )
        if any(True for _ in find.find(connection, dataclasses.replace(others, limit=1, reverse=True))):
            click.echo(
                f"--user {printable(name)} is who ran it: setuid programs of others ran as {printable(name)} too,"
                f" and --euid {printable(name)} finds them",
                err=True,
            )


def _asked_range(
    connection: sqlite3.Connection, values: dict[str, Any]
) -> tuple[Nanoseconds | None, Nanoseconds | None]:
    """Returns the range of time that the options ask for."""
    since, until = values["since"], values["until"]
    if values["around"] is not None:
        return _around(connection, values)
    if values["within"] is not None:
        raise FilterError("--within goes with --around", fix="name a time or an exec with it")
    if since is not None and until is not None and since >= until:
        raise FilterError(
            "--since is not before --until, so nothing can be between them", fix="swap or correct them"
        )
    return since, until


def _around(connection: sqlite3.Connection, values: dict[str, Any]) -> tuple[Nanoseconds, Nanoseconds]:
    """Returns the range around a time or an exec, both ends included."""
    if values["since"] is not None or values["until"] is not None:
        raise FilterError("--around excludes --since and --until", fix="leave one of them out")
    moment = values["around"]
    if isinstance(moment, str):
        found = find.fetch(connection, [number_of(connection, moment)])
        if not found:
            raise ExecauditError("the exec was pruned just now", fix="take a newer one from `query`")
        moment = found[0].event.time_ns
    within = _WITHIN_NS if values["within"] is None else values["within"]
    return Nanoseconds(max(0, moment - within)), Nanoseconds(min(moment + within + 1, _MOST))


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


def _comm_globs(text: str, option: str) -> tuple[bytes, ...]:
    """Returns the globs that are meant. Says on stderr if the glob can match no command name."""
    glob = os.fsencode(text)
    meant = globs.of_comm(glob)
    if not meant:
        click.echo(
            f"{option} {printable(text)}: no command has such a name, because the kernel cuts names to"
            f" {globs.COMM_BYTES} bytes: use --exe or --filename",
            err=True,
        )
    return meant or (glob,)


def _utf8(text: str) -> str:
    return os.fsencode(text).decode("utf-8", "backslashreplace")
