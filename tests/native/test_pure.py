"""Where nothing is compiled, all is done in Python: the tests of it pass there too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).parents[2]
# Those of what has a compiled form, and of what passes through all of it.
FILES = (
    "tests/capture/test_assembler.py",
    "tests/capture/test_assembler_facts.py",
    "tests/output/test_json_lines.py",
    "tests/output/test_export.py",
    "tests/store/test_ends.py",
    "tests/store/test_interning.py",
    "tests/daemon/test_line_size.py",
)


def test_python_alone_passes_the_same_tests() -> None:
    """As on a host without a compiler, and with EXECAUDIT_PURE=1."""
    is_pure = "from execaudit import native; assert native.fast is None"
    pure = {**os.environ, "EXECAUDIT_PURE": "1"}
    for name in ("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_CURRENT_TEST"):
        pure.pop(name, None)
    subprocess.run([sys.executable, "-c", is_pure], cwd=TOP, env=pure, check=True)

    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *FILES]
    done = subprocess.run(command, cwd=TOP, env=pure, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout[-3000:]
    assert "skipped" not in done.stdout
