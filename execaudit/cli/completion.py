"""Have the shell complete the values of options: from the history, or from a list.

Only shells call this: all imports are made then. Nothing is said on errors, because the user is typing.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import click
    from click.shell_completion import CompletionItem

    _Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

# Bash puts a completed word into the command line as it is. Who names a program chooses the word, so none is
# offered that a shell would not take as a plain word.
PLAIN = re.compile(r"[A-Za-z0-9_./%+,@][A-Za-z0-9_./%+,@-]*")
MOST = 500
# A shell waits meanwhile. After so many instructions SQLite asks whether it is too late.
_MOST_SECONDS, _STEPS = 0.5, 10_000


def of_history(name: str) -> _Complete:
    """Returns what completes a word from the values of a field in the history."""

    def complete(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        import os  # noqa: PLC0415  # as all here

        values = values_of(ctx, name, os.fsencode(incomplete))
        return items(os.fsdecode(value) for value in values)

    return complete


def items(words: Iterable[str]) -> list[CompletionItem]:
    """Returns what a shell is offered: in order, without what is no plain word."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415

    return [CompletionItem(word) for word in sorted(filter(PLAIN.fullmatch, words))[:MOST]]


def values_of(ctx: click.Context, name: str, beginning: bytes) -> set[bytes]:
    """Returns values of a field in the history that begin so; none if it cannot be read, or not in time."""
    import sqlite3  # noqa: PLC0415

    from execaudit.cli.context import State  # noqa: PLC0415
    from execaudit.errors import ExecauditError  # noqa: PLC0415
    from execaudit.query.connection import open_history  # noqa: PLC0415
    from execaudit.query.known_values import known_values  # noqa: PLC0415

    deadline = time.monotonic() + _MOST_SECONDS
    try:
        with open_history(ctx.ensure_object(State).database()) as connection:
            connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
            return known_values(connection, name, beginning)
    except (ExecauditError, sqlite3.Error, OSError):
        return set()
