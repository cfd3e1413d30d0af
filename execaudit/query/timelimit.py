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


def searcher(expression: str) -> Callable[[str], bool]:
    """Returns the function that says whether the expression is found in a text.

    Raises FilterError for an expression that is none. The function raises TimeoutError.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a later version may read otherwise
            search = regex.compile(expression, regex.DOTALL).search
    except (regex.error, OverflowError, RecursionError, ValueError) as exc:
        raise FilterError(
            f"--args-regex: {exc}", fix="Python's syntax, such as 'curl .*(http|ftp)://'"
        ) from exc
    return lambda text: search(text, timeout=SECONDS) is not None


def too_slow(expression: str, exec_id: str | None) -> SlowExpressionError:
    """Returns the error for a search that took longer than that."""
    whose = "an exec" if exec_id is None else f"exec {exec_id}"
    return SlowExpressionError(
        f"--args-regex {expression!a} took more than {SECONDS:g} s on the command line of {whose}",
        fix="write it without repetitions in one another, such as (a+)+, or choose fewer execs with other filters",
    )
