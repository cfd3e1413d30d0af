"""The configuration file: TOML, with the names of the options. Reading and checking it."""

from __future__ import annotations

import difflib
import sys
from typing import TYPE_CHECKING, Any

from execaudit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

DEFAULT_CONFIG = "/etc/execaudit/config.toml"


def load(path: Path) -> dict[str, Any]:
    """Returns the settings of a file: `db`, and a table for each command that has options.

    Raises ConfigError when it cannot be read or is not TOML.
    """
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415  # most calls have no configuration
    else:
        import tomli as tomllib  # noqa: PLC0415

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}: name another file with --config") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path} is not UTF-8 text (byte {exc.start}): correct it") from exc
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path} is not TOML: {exc}: correct it") from exc


def check_keys(table: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raises ConfigError for a key that is not known, naming the nearest that is."""
    names = sorted(known)
    for key in given:
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names)}"
            raise ConfigError(f"unknown setting {key!r} in {table} of the configuration: {hint}")
