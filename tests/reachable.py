"""A copy of the program that every user can run: the checkout may be in a folder that others cannot enter."""

from __future__ import annotations

import atexit
import functools
import os
import re
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path

_CHECKOUT = Path(__file__).parent.parent


def program() -> tuple[str, ...]:
    """Returns a command that any user can run."""
    return (*script("from execaudit.cli import main; main()"), "--config", os.devnull)


def script(code: str) -> tuple[str, ...]:
    """Returns a command that any user can run, for Python code that imports the program."""
    folder = _copied()
    if folder is None:
        return (sys.executable, "-c", code)
    before = f"import sys; sys.path.insert(0, {str(folder)!r})"
    return (os.path.realpath(sys.executable), "-I", "-c", f"{before}\n{code}")


@functools.cache
def _copied() -> Path | None:
    """Returns a folder with a copy of the program and of the packages that it imports."""
    try:
        names = _needed("execaudit", set())
    except metadata.PackageNotFoundError:
        # In a guest of tests/kernels nothing is installed, and everybody can read everything.
        return None
    folder = Path(tempfile.mkdtemp(prefix="execaudit-program-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in ("execaudit", "bpf", "migrations"):
        shutil.copytree(_CHECKOUT / name, folder / name)
    for distribution in names:
        _copy(distribution, folder)
    _open(folder)
    return folder


def _needed(name: str, known: set[str]) -> set[str]:
    """Returns the names of all packages that a package needs, directly or not."""
    for requirement in metadata.requires(name) or ():
        needed = re.match(r"[\w.-]+", requirement)
        if needed is None or needed[0] in known or "extra ==" in requirement:
            continue
        try:
            metadata.distribution(needed[0])
        except metadata.PackageNotFoundError:
            continue  # only another version of Python needs it
        known.add(needed[0])
        _needed(needed[0], known)
    return known


def _copy(name: str, folder: Path) -> None:
    for file in metadata.files(name) or ():
        if file.parts[0] != "..":
            target = folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(str(file.locate()), target)


def _open(folder: Path) -> None:
    """Lets everybody read the content of a folder, whatever the umask was when it was made."""
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
