"""Read and check the configuration file: TOML, in which settings have the names of the options."""

from __future__ import annotations

import sys
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

from execaudit.errors import ConfigError, FilterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_Value = TypeVar("_Value")
DEFAULT_CONFIG = "/etc/execaudit/config.toml"
TABLES = ("record", "query", "export", "show", "tree", "stats", "report", "hunt", "top", "forward", "verify")
"""Each has the options of the command of its name."""
SECTIONS = ("store", "retention", "json_log", "metrics", "redact", "seal")
"""Tables for the tasks that a recorder does by itself: see daemon/settings.py."""
# Longer than any settings. Without a limit, a device such as /dev/zero would be read for ever.
_LARGEST = 1_000_000


class Settings(NamedTuple):
    """The content of a configuration file; empty if there is no file."""

    path: Path = Path(DEFAULT_CONFIG)
    db: str | None = None
    tables: Mapping[str, dict[str, Any]] = MappingProxyType({})
    is_default: bool = False
    """The user did not name the file, so it may be missing."""

    def refuse(self, why: str, *, fix: str | None = None) -> NoReturn:
        """Raises ConfigError, naming the file. Give a `fix` where `why` does not say what is right."""
        raise ConfigError(f"{self.path}: {why}", fix=fix)

    def value(self, section: str, key: str) -> object:
        """Returns what the file has in a table; None if there is nothing."""
        return self.tables.get(section, {}).get(key)

    def text(self, section: str, key: str) -> str | None:
        """Returns a string of a table. Raises ConfigError if it is something else."""
        value = self.value(section, key)
        if value is not None and not isinstance(value, str):
            self.refuse(f"{key} in [{section}] must be a string")
        return value

    def parsed(self, section: str, key: str, parse: Callable[[str], _Value]) -> _Value | None:
        """Returns what a string of a table means. Raises ConfigError if it means nothing."""
        text = self.text(section, key)
        try:
            return None if text is None else parse(text)
        except FilterError as exc:
            self.refuse(f"{key} in [{section}]: {exc.what}", fix=exc.fix)

    def check_keys(self, where: str, given: Iterable[str], known: Iterable[str]) -> None:
        """Raises ConfigError for a key that is not known, and names the most similar key that is."""
        names = sorted(known)
        for key in given:
            if key not in names:
                import difflib  # noqa: PLC0415  # only mistakes need it

                near = difflib.get_close_matches(key, names, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
                self.refuse(f"unknown setting {key!r} {where}", fix=hint)


def load(path: Path) -> Settings:
    """Returns the settings of a file. Raises ConfigError when it cannot be read or understood."""
    try:
        return _parsed(path, _content(path))
    except OSError as exc:
        raise _unreadable(path, exc) from exc


def load_default(path: Path = Path(DEFAULT_CONFIG)) -> Settings:
    """Returns the settings of a file that may be missing. Raises ConfigError as `load` does."""
    try:
        return _parsed(path, _content(path))._replace(is_default=True)
    except (FileNotFoundError, NotADirectoryError):
        return Settings(is_default=True)
    except OSError as exc:
        raise _unreadable(path, exc) from exc


def reload(settings: Settings) -> Settings:
    """Reads their file again. Raises ConfigError."""
    return load_default(settings.path) if settings.is_default else load(settings.path)


def scalars(value: object) -> list[str] | None:
    """Returns a value, or each value of a list, as text for an option; None if it is no text or integer."""
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(each, (str, int)) and not isinstance(each, bool) for each in values):
        return None
    return [str(each) for each in values]


def _unreadable(path: Path, exc: OSError) -> ConfigError:
    return ConfigError(f"cannot read {path}: {exc.strerror}", fix="name another file with --config")


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ConfigError(
            f"{path} is no configuration: it has more than {_LARGEST} bytes",
            fix="name another file with --config",
        )
    return content


def _parsed(path: Path, content: bytes) -> Settings:
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415  # most calls have no configuration
    else:
        import tomli as tomllib  # noqa: PLC0415

    try:
        config: dict[str, Any] = tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path} is not UTF-8 text (byte {exc.start})", fix="correct it") from exc
    except (ValueError, RecursionError) as exc:  # TOMLDecodeError, and int() of too many digits
        raise ConfigError(f"{path} is not TOML: {exc}", fix="correct it") from exc
    tables = {name: value for name, value in config.items() if name in (*TABLES, *SECTIONS)}
    settings = Settings(path, config.get("db"), tables)
    settings.check_keys("at the top", config, ("db", *TABLES, *SECTIONS))
    if not isinstance(config.get("db", ""), str):
        settings.refuse("db must be a string", fix="a path, or sqlite:///PATH")
    for name, table in tables.items():
        if not isinstance(table, dict):
            settings.refuse(f"{name} must be a table", fix=f"[{name}]")
    return settings
