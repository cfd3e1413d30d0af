"""The options for how an answer is shown to people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from execaudit.cli.context import State

if TYPE_CHECKING:
    from collections.abc import Callable

_Function = TypeVar("_Function", bound="Callable[..., Any]")


def _take(ctx: click.Context, param: click.Parameter, value: Any) -> None:  # noqa: ANN401  # a flag or a word
    state = ctx.ensure_object(State)
    name = str(param.name)
    state.look = state.look._replace(**{"pager": not value} if name == "no_pager" else {name: value})


_OPTIONS: tuple[dict[str, Any], ...] = (
    {
        "param_decls": ("--color",),
        "type": click.Choice(["auto", "always", "never"]),
        "default": "auto",
        "help": "Colour: on a terminal, unless NO_COLOR is set.",
        "show_default": True,
    },
    {"param_decls": ("--no-pager",), "is_flag": True, "help": "A long answer does not go to $PAGER."},
    {"param_decls": ("--utc",), "is_flag": True, "help": "Show times in UTC."},
)
_WIDE = {"param_decls": ("--wide",), "is_flag": True, "help": "All columns of the table, each whole."}


def view_options(function: _Function) -> _Function:
    """Adds --color, --no-pager and --utc."""
    return _added(function, _OPTIONS)


def table_options(function: _Function) -> _Function:
    """Adds --wide, --color, --no-pager and --utc."""
    return _added(function, (_WIDE, *_OPTIONS))


def _added(function: _Function, options: tuple[dict[str, Any], ...]) -> _Function:
    for option in reversed(options):
        given = dict(option)
        function = click.option(*given.pop("param_decls"), expose_value=False, callback=_take, **given)(
            function
        )
    return function
