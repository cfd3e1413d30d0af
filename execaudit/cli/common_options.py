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
