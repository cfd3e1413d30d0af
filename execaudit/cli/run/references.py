"""The exec that a user names; if there are several, they are listed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from execaudit.cli import terminal
from execaudit.errors import ExecauditError
from execaudit.exec_id import ID_LENGTH
from execaudit.output import summary_line, tree_layout
from execaudit.query import references

if TYPE_CHECKING:
    from execaudit.event import Nanoseconds
    from execaudit.query.history import History

_MOST_LISTED, _WIDTH = 10, 110


def number_of(
    history: History,
    text: str,
    since_ns: Nanoseconds | None = None,
    until_ns: Nanoseconds | None = None,
) -> int:
    """Returns the row number of the exec that an id, its beginning or `pid:N` names.

    The times are for a pid. Several are listed on stderr. Raises ExecauditError if it is not one.
    """
    numbers = references.named(history, text, most=_MOST_LISTED + 1, since_ns=since_ns, until_ns=until_ns)
    if len(numbers) == 1:
        return numbers[0]
    pid = references.pid_of(text)
    if not numbers and pid is not None:
        numbers = references.named(history, text, most=_MOST_LISTED + 1)
        _list(history, numbers)
        raise ExecauditError(
            f"pid {pid} had no exec in this time",
            fix="name one of these, of other times, by its id"
            if numbers
            else "look with `query --pid`, or name another --db",
        )
    if not numbers:
        raise ExecauditError(
            f"there is no exec {text} in this history"
            if len(text) == ID_LENGTH
            else f"there is no exec whose id begins with {text} in this history",
            fix="take an id from `query`, or name another --db",
        )
    _list(history, numbers)
    many = f"more than {_MOST_LISTED}" if len(numbers) > _MOST_LISTED else str(len(numbers))
    what = f"pid {pid} had {many} execs" if pid is not None else f"{many} ids begin with {text}"
    raise ExecauditError(what, fix="name one of these by its id")


def _list(history: History, numbers: list[int]) -> None:
    """Shows the first of several execs on stderr, a line each."""
    # Command lines can have megabytes.
    style = summary_line.Style(
        glyphs=tree_layout.glyphs_for(sys.stderr.encoding), width=terminal.width() or _WIDTH
    )
    for found in history.fetch(numbers[:_MOST_LISTED]):
        click.echo(summary_line.kin_line(found.event, "", style), err=True)
