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
from execaudit.query import globs, user_names
from execaudit.query.expression import Within, any_of, conjuncts
from execaudit.query.filter import Filter
from execaudit.system import clock
from execaudit.times import zone_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from execaudit.query.expression import Expression
    from execaudit.query.filter import UserMatch
    from execaudit.query.history import History

_MOST = 2**63 - 1  # what SQLite can count
_WITHIN_NS = 30_000_000_000


def build_filter(values: dict[str, Any], history: History) -> Filter:
    """Returns the filter that the options ask for; users and execs are looked up in the history.

    Raises FilterError; ExecauditError for an exec that is not in the history.
    """
    where = any_of(values["where"]) if values["where"] else None
    since, until = _range(*_asked_range(history, values), where)
    given = _Given(values, history, since, until)
    wanted = Filter(
        since_ns=since,
        until_ns=until,
        pids=values["pids"],
        ppids=values["ppids"],
        comms=given.commands("comms", "--comm"),
        exes=given.meant("exes", globs.of_image),
        filenames=given.spread("filenames", globs.of_filename),
        cwds=given.meant("cwds", globs.of_directory),
        args=given.raw("args"),
        args_regex=given.raw("args_regex"),
        users=given.matches("users", "--user"),
        login_users=given.matches("login_users", "--login-user"),
        ttys=given.raw("ttys"),
        cgroups=given.spread("cgroups", globs.of_cgroup),
        # No container and no host has a name that is not UTF-8, and SQLite takes none.
        containers=given.utf8("containers"),
        under=given.execs("under"),
        hosts=given.utf8("hosts"),
        euids=tuple(
            uid for text in values["euids"] for uid in user_names.uids(history, text, option="--euid")
        ),
        interpreters=given.spread("interpreters", globs.of_filename),
        kinds=tuple(map(Kind, values["kinds"])),
        exit_codes=values["exit_codes"],
        errnos=values["errnos"],
        not_comms=given.commands("not_comms", "--not-comm"),
        not_exes=given.meant("not_exes", globs.of_image),
        not_cwds=given.meant("not_cwds", globs.of_directory),
        not_args=given.raw("not_args"),
        not_users=given.matches("not_users", "--not-user"),
        not_cgroups=given.spread("not_cgroups", globs.of_cgroup),
        not_containers=given.utf8("not_containers"),
        not_under=given.execs("not_under"),
        failed=values["failed"],
        ok=values["ok"],
        deleted=values["deleted"],
        privileged=values["privileged"],
        new=_new_since(since) if values["new"] else None,
        truncated=values["truncated"],
        where=where,
        limit=None if values["limit"] is None else min(values["limit"], _MOST),
        reverse=values["reverse"],
    )
    _say_setuid(history, wanted, values["users"])
    _say_future(since)
    return wanted


def _say_future(since_ns: Nanoseconds | None) -> None:
    """Says on stderr that the range begins later than now: in the morning, `14:05` is still to come."""
    now_ns = Nanoseconds(clock.wall_ns())
    if since_ns is not None and since_ns > now_ns:
        since, now = zone_text(since_ns, None), zone_text(now_ns, None)
        click.echo(f"the range begins in the future, at {since}: it is {now} now", err=True)


class _Given:
    """The values of options, as a filter has them, by the option's name in `values`."""

    def __init__(
        self,
        values: dict[str, Any],
        history: History,
        since: Nanoseconds | None,
        until: Nanoseconds | None,
    ) -> None:
        """Of execs that are named by a pid, those between `since` and `until` are meant."""
        self._values, self._history, self._range = values, history, (since, until)

    def raw(self, name: str) -> tuple[bytes, ...]:
        """Returns the kernel's bytes."""
        return tuple(os.fsencode(text) for text in self._values[name])

    def utf8(self, name: str) -> tuple[str, ...]:
        """Returns texts that SQLite takes."""
        return tuple(map(_utf8, self._values[name]))

    def spread(self, name: str, of: Callable[[bytes], tuple[bytes, ...]]) -> tuple[bytes, ...]:
        """Returns the globs that are meant by each."""
        return tuple(glob for text in self.raw(name) for glob in of(text))

    def meant(self, name: str, of: Callable[..., tuple[bytes, ...]]) -> tuple[bytes, ...]:
        """Returns the globs that are meant by paths."""
        paths = self.raw(name)
        if not paths:
            return ()
        # The working directory is asked for only if it is needed: it may have been deleted.
        here = _here() if any(path[:1] == b"." for path in paths) else b"/"
        return tuple(glob for path in paths for glob in of(path, here=here, real=os.path.realpath))

    def commands(self, name: str, option: str) -> tuple[bytes, ...]:
        """Returns the globs that are meant by command names."""
        return tuple(glob for text in self._values[name] for glob in _comm_globs(text, option))

    def matches(self, name: str, option: str) -> tuple[UserMatch, ...]:
        """Returns who is meant by users' names."""
        return tuple(user_names.user_match(self._history, text, option=option) for text in self._values[name])

    def execs(self, name: str) -> tuple[int, ...]:
        """Returns the numbers of execs."""
        return tuple(number_of(self._history, text, *self._range) for text in self._values[name])


def _new_since(since: Nanoseconds | None) -> Nanoseconds:
    """Returns the time before which a program is not new."""
    if since is None:
        raise FilterError("--new needs a time before which nothing is new", fix="say it with --since")
    return since


def _say_setuid(history: History, wanted: Filter, names: Sequence[str]) -> None:
    """Says on stderr if setuid programs of others ran as a user: they are not what --user finds."""
    if not names or wanted.euids:
        return
    for name, match in zip(names, wanted.users, strict=True):
        uids = user_names.uids(history, name, option="--user")
        if not history.has_setuid(uids):
            continue
        others = dataclasses.replace(
            wanted, users=(), not_users=(*wanted.not_users, match), euids=tuple(uids)
        )
        if any(True for _ in history.find(dataclasses.replace(others, limit=1, reverse=True))):
            click.echo(
                f"--user {printable(name)} is who ran it: setuid programs of others ran as {printable(name)} too,"
                f" and --euid {printable(name)} finds them",
                err=True,
            )


def _asked_range(history: History, values: dict[str, Any]) -> tuple[Nanoseconds | None, Nanoseconds | None]:
    """Returns the range of time that the options ask for."""
    since, until = values["since"], values["until"]
    if values["around"] is not None:
        return _around(history, values)
    if values["within"] is not None:
        raise FilterError("--within goes with --around", fix="name a time or an exec with it")
    if since is not None and until is not None and since >= until:
        raise FilterError(
            "--since is not before --until, so nothing can be between them", fix="swap or correct them"
        )
    return since, until


def _around(history: History, values: dict[str, Any]) -> tuple[Nanoseconds, Nanoseconds]:
    """Returns the range around a time or an exec, both ends included."""
    if values["since"] is not None or values["until"] is not None:
        raise FilterError("--around excludes --since and --until", fix="leave one of them out")
    moment = values["around"]
    if isinstance(moment, str):
        found = history.fetch([number_of(history, moment)])
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
