"""Ask systemd about the units of packaging/."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

PACKAGING = Path(__file__).parents[2] / "packaging"
PROGRAM = "/usr/local/bin/execaudit"


class Unit:
    """A unit's file. systemd must not run for what is asked."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = (PACKAGING / name).read_text()

    def analyzed(self, folder: Path, text: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Returns what systemd-analyze says of the unit with a text."""
        unit = folder / self.name
        unit.write_text(text.replace(PROGRAM, "/bin/true"))
        return subprocess.run(
            ["systemd-analyze", *command, str(unit)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def complaints(self, folder: Path, text: str) -> list[str]:
        """Returns what systemd has against the unit."""
        done = self.analyzed(folder, text, "verify", "--recursive-errors=no", "--man=no")
        return [line for line in done.stderr.splitlines() if self.name in line]

    def setting(self, name: str) -> str:
        """Returns the value of a setting that is there once."""
        (value,) = re.findall(rf"^{name}=(.*)$", self.text, re.MULTILINE)
        return str(value)
