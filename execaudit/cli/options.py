"""Options that commands share, and what they mean."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from execaudit import times
from execaudit.errors import ConfigError, FilterError
from execaudit.event import Nanoseconds
from execaudit.location import DEFAULT_DATABASE, database_path
from execaudit.settings import DEFAULT_CONFIG, check_keys, load

if TYPE_CHECKING:
    from collections.abc import Callable

    from execaudit.query import Filter

_Function = TypeVar("_Function", bound="Callable[..., Any]")
_LAST_PID = 2**22  # PID_MAX_LIMIT
# Tables of the configuration file; each takes the options of the command of its name.
_CONFIGURABLE = ("record", "query", "export")


@dataclass
class State:
    """What the options before a command's name, and the configuration, have set."""

    db: str | None = None
    config: dict[str, Any] | None = None
    tables: dict[str, Any] = field(default_factory=dict)

    def use(self, config: dict[str, Any]) -> None:
        """Takes a configuration file's content. Raises ConfigError for keys that mean nothing."""
        check_keys("the top level", config, ("db", *_CONFIGURABLE))
        if not isinstance(config.get("db", ""), str):
            raise ConfigError("the setting db must be a string: a path, or sqlite:///PATH")
        for table in _CONFIGURABLE:
            if not isinstance(config.get(table, {}), dict):
                raise ConfigError(f"the setting {table} must be a table: [{table}]")
        self.config = config

    def defaults_for(self, command: click.Command) -> dict[str, Any]:
        """Returns the configured defaults of a command's options."""
        if self.config is None:
            default = Path(DEFAULT_CONFIG)
            self.use(load(default) if default.exists() else {})
        table: dict[str, Any] = (self.config or {}).get(command.name or "", {})
        known = {param.name or "" for param in command.params if isinstance(param, click.Option)}
        check_keys(f"[{command.name}]", table, known - {"db", "config"})
        return table

    def database(self) -> Path:
        """Returns the database: command line beats environment beats file."""
        if self.config is None:
            self.defaults_for(click.Command("none"))
        text = self.db or (self.config or {}).get("db") or DEFAULT_DATABASE
        return database_path(text)


def _take_config(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
    state = ctx.ensure_object(State)
    if value is not None:
        state.use(load(value))
    if ctx.parent is not None:
        ctx.default_map = state.defaults_for(ctx.command)


def _take_db(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(State).db = value


def config_option(function: _Function) -> _Function:
    """Adds --config."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        is_eager=True,  # it gives the other options their defaults
        expose_value=False,
        callback=_take_config,
        metavar="FILE",
        help=f"Settings.  [default: {DEFAULT_CONFIG}, if present]",
    )(function)


def db_option(function: _Function) -> _Function:
    """Adds --db."""
    return click.option(
        "--db",
        expose_value=False,
        callback=_take_db,
        envvar="EXECAUDIT_DB",
        metavar="PATH|URL",
        help=f"The history, an SQLite file.  [env: EXECAUDIT_DB; default: {DEFAULT_DATABASE}]",
    )(function)


class _Time(click.ParamType):
    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Nanoseconds:  # noqa: ANN401  # click's
        if isinstance(value, int):
            return Nanoseconds(value)
        try:
            return times.parse_time(str(value), now=datetime.now(timezone.utc).astimezone())
        except FilterError as exc:
            self.fail(str(exc), param, ctx)


class Duration(click.ParamType):
    """A length of time, `90s`, `1h30min`; nanoseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Nanoseconds:  # noqa: ANN401  # click's
        if isinstance(value, int):
            return Nanoseconds(value)
        try:
            return times.parse_duration(str(value))
        except FilterError as exc:
            self.fail(str(exc), param, ctx)


_PID = click.IntRange(0, _LAST_PID)
_FILTERS = (
    click.option(
        "--since",
        type=_Time(),
        metavar="TIME",
        help="At this time or later: 1h, today, 14:05, '2026-11-22 14:05'.",
    ),
    click.option("--until", type=_Time(), metavar="TIME", help="Before this time."),
    click.option("--pid", "pids", type=_PID, multiple=True, help="Process id."),
    click.option("--ppid", "ppids", type=_PID, multiple=True, help="Its parent's."),
    click.option("--comm", "comms", multiple=True, metavar="GLOB", help="Command name, 15 bytes at most."),
    click.option("--exe", "exes", multiple=True, metavar="GLOB", help="Path of the image that runs."),
    click.option("--args", "args", multiple=True, metavar="TEXT", help="Part of the command line."),
    click.option(
        "--args-regex", "args_regex", multiple=True, metavar="REGEX", help="Found in the command line."
    ),
    click.option("--user", "users", multiple=True, metavar="NAME|UID", help="Who ran it."),
    click.option("--cwd", "cwds", multiple=True, metavar="GLOB", help="Working directory."),
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


def build_filter(values: dict[str, Any], user_match: Callable[[str], Any]) -> Filter:
    """Returns the filter that the options ask for.

    `user_match` looks a user up. Raises FilterError.
    """
    from execaudit.query import Filter  # noqa: PLC0415  # `record --help` needs no query

    since, until = values["since"], values["until"]
    if since is not None and until is not None and since >= until:
        raise FilterError(
            "--since is not before --until, so nothing can be between them: swap or correct them"
        )

    def raw(name: str) -> tuple[bytes, ...]:
        return tuple(os.fsencode(text) for text in values[name])

    return Filter(
        since_ns=since,
        until_ns=until,
        pids=values["pids"],
        ppids=values["ppids"],
        comms=raw("comms"),
        exes=raw("exes"),
        cwds=raw("cwds"),
        args=raw("args"),
        args_regex=raw("args_regex"),
        users=tuple(user_match(text) for text in values["users"]),
        hosts=values["hosts"],
        failed=values["failed"],
        truncated=values["truncated"],
        limit=values["limit"],
        reverse=values["reverse"],
    )
