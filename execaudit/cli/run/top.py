"""The screen of `execaudit top`, on the history that the options name."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, Any

from execaudit.cli.run.build_filter import build_filter
from execaudit.errors import ExecauditError
from execaudit.escaping import printable
from execaudit.output.tree_layout import glyphs_for
from execaudit.query.connection import open_history
from execaudit.query.local_history import LocalHistory

if TYPE_CHECKING:
    from pathlib import Path

_LIBRARIES = {"rich", "textual"}
# These say which history, and not which execs.
_NO_FILTERS = ("--config", "--db")


def watch(path: Path, values: dict[str, Any]) -> int:
    """Shows the screen until the user leaves it. Returns the exit status.

    Raises ExecauditError if there is nothing to show, or nothing to show it with.
    """
    # As long as the terminal is an ordinary one, what is wrong with the options is said there.
    with open_history(path, follow=True) as connection:
        build_filter(values, LocalHistory(connection))
    if not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()):
        raise ExecauditError("top needs a terminal", fix="use `execaudit query --follow`")
    try:
        from execaudit.screen import app  # noqa: PLC0415  # of the extra `top`, which may be missing
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] not in _LIBRARIES:
            raise
        raise ExecauditError(
            "top needs the library textual, which is not installed",
            fix="install execaudit with its extra: `pip install 'execaudit[top]'`, or `make install EXTRAS=top`",
        ) from exc
    from execaudit.screen.model import Model  # noqa: PLC0415  # after textual
    from execaudit.screen.reader import Source  # noqa: PLC0415

    # Textual draws on standard error.
    encoding = sys.stderr.encoding or "ascii"
    if os.environ.get("TERM", "dumb") in {"", "dumb"}:
        raise ExecauditError(
            "this terminal can show lines only (TERM=dumb)", fix="use `execaudit query --follow`"
        )
    model = Model(options=_options(sys.argv), reverse=values["reverse"])
    source = Source(
        path, lambda connection: build_filter(values, LocalHistory(connection)), glyphs_for(encoding)
    )
    return app.run(model, source, encoding=encoding)


def _options(words: list[str]) -> str:
    """Returns the filters of a command line, as they were typed."""
    kept: list[str] = []
    given = iter(words[words.index("top") + 1 :] if "top" in words else [])
    for word in given:
        if word in _NO_FILTERS:
            next(given, None)
        elif not word.startswith(tuple(f"{name}=" for name in _NO_FILTERS)):
            kept.append(word)
    return printable(shlex.join(kept))
