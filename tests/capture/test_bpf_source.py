"""The text of the BPF program, as it is given to the compiler."""

from __future__ import annotations

import re
from pathlib import Path

from execaudit.capture import loader

CHECKOUT = Path(__file__).parents[2]
BPF = CHECKOUT / "bpf"


def test_each_header_is_in_the_program_once() -> None:
    """A new header that execaudit.c does not include is noticed, and one that is included twice."""
    program = loader.source_text()
    headers = list(BPF.glob("*.h"))

    assert [] != headers
    assert {header.name: 1 for header in headers} == {
        header.name: program.count(header.read_text(encoding="utf-8")) for header in headers
    }


def test_the_compiler_looks_for_none_of_them() -> None:
    """All that is left to include is in bpf/include: no path, and no folder that somebody else might fill."""
    left = re.findall(r"^\s*#\s*include\s+(.+)$", loader.source_text(), re.MULTILINE)

    assert ["<uapi/linux/ptrace.h>"] == left
    assert (BPF / "include/uapi/linux/ptrace.h").is_file()


def test_comments_name_modules_that_exist() -> None:
    """A module that is renamed is renamed in the comments too."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in BPF.rglob("*.[ch]"))
    modules = {path.name for folder in ("execaudit", "tests") for path in (CHECKOUT / folder).rglob("*.py")}

    named = {Path(name).name for name in re.findall(r"[\w/]+\.py\b", text)}

    assert "loader.py" in named
    assert set() == named - modules
