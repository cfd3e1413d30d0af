"""Options that several commands have, apart from --config and --db of every command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

_Function = TypeVar("_Function", bound="Callable[..., Any]")


def text_or_json(function: _Function, *, json: str = "json") -> _Function:
    """Adds --format, as parameter `fmt`: text, or the name of the format for scripts."""
    return click.option(
        "--format",
        "fmt",
        type=click.Choice(["text", json]),
        default="text",
        show_default=True,
        help="For people or for scripts.",
    )(function)


def text_or_jsonl(function: _Function) -> _Function:
    """Adds --format, of which the one for scripts has a line of JSON for each exec."""
    return text_or_json(function, json="jsonl")


def verify_options(function: _Function) -> _Function:
    """Adds --verify and --key, as parameters `is_asked` and `keys`."""
    function = click.option(
        "--key",
        "keys",
        multiple=True,
        metavar="KEY|@FILE",
        help="With --verify: the verification key, in a file; @- reads standard input. Repeatable.  [default: that of"
        " `verify` in the configuration]",
    )(function)
    return click.option(
        "--verify",
        "is_asked",
        is_flag=True,
        help="Say whether this is as it was sealed: it is verified first. Exits with 4 if it is not.",
    )(function)
