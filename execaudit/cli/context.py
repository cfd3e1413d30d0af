"""The database and the settings of every command: --db and --config."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click
from click.core import ParameterSource

from execaudit.config import DEFAULT_CONFIG, TABLES, Settings, load, load_default, scalars
from execaudit.database.url import DEFAULT_DATABASE, Central, location_of
from execaudit.errors import ConfigError, StoreError
from execaudit.escaping import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from click.shell_completion import CompletionItem

    from execaudit.fleet.engine import Engine
    from execaudit.query.history import History
    from execaudit.query.local_history import LocalHistory

_Function = TypeVar("_Function", bound="Callable[..., Any]")
OF_THE_PLACE = frozenset({"db", "config", "db_password_file"})
"""The parameters that say where the history is, and how to get there: no table of a command sets them."""
# After so many instructions SQLite calls Python, which then handles Ctrl-C.
_STEPS = 100_000
# Arguments of commands that the configuration can set: see State.configured.
_SETTABLE = {"rules"}


class Look(NamedTuple):
    """How the user wants an answer shown."""

    color: str = "auto"
    """Or `always`, or `never`."""
    pager: bool = True
    """An answer that is longer than the terminal goes to a pager."""
    wide: bool = False
    """All columns, each whole."""
    utc: bool = False

    @property
    def has_colour(self) -> bool:
        """Says whether the output may be coloured: see https://no-color.org."""
        if self.color != "auto":
            return self.color == "always"
        return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"

    def use_zone(self) -> None:
        """Has all times shown in UTC from now on, if that is wanted. Options were read before."""
        if self.utc:
            os.environ["TZ"] = "UTC"
            time.tzset()


class State:
    """Holds what the options, before or after the command's name, and the configuration set."""

    def __init__(self) -> None:
        self.db: str | None = None
        self.password_file: Path | None = None
        """Has the password of a central database."""
        self.config: Settings | None = None
        self.look = Look()

    def settings(self) -> Settings:
        """Returns the settings of the file that was named, else of the default one."""
        if self.config is None:
            self.config = load_default()
        return self.config

    def configured(self, command: str, name: str) -> tuple[str, ...]:
        """Returns the values that the configuration has for an argument of a command."""
        return tuple(scalars(self.settings().tables.get(command, {}).get(name, [])) or ())

    def location(self) -> Path | Central:
        """Returns where the history is: command line beats environment beats file."""
        given = self.settings().db if self.db is None else self.db
        return location_of(DEFAULT_DATABASE if given is None else given)

    def database(self) -> Path:
        """Returns the file of the history, for what is done with a file alone.

        Raises ConfigError if the history is in a central database.
        """
        location = self.location()
        if isinstance(location, Central):
            raise ConfigError(
                f"this is done with a history in a file, and --db is {location.engine.value}://...",
                fix="give a path, or sqlite:///PATH",
            )
        return location

    def database_to_write(self) -> Path:
        """Returns the database for a writer, unless it is the database of another program.

        Raises StoreError.
        """
        from execaudit.query.connection import revision_of  # noqa: PLC0415  # `--help` needs no SQLite

        path = self.database()
        if path.exists() and not (path.is_file() and path.stat().st_size == 0) and revision_of(path) is None:
            raise StoreError(f"{path} is another program's database", fix="name another file with --db")
        return path

    @contextlib.contextmanager
    def history(self) -> Iterator[History]:
        """Opens the history for reading, wherever it is."""
        location = self.location()
        if not isinstance(location, Central):
            with self.local() as history:
                yield history
            return
        from execaudit.cli.run.progress import reading  # noqa: PLC0415  # `--help` needs none of it
        from execaudit.fleet.central import open_central  # noqa: PLC0415  # heavy

        self.look.use_zone()
        with reading() as far, open_central(location, far, self.password_file) as central:
            yield central

    @contextlib.contextmanager
    def central(self) -> Iterator[Engine]:
        """Opens a central database, for what is asked of the whole fleet.

        Raises ConfigError if the history is in a file.
        """
        location = self.central_location()
        from execaudit.fleet.central import open_engine  # noqa: PLC0415  # heavy

        self.look.use_zone()
        with open_engine(location, self.password_file) as engine:
            yield engine

    def is_central(self) -> bool:
        """Says whether the history is in a central database."""
        return isinstance(self.location(), Central)

    def central_location(self) -> Central:
        """Returns where the central database is. Raises ConfigError if the history is in a file."""
        location = self.location()
        if not isinstance(location, Central):
            raise ConfigError(
                "this is asked of a central database, and --db is a file",
                fix="give postgresql://... or clickhouse://...",
            )
        return location

    @contextlib.contextmanager
    def local(self, *, follow: bool = False) -> Iterator[LocalHistory]:
        """Opens the file of the history for reading; `follow`: see open_history().

        Raises ConfigError as database().
        """
        from execaudit.query.connection import may_lack_its_end, open_history  # noqa: PLC0415  # `--help` needs no SQLite

        path = self.database()
        with open_history(path, follow=follow) as connection:
            if may_lack_its_end(path, connection):
                name = printable(str(path))
                click.echo(
                    f"gap: {name} may lack its newest execs: {name}-wal is missing: copy both, or use `execaudit db backup`",
                    err=True,
                )
            from execaudit.cli.run.progress import reading  # noqa: PLC0415  # as above
            from execaudit.query.local_history import LocalHistory  # noqa: PLC0415

            self.look.use_zone()
            with reading() as far:
                connection.reading = far
                connection.set_progress_handler(far.look, _STEPS)
                yield LocalHistory(connection)


def _take_config(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
    state = ctx.ensure_object(State)
    if value is not None:
        state.config = load(value)
    if ctx.parent is not None:
        ctx.default_map = _defaults(ctx, state.settings())


def _defaults(ctx: click.Context, settings: Settings) -> dict[str, Any]:
    """Returns the configured defaults of a command's options, checked as if they were typed.

    Raises ConfigError.
    """
    options = {
        option.opts[-1].removeprefix("--").replace("-", "_"): option
        for option in ctx.command.params
        if isinstance(option, click.Option) and option.name not in OF_THE_PLACE
    }
    where = f"in [{ctx.command.name}]"
    arguments = {param.name for param in ctx.command.params if isinstance(param, click.Argument)}
    # [redact] is a table of the recorder's, and the command of its name has no settings.
    given_table = settings.tables.get(ctx.command.name or "", {}) if ctx.command.name in TABLES else {}
    table = _renamed(given_table, options, settings, where)
    settings.check_keys(where, table, [*options, *_SETTABLE & arguments])
    defaults = {}
    for key, value in table.items():
        if key in _SETTABLE & arguments:
            if scalars(value) is None:
                settings.refuse(f"{key} {where} must be a string, or a list of these")
            continue
        option = options[key]
        given = _given(option, value)
        if given is None:
            settings.refuse(f"{key} {where} must be {_expected(option)}")
        try:
            option.process_value(ctx, given)
        except click.BadParameter as exc:
            settings.refuse(f"{key} {where}: {exc.message}")
        defaults[option.name or ""] = given
    if (former := [key for key in given_table if key not in table]) and not ctx.resilient_parsing:
        names = ", ".join(f"{key.replace('-', '_')} for {key}" for key in former)
        message = f"{settings.path}: former spelling {where}: write {names}"
        click.echo(printable(message), err=True)
    return defaults


def _renamed(
    table: Mapping[str, Any], known: Iterable[str], settings: Settings, where: str
) -> dict[str, Any]:
    """Returns a table whose keys are spelled as today: with an underscore, where they had a hyphen before.

    Raises ConfigError for a setting in both spellings.
    """
    renamed: dict[str, Any] = {}
    for key, value in table.items():
        today = key.replace("-", "_")
        name = today if today in known else key
        if name in renamed:
            settings.refuse(f"{name} {where} stands there twice", fix=f"keep {name}, and remove {key}")
        renamed[name] = value
    return renamed


def _given(option: click.Option, value: object) -> object:
    """Returns a setting as click takes it, or None if it is none for this option."""
    if option.is_flag:
        return value if isinstance(value, bool) else None
    texts = scalars(value)
    if option.multiple or texts is None:
        return texts
    return None if isinstance(value, list) else texts[0]


def _expected(option: click.Option) -> str:
    if option.is_flag:
        return "true or false"
    return "a string or a number" + (", or a list of these" if option.multiple else "")


def _take_db(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    state = ctx.ensure_object(State)
    if value is None:
        return
    # The command reads the environment too, but an option before its name is stronger.
    if state.db is None or ctx.get_parameter_source("db") is not ParameterSource.ENVIRONMENT:
        state.db = value


def config_option(function: _Function) -> _Function:
    """Adds --config."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path, readable=False),  # load() says why
        is_eager=True,  # it gives the other options their defaults
        expose_value=False,
        callback=_take_config,
        metavar="FILE",
        help=f"Settings.  [default: {DEFAULT_CONFIG}, if present]",
    )(function)


def files(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Has the shell complete the name of a file, where the value is a text that may be a file."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415  # only shells ask for it

    return [CompletionItem(incomplete, type="file")]


def db_option(function: _Function) -> _Function:
    """Adds --db."""
    return click.option(
        "--db",
        expose_value=False,
        callback=_take_db,
        envvar="EXECAUDIT_DB",
        metavar="PATH|URL",
        shell_complete=files,
        help="The history: an SQLite file, or a central database, postgresql://USER@HOST/DATABASE.  "
        f"[env: EXECAUDIT_DB; default: {DEFAULT_DATABASE}]",
    )(function)


def _take_password_file(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.ensure_object(State).password_file = value


def password_option(function: _Function) -> _Function:
    """Adds --password-file, for the central database that --db names."""
    return click.option(
        "--password-file",
        "db_password_file",
        type=click.Path(path_type=Path, readable=False),
        expose_value=False,
        callback=_take_password_file,
        metavar="FILE",
        shell_complete=files,
        help="Of a central database: the password is the first line of this file.",
    )(function)
