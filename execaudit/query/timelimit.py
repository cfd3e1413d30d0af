"""Regular expressions that end: a search has a bound in time, and Ctrl-C interrupts it.

Python's `re` can do neither. `regex` has its syntax, takes a time limit, and looks for signals.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import regex

from execaudit.errors import ExecauditError, FilterError

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 5.0
"""CPU time for one command line. Most take microseconds, a megabyte of arguments some milliseconds."""


class SlowExpressionError(ExecauditError):
    """A regular expression takes too long on one command line."""


def searcher(
    expression: str,
    *,
    option: str = "--args-regex",
    dot_all: bool = True,
    ignore_case: bool = False,
    many_lines: bool = False,
) -> Callable[[str], bool]:
    """Returns the function that says whether the expression is found in a text.

    Raises FilterError, which names the option, if the expression is none. The function raises TimeoutError.
    """
    flags = (
        regex.DOTALL * dot_all
        | regex.IGNORECASE * ignore_case
        | regex.MULTILINE * many_lines
        | regex.VERSION0
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a later version may read otherwise
            search = regex.compile(expression, flags).search
    except (regex.error, OverflowError, RecursionError, ValueError) as exc:
        raise FilterError(f"{option}: {exc}", fix="Python's syntax, such as 'curl .*(http|ftp)://'") from exc
    return lambda text: search(text, timeout=SECONDS) is not None


def too_slow(
    expression: str, exec_id: str | None, *, option: str = "--args-regex", what: str = "the command line"
) -> SlowExpressionError:
    """Returns the error for a search that took longer than that."""
    whose = "an exec" if exec_id is None else f"exec {exec_id}"
    return SlowExpressionError(
        f"{option} {expression!a} took more than {SECONDS:g} s on {what} of {whose}",
        fix="write it without repetitions in one another, such as (a+)+, or choose fewer execs with other filters",
    )
