"""Run a command with the sanitizers of addresses and of undefined behaviour in the compiled module.

`python -m tools.sanitized .venv/bin/python -m pytest tests/native` compiles execaudit/native/fast.pyx with
them, into a folder of its own, and tests/conftest.py takes it from there. A mistake ends the command.
"""

from __future__ import annotations

import os
import subprocess
import sys

from tools import compile_native

FOLDER = compile_native.ROOT / ".cache/sanitized"


def environment() -> dict[str, str]:
    """Returns what a Python must have to load a module with sanitizers."""
    # The sanitizer must be in the process from its start. It looks there for the C++ library, which BCC loads
    # later.
    libraries = [_library(name) for name in ("libasan.so", "libstdc++.so.6")]
    return {
        **os.environ,
        "LD_PRELOAD": " ".join(libraries),
        # Python's own allocator would hide where an object ends. What Python leaves at its end is no leak.
        "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }


def _library(name: str) -> str:
    command = [*compile_native.compiler(), f"-print-file-name={name}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603  # gcc


def main() -> None:
    """Compiles, and becomes the command."""
    try:
        file = compile_native.compiled(sanitized=True)
        FOLDER.mkdir(parents=True, exist_ok=True)
        compile_native.put(file, FOLDER)
        variables = environment() | {"EXECAUDIT_TEST_NATIVE": str(FOLDER)}
    except compile_native.CannotCompileError as problem:
        sys.exit(f"not compiled: {problem}")
    os.execvpe(sys.argv[1], sys.argv[1:], variables)  # noqa: S606  # what the user wrote


if __name__ == "__main__":
    main()
