"""Compile execaudit/native/fast.pyx: `python -m tools.compile_native` puts it into this checkout.

hatch_build.py calls this for wheels and installations. Cython makes C of it, and the C compiler a module; CC,
CFLAGS and LDFLAGS are used if they are set. What was compiled stays in .cache/native, and is compiled again
when a source, a flag, Python or Cython has changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zlib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAME = "execaudit.native.fast"
SOURCE = ROOT / "execaudit/native/fast.pyx"
HEADER = ROOT / "bpf/execaudit.h"
PURE = "EXECAUDIT_BUILD_PURE"
CACHE = ROOT / ".cache/native"
WHY_NOT = CACHE / "why-not"
"""tools/setup.sh and tools/install.sh show this file's line, because pip shows nothing of a build."""

# The module reads bytes of an attacker, so it gets the usual protections. -fwrapv is what Python itself is
# compiled with. The header takes its types from linux/types.h.
_FLAGS = (
    "-shared", "-fPIC", "-O2", "-g0", "-DNDEBUG", "-fwrapv", "-fvisibility=hidden", "-fstack-protector-strong",
    "-Wall", "-Wextra", "-Wl,-z,relro,-z,now", "-include", "linux/types.h",
)  # fmt: skip
_FORTIFIED = ("-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2")
SANITIZED = (
    "-O1", "-g", "-UNDEBUG", "-fno-wrapv", "-fno-omit-frame-pointer", "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
)  # fmt: skip
_KEPT = 12  # files in the cache: some versions of Python, with and without sanitizers


class CannotCompileError(Exception):
    """There is no compiled module. The message says why, in one line."""


def file_name() -> str:
    """Returns the name that this Python gives to the module's file."""
    return f"{SOURCE.stem}{sysconfig.get_config_var('EXT_SUFFIX')}"


def compiler() -> list[str]:
    """Returns the words that start the C compiler. Raises CannotCompileError if it cannot be used here."""
    if sys.implementation.name != "cpython":
        raise CannotCompileError(f"{sys.implementation.name} is not CPython")
    chosen = os.environ.get("CC")
    for words in [chosen] if chosen else [sysconfig.get_config_var("CC"), "cc", "gcc"]:
        split = _words(words or "")
        if split and shutil.which(split[0]):
            break
    else:
        raise CannotCompileError(f"there is no C compiler {chosen}" if chosen else "there is no C compiler")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        raise CannotCompileError(f"{sysconfig.get_path('include')} has no Python.h (python3-dev has it)")
    return split


def compiled(source: Path = SOURCE, *, sanitized: bool = False) -> Path:
    """Returns the module's file in the cache, and compiles it if it is not there.

    Raises CannotCompileError.
    """
    if os.environ.get(PURE, "0") not in {"", "0"}:
        raise CannotCompileError(f"{PURE} is set")
    start = compiler()
    flags = [*_FLAGS, *(SANITIZED if sanitized else _FORTIFIED), f"-I{HEADER.parent}"]
    flags += [f"-I{sysconfig.get_path(name)}" for name in ("include", "platinclude")]
    given = [_words(os.environ.get(name, "")) for name in ("CFLAGS", "LDFLAGS")]
    command = [*start, *flags, *given[0], "fast.c", "-o", "fast.so", *given[1]]
    try:
        version = metadata.version("Cython")
    except metadata.PackageNotFoundError:
        raise CannotCompileError("Cython is not installed") from None
    parts = (
        sys.version,
        version,
        *command,
    )
    key = hashlib.sha256("\0".join(parts).encode())
    for path in (source, HEADER, Path(__file__)):
        key.update(path.read_bytes())
    file = CACHE / f"{key.hexdigest()[:32]}.so"
    try:
        if not file.exists():
            CACHE.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=CACHE) as folder:
                _compile(source, command, Path(folder))
                Path(folder, "fast.so").replace(file)
            _forget_the_oldest()
    except OSError as exc:
        raise CannotCompileError(f"{exc.filename}: {exc.strerror}") from exc
    return file


def put(file: Path, folder: Path) -> Path:
    """Copies what was compiled into a folder, in place of what is there. Returns its path.

    Raises CannotCompileError.
    """
    path = folder / file_name()
    new = path.with_suffix(".new")
    try:
        shutil.copyfile(file, new)
        new.chmod(0o644)
        # A process that runs keeps the file that it has loaded.
        new.replace(path)
    except OSError as exc:
        raise CannotCompileError(f"{exc.filename}: {exc.strerror}") from exc
    return path


def into_checkout() -> None:
    """Puts the module beside its source; removes it, and raises CannotCompileError, if it cannot be made."""
    try:
        put(compiled(), SOURCE.parent)
    except CannotCompileError:
        with contextlib.suppress(OSError):
            (SOURCE.parent / file_name()).unlink(missing_ok=True)
        raise


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as exc:
        raise CannotCompileError(f"{text}: {exc}") from exc


def _compile(source: Path, command: list[str], folder: Path) -> None:
    # Relative paths, so that the module does not depend on the folder in which it was made. The last line is
    # for execaudit.native, which compares it with the files that are there.
    sums = ", ".join(f"0x{zlib.crc32(path.read_bytes()):08x}" for path in (HEADER, source))
    copy = folder / f"{NAME.replace('.', '/')}.pyx"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(source.read_bytes() + f"\nSOURCES = ({sums})\n".encode())
    translate = [sys.executable, "-m", "cython", "-3", "--module-name", NAME, "-o", "fast.c"]
    for name, words in (("Cython", [*translate, str(copy.relative_to(folder))]), (command[0], command)):
        done = subprocess.run(  # noqa: S603  # the compiler that the user chose
            words,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C.UTF-8"},  # the words of an error are looked for
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            check=False,
        )
        if done.returncode:
            raise CannotCompileError(f"{name} failed: {_first_error(done.stdout + done.stderr)}")
        sys.stderr.write(done.stderr)


def _first_error(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    # Cython writes FILE:LINE:COLUMN: and the message, a C compiler `error:` as well.
    errors = [line for line in lines if re.search(r"error: |\.pyx:\d+:\d+: (?!warning)", line)]
    return next(iter(errors + lines[-1:]), "it said nothing")


def _forget_the_oldest() -> None:
    with contextlib.suppress(FileNotFoundError):  # another build does the same
        for old in sorted(CACHE.glob("*.so"), key=lambda path: path.stat().st_mtime)[:-_KEPT]:
            old.unlink()


if __name__ == "__main__":
    try:
        into_checkout()
    except CannotCompileError as problem:
        sys.exit(f"not compiled: {problem}")
