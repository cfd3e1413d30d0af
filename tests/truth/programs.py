"""Compile the C programs of this folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

READY_MADE = "EXECAUDIT_TEST_PROGRAMS"
"""The environment variable that names a folder with compiled programs: see tests/kernels."""

_SOURCES = Path(__file__).parent
_BARE = ("-nostdlib", "-ffreestanding", "-static", "-O1")
# Static, because they also run in an empty root, and from a memfd.
_ORDINARY = ("-static", "-pthread", "-O1", "-Wall")


class Programs(NamedTuple):
    """The compiled programs, and the folder into which the witness writes its truths."""

    folder: Path
    truths: Path
    witness: Path
    launcher: Path
    refused: Path
    storm: Path
    noop: Path
    hop32: Path
    refused32: Path
    acts: Path
    introspect: Path
    forest: Path
    churn: Path
    rewriter: Path
    silentfs: Path

    def witness_named(self, name: str) -> Path:
        """Returns a copy of the witness. The name in its path says which start it was."""
        path = self.folder / f"start-{name}"
        if not path.exists():
            path.hardlink_to(self.witness)
        return path

    def own_witness(self, name: str) -> Path:
        """Returns a witness that is another file: its owner, mode and bytes may be changed."""
        return Path(shutil.copy(self.witness, self.folder / f"start-{name}"))


def ready_made(folder: Path) -> Programs:
    """Returns the programs that `build` has compiled into a folder."""
    return Programs(folder, *(folder / name for name in Programs._fields[1:]))


def build_one(name: str, folder: Path) -> Path:
    """Compiles one program that needs no other."""
    binary = folder / name
    subprocess.run(
        ["cc", *_ORDINARY, f'-DTRUTH_DIR="{folder}"', "-o", binary, _SOURCES / f"{name}.c"], check=True
    )
    return binary


def build(folder: Path, at: Path | None = None) -> Programs:
    """Compiles everything into a folder that every user of this machine can enter.

    `at` is that folder's path where they will run, when that is on another machine.
    """
    truths = folder / "truths"
    truths.mkdir()
    truths.chmod(0o1777)

    def cc(name: str, *flags: str) -> Path:
        binary = folder / name
        source = _SOURCES / f"{name}.c"
        subprocess.run(
            ["cc", *flags, f'-DTRUTH_DIR="{at or folder}/truths"', "-o", binary, source], check=True
        )
        return binary

    programs = (
        ("witness", *_ORDINARY),
        ("launcher", *_ORDINARY),
        ("refused", *_ORDINARY),
        ("storm", *_ORDINARY),
        ("noop", *_BARE),
        ("hop32", "-m32", *_BARE),
        ("refused32", "-m32", *_BARE),
        ("acts", *_ORDINARY),
        ("introspect", *_ORDINARY),
        ("forest", *_ORDINARY),
        ("churn", *_ORDINARY),
        ("rewriter", *_ORDINARY),
        ("silentfs", *_ORDINARY),
    )
    # A compiler uses one processor.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return Programs(folder, truths, *pool.map(lambda program: cc(*program), programs))
