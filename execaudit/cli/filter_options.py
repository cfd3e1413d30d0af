"""The filters, which commands share, and the types of their values."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from execaudit.errors import ExecauditError, FilterError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from execaudit.event import Nanoseconds
    from execaudit.exec_id import ExecKey
    from execaudit.query.find import Filter

    _TimeType = click.ParamType[Nanoseconds]
    _TextType = click.ParamType[str]
    _KeyType = click.ParamType[ExecKey]
    _SizeType = click.ParamType[int]
else:
    _TimeType = _TextType = _KeyType = _SizeType = click.ParamType  # generic since click 8.5 only

_Function = TypeVar("_Function", bound="Callable[..., Any]")
_LAST_PID = 2**22  # PID_MAX_LIMIT
_UID_DIGITS = 10
_MOST = 2**63 - 1  # what SQLite can count


class _Time(_TimeType):
    name = "time"

    def __init__(self, *, last: bool = False) -> None:
        """Of a local time that comes twice, as clocks are set back, it is the first, or the `last`."""
        self._last = last

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Nanoseconds:
        # Here and below: to complete an option, and for --help, it need not be known what a value means.
        from execaudit import times  # noqa: PLC0415

        try:
            now = datetime.now(timezone.utc).astimezone()
            return times.parse_time(str(value), now=now, last=self._last)
        except FilterError as exc:
            self.fail(str(exc), param, ctx)


class Duration(_TimeType):
    """A length of time, `90s`, `1h30min`; nanoseconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Nanoseconds:
        """Returns the nanoseconds that the text names."""
        from execaudit import times  # noqa: PLC0415

        try:
            return times.parse_duration(str(value))
        except FilterError as exc:
            self.fail(str(exc), param, ctx)


class Size(_SizeType):
    """A number of bytes, `500MB`, `5GiB`."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Returns the bytes that the text names."""
        from execaudit import sizes  # noqa: PLC0415

        try:
            return sizes.parse_size(str(value))
        except FilterError as exc:
            self.fail(str(exc), param, ctx)


class _Regex(_TextType):
    name = "regex"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from execaudit.query import timelimit  # noqa: PLC0415

        text = str(value)
        try:
            # Now, and not when the first exec is looked at: the output has begun then.
            timelimit.searcher(text)
        except FilterError as exc:
            self.fail(str(exc).removeprefix("--args-regex: "), param, ctx)
        return text


class _User(_TextType):
    name = "user"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if text.isdecimal() and len(text) > _UID_DIGITS:
            self.fail(f"a uid has at most {_UID_DIGITS} digits", param, ctx)
        return text


class _Terminal(_TextType):
    name = "terminal"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002  # click's
        return str(value).removeprefix("/dev/")


class ExecId(_KeyType):
    """An exec's own id, as records have it."""

    name = "id"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> ExecKey:
        """Returns what the id says."""
        from execaudit.exec_id import decode_id  # noqa: PLC0415

        key = decode_id(str(value))
        if key is None:
            self.fail(
                f"{value!r} is no exec id: those have 22 characters, as in `query --format jsonl`", param, ctx
            )
        return key


_PID = click.IntRange(0, _LAST_PID)
_FILTERS = (
    click.option(
        "--since",
        type=_Time(),
        metavar="TIME",
        help="At this time or later: 1h, today, 14:05, '2026-11-22 14:05'.",
    ),
    click.option("--until", type=_Time(last=True), metavar="TIME", help="Before this time."),
    click.option("--pid", "pids", type=_PID, multiple=True, metavar="PID", help="Process id."),
    click.option("--ppid", "ppids", type=_PID, multiple=True, metavar="PID", help="Its parent's."),
    click.option("--comm", "comms", multiple=True, metavar="GLOB", help="Command name, 15 bytes at most."),
    click.option("--exe", "exes", multiple=True, metavar="GLOB", help="Path of the image, or its name."),
    click.option(
        "--filename", "filenames", multiple=True, metavar="GLOB", help="Path that was asked for, or its name."
    ),
    click.option("--args", "args", multiple=True, metavar="TEXT", help="Part of the command line."),
    click.option(
        "--args-regex",
        "args_regex",
        type=_Regex(),
        multiple=True,
        metavar="REGEX",
        help="Found in the command line, as text: Python's syntax.",
    ),
    click.option("--user", "users", type=_User(), multiple=True, metavar="NAME|UID", help="Who ran it."),
    click.option(
        "--login-user",
        "login_users",
        type=_User(),
        multiple=True,
        metavar="NAME|UID",
        help="Who logged in, whatever sudo or su did since.",
    ),
    click.option(
        "--tty", "ttys", type=_Terminal(), multiple=True, metavar="TEXT", help="On this terminal: pts/3."
    ),
    click.option("--cwd", "cwds", multiple=True, metavar="GLOB", help="Working directory."),
    click.option("--cgroup", "cgroups", multiple=True, metavar="GLOB", help="Path of the cgroup."),
    click.option(
        "--container",
        "containers",
        multiple=True,
        metavar="ID",
        help="In this container: its id, 4 digits of it or more, or a machine's name.",
    ),
    click.option(
        "--under",
        "under",
        type=ExecId(),
        multiple=True,
        metavar="ID",
        help="Descendants of this exec, however far.",
    ),
    click.option("--failed", is_flag=True, help="Only execs that the kernel refused."),
    click.option("--truncated", is_flag=True, help="Only execs whose arguments are not whole."),
    click.option("--host", "hosts", multiple=True, metavar="NAME", help="Recorded on this host."),
    click.option("--limit", type=click.IntRange(min=0), metavar="N", help="Only the newest N."),
    click.option("--reverse", is_flag=True, help="Newest first."),
)


def filter_options(function: _Function) -> _Function:
    """Adds the filters. They combine with AND; one given more than once, with OR."""
    for option in reversed(_FILTERS):
        function = option(function)
    return function


def build_filter(values: dict[str, Any], connection: sqlite3.Connection) -> Filter:
    """Returns the filter that the options ask for; users and execs are looked up in the history.

    Raises FilterError; ExecauditError for an exec that is not in the history.
    """
    from execaudit.query import find, globs  # noqa: PLC0415  # `record --help` needs no query

    since, until = values["since"], values["until"]
    if since is not None and until is not None and since >= until:
        raise FilterError(
            "--since is not before --until, so nothing can be between them: swap or correct them"
        )

    def raw(name: str) -> tuple[bytes, ...]:
        return tuple(os.fsencode(text) for text in values[name])

    def meant(name: str, of: Callable[..., tuple[bytes, ...]]) -> tuple[bytes, ...]:
        paths = raw(name)
        if not paths:
            return ()
        # Who asks may be in a directory that is gone.
        here = _here() if any(path[:1] == b"." for path in paths) else b"/"
        return tuple(glob for path in paths for glob in of(path, here=here, real=os.path.realpath))

    return find.Filter(
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
        users=tuple(find.user_match(connection, text) for text in values["users"]),
        login_users=tuple(
            find.user_match(connection, text, option="--login-user") for text in values["login_users"]
        ),
        ttys=raw("ttys"),
        cgroups=tuple(glob for text in raw("cgroups") for glob in globs.of_cgroup(text)),
        # No container and no host has a name that is not UTF-8, and SQLite takes none.
        containers=tuple(_utf8(text) for text in values["containers"]),
        under=tuple(number_of(connection, key) for key in values["under"]),
        hosts=tuple(_utf8(text) for text in values["hosts"]),
        failed=values["failed"],
        truncated=values["truncated"],
        limit=None if values["limit"] is None else min(values["limit"], _MOST),
        reverse=values["reverse"],
    )


def _here() -> bytes:
    try:
        return bytes(Path.cwd())
    except FileNotFoundError:
        return b"/"


def _comm_globs(text: str) -> tuple[bytes, ...]:
    """Returns the globs that are meant; says so if no command's name can match."""
    from execaudit.escaping import printable  # noqa: PLC0415
    from execaudit.query import globs  # noqa: PLC0415  # see build_filter

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
    from execaudit.exec_id import encode_id  # noqa: PLC0415
    from execaudit.query import find  # noqa: PLC0415  # see build_filter

    number = find.locate(connection, key)
    if number is None:
        raise ExecauditError(
            f"there is no exec {encode_id(key)} in this history: take an id from `query`, or name another --db"
        )
    return number


def _utf8(text: str) -> str:
    return os.fsencode(text).decode("utf-8", "backslashreplace")
