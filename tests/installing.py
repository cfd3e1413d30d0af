"""Run `make install` and `make uninstall` below a folder."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent
_SECONDS = 500  # it fetches packages
_STAGED = CHECKOUT / ".cache/staged"
STAGED = {"EXTRAS": "postgresql,redact,timestamp"}
"""The settings of make for it."""
# All of which an installation is made.
_INPUTS = (
    "LICENSE", "Makefile", "README.md", "bpf", "execaudit", "execaudit.service", "hatch_build.py", "migrations",
    "packaging", "pyproject.toml", "tools",
)  # fmt: skip


def staged() -> Path:
    """Returns a folder with everything that `make install` installs; it is made once for the same sources.

    To make it takes long, and all workers and both halves of `make test` can share it. `make test` removes
    that of an earlier run first.
    """
    folder, stamp, made_of = _STAGED / "root", _STAGED / "made-of", _made_of()
    _STAGED.parent.mkdir(exist_ok=True)
    with (_STAGED.parent / "staged.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != made_of:
            shutil.rmtree(_STAGED, ignore_errors=True)
            _STAGED.mkdir()
            make("install", folder, **STAGED)
            stamp.write_text(made_of)
    return folder


def _made_of() -> str:
    """Returns a checksum of the sources."""
    sums = hashlib.sha256(sys.version.encode())
    for top in _INPUTS:
        path = CHECKOUT / top
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and file.suffix not in {".pyc", ".so"}:
                sums.update(f"{file} {file.stat().st_mode} ".encode() + file.read_bytes())
    return sums.hexdigest()


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
