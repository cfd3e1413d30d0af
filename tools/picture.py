"""Draw the terminal of the README: `make picture` writes docs/images/terminal.svg anew.

This runs the commands on the history of tests/incident.py. A test compares their output with the picture.
"""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from pathlib import Path

from execaudit.system import clock
from tests.commands import on_terminal
from tests.incident import recorded

PICTURE = Path(__file__).parent.parent / "docs/images/terminal.svg"
SHOWN = (
    "execaudit query --args /etc/cron.d/sync --since 2026-11-23",
    "execaudit tree --args /etc/cron.d/sync --since 2026-11-23",
)
"""The README explains them."""
_COLUMNS = 112


def main() -> None:
    """Writes the picture."""
    from rich.console import Console  # noqa: PLC0415  # only the extra `docs` has it
    from rich.text import Text  # noqa: PLC0415

    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=_COLUMNS, force_terminal=True, file=nowhere)
        for words, output in shown():
            console.print(Text.from_ansi(f"\033[1m$ {words}\033[0m"))
            console.print(Text.from_ansi(output))
    drawn = console.export_svg(title="web1", unique_id="terminal")
    # Without this, the reader's browser would fetch fonts from another site.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)
    PICTURE.write_text(re.sub(r"[ \t]+$", "", picture, flags=re.MULTILINE), encoding="utf-8")


def shown(**env: str) -> list[tuple[str, str]]:
    """Returns each command, and its output on a terminal, standard error included."""
    with tempfile.TemporaryDirectory() as folder, recorded(Path(folder) / "execaudit.db") as store:
        store.append((), seen_ns=clock.wall_ns())  # a recorder does this each minute
        env = {"COLUMNS": str(_COLUMNS), "EXECAUDIT_DB": f"{folder}/execaudit.db", **env}
        return [
            (words, on_terminal(*shlex.split(words)[1:], env=env, stderr=True).out.decode())
            for words in SHOWN
        ]


if __name__ == "__main__":
    main()
