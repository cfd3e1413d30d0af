"""Write the scripts with which bash, zsh and fish complete execaudit's commands: `completions.py FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from click.shell_completion import get_completion_class

from execaudit.cli import cli

# The file name that each shell looks for.
NAMES = {"bash": "execaudit", "zsh": "_execaudit", "fish": "execaudit.fish"}


def main(folder: Path) -> None:
    """Writes a folder for each shell."""
    for shell, name in NAMES.items():
        kind = get_completion_class(shell)
        if kind is None:
            sys.exit(f"completions: this click knows no {shell}")
        path = folder / shell / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # The script calls the program with this environment variable, which click reads.
        text = kind(cli, {}, "execaudit", "_EXECAUDIT_COMPLETE").source()
        path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
