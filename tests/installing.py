"""Run `make install` and `make uninstall` below a folder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent
_SECONDS = 500  # it fetches packages


def make(target: str, destination: Path, **settings: str) -> str:
    """Returns the output of make; fails if make fails."""
    done = try_make(target, destination, **settings)
    assert done.returncode == 0, done.stderr
    return "".join(line for line in done.stderr.splitlines(keepends=True) if _is_ours(line))


def try_make(target: str, destination: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Returns the finished process."""
    variables = [f"{name}={value}" for name, value in {"DESTDIR": destination, **settings}.items()]
    return subprocess.run(
        ["make", "--no-print-directory", target, *variables],
        cwd=CHECKOUT,
        # A make that runs the tests would pass its own settings on.
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )


def _is_ours(line: str) -> bool:
    """Says whether a line is not a warning of pip, which may complain about this machine's settings."""
    return not line.startswith(("WARNING:", "DEPRECATION:", "[notice]"))
