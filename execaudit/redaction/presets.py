"""The rules that come with execaudit: presets.toml, read as the configuration is."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from execaudit.errors import ConfigError
from execaudit.redaction.rules import parse_rules

if TYPE_CHECKING:
    from collections.abc import Iterable

    from execaudit.redaction.rules import Rule

ALL = "all"


@cache
def presets() -> dict[str, tuple[Rule, ...]]:
    """Returns the rules of each preset."""
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415  # only with redaction
    else:
        import tomli as tomllib  # noqa: PLC0415

    tables: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return {name: parse_rules(rules, f"preset {name}") for name, rules in tables.items()}


def rules_of(names: Iterable[str]) -> list[Rule]:
    """Returns the rules of presets; `all` is each of them. Raises ConfigError for a name that is none."""
    known = presets()
    found: list[Rule] = []
    for name in names:
        if name != ALL and name not in known:
            raise ConfigError(
                f"there is no preset {name!r}", fix=f"there are {ALL}, {', '.join(sorted(known))}"
            )
        for each in known if name == ALL else (name,):
            found += known[each]
    return found
