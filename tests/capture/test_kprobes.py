"""Where execve is, by lists of functions as kernels give them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from execaudit.capture import kprobes
from execaudit.capture.kprobes import Entry
from execaudit.errors import ProbeError

if TYPE_CHECKING:
    from pathlib import Path

X86 = """\
ffffffff813d1230 T __x64_sys_execve
ffffffff813d1220 T __pfx___ia32_sys_execve
ffffffff813d12e0 T __ia32_sys_execve
ffffffff813d1390 T __x64_sys_execveat
"""
X86_COMPAT = """\
ffffffff813d1500 T __ia32_compat_sys_execve
ffffffff813d15c0 T __ia32_compat_sys_execveat
ffffffffc0a01000 t nf_hook\t[nf_tables]
"""
ARM = """\
0000000000000000 T __arm64_sys_execve
0000000000000000 T __arm64_sys_execveat
0000000000000000 T __arm64_compat_sys_execve
0000000000000000 T __arm64_compat_sys_execveat
"""


@pytest.fixture
def symbols(tmp_path: Path) -> Path:
    """What stands for /proc/kallsyms."""
    return tmp_path / "kallsyms"


def test_x86(symbols: Path) -> None:
    """The functions of 64-bit and of 32-bit callers; not those of a 32-bit kernel that are there too."""
    symbols.write_text(X86 + X86_COMPAT)

    assert [
        Entry(b"__x64_sys_execve", b"on_enter_execve"),
        Entry(b"__x64_sys_execveat", b"on_enter_execveat"),
        Entry(b"__ia32_compat_sys_execve", b"on_enter_compat_execve"),
        Entry(b"__ia32_compat_sys_execveat", b"on_enter_compat_execveat"),
    ] == kprobes.entries(symbols, "x86_64")


def test_without_32_bit_programs(symbols: Path) -> None:
    """A kernel that runs no 32-bit programs has nothing of them to probe."""
    symbols.write_text(X86)

    assert [b"__x64_sys_execve", b"__x64_sys_execveat"] == [
        entry.function for entry in kprobes.entries(symbols, "x86_64")
    ]


def test_arm(symbols: Path) -> None:
    """The addresses may be hidden; the names are not."""
    symbols.write_text(ARM)

    assert ARM.split()[2::3] == [entry.function.decode() for entry in kprobes.entries(symbols, "aarch64")]


@pytest.mark.parametrize(("listed", "machine"), [("", "x86_64"), (X86, "aarch64"), (X86, "riscv64")])
def test_unknown_kernel(symbols: Path, listed: str, machine: str) -> None:
    """Where execve is not found, the error says what to do instead."""
    symbols.write_text(listed)

    with pytest.raises(ProbeError, match=f"\\({machine}\\) has execve: .*--no-failed"):
        kprobes.entries(symbols, machine)


def test_no_list(symbols: Path) -> None:
    """A kernel without the list is one that is not known."""
    with pytest.raises(ProbeError):
        kprobes.entries(symbols, "x86_64")
