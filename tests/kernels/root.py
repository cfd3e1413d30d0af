"""The guests' root: Debian 12 with BCC, and the Python packages that the tests need."""

from __future__ import annotations

import subprocess
import sys

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from typing import TYPE_CHECKING

from tests.kernels.archive import sources
from tests.kernels.cache import CHECKOUT, kept

if TYPE_CHECKING:
    from pathlib import Path

PYTHONPATH = "/opt/python"
"""Where the Python packages are in a guest."""
_CODENAME, _PYTHON = "bookworm", "3.11"
# No kernel headers: none are needed, which is one of the things that are tested.
_PACKAGES = ("python3-bpfcc", "iproute2", "procps", "sudo")
_OF_THE_TESTS = ("pytest",)
# Debian's caches and texts, which nobody reads there.
_LEFT_OUT = ("man", "doc", "locale", "info", "lintian")
_BYTES = 2 << 30  # sparse; what a storm writes must fit


def root() -> Path:
    """Returns the image of a disk."""
    requirements = _requirements()
    inputs = (_CODENAME, _PYTHON, _PACKAGES, requirements)
    return kept("root", inputs, lambda folder, scratch: _make(requirements, folder, scratch)) / "root.ext4"


def _requirements() -> list[str]:
    """Returns what execaudit needs, and of what its tests need the part for the live ones."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    dev = project["optional-dependencies"]["dev"]
    return [*project["dependencies"], *(each for each in dev if each.startswith(_OF_THE_TESTS))]


def _make(requirements: list[str], folder: Path, scratch: Path) -> None:
    tree = scratch / "root"
    _install_debian(tree)
    _install_packages(requirements, tree / PYTHONPATH.lstrip("/"))
    with (folder / "root.ext4").open("wb") as image:
        image.truncate(_BYTES)
    # The journal and the reserve are for disks that somebody keeps.
    mke2fs = ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", str(tree)]
    subprocess.run([*mke2fs, image.name], check=True)


def _install_debian(tree: Path) -> None:
    left_out = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _LEFT_OUT]
    subprocess.run(
        [
            # What it mounts in the tree is gone with it, however it ends: the tree is removed one day.
            "unshare", "--mount",
            "mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", "--architectures=amd64",
            f"--include={','.join(_PACKAGES)}", "--aptopt=APT::Install-Recommends false", *left_out,
            _CODENAME, tree, "-",
        ],
        input=sources(_CODENAME), text=True, check=True,
    )  # fmt: skip


def _install_packages(requirements: list[str], into: Path) -> None:
    """As wheels for the guest's Python, whichever is this one."""
    wheels = ["--only-binary=:all:", "--implementation=cp", f"--python-version={_PYTHON}"]
    platforms = ["--platform=manylinux2014_x86_64", "--platform=manylinux_2_28_x86_64"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-qq", "--target", into, *wheels, *platforms, *requirements],
        check=True,
    )
