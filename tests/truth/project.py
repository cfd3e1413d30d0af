"""A real project with a `configure`: libltdl, as the packages libltdl-dev and libtool carry it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

_PACKAGES = ("libltdl-dev", "libtool", "autotools-dev")
# The package leaves out what some files were generated from; so make must not make them anew.
BUILD = "./configure && make ACLOCAL=: AUTOCONF=: AUTOHEADER=: AUTOMAKE=:"
"""What builds it, for the shell."""
_NEEDED = (
    Path("usr/share/libtool/configure"),
    Path("usr/share/libtool/build-aux/ltmain.sh"),
    Path("usr/share/misc/config.guess"),
)


def unpack(folder: Path) -> Path:
    """Returns the project's top folder, ready to be configured.

    What the machine has installed is copied; else the packages are fetched, not installed.
    """
    root = Path("/")
    if not all((root / path).exists() for path in _NEEDED):
        root = folder / "packages"
        _fetch(root)
    project = folder / "libltdl"
    shutil.copytree(root / "usr/share/libtool", project, ignore=shutil.ignore_patterns("build-aux"))
    shutil.copytree(root / "usr/share/libtool/build-aux", folder / "build-aux")
    return project


def _fetch(root: Path) -> None:
    """Unpacks the packages there; asks for new package lists only when the old ones do not do."""
    downloads = root.with_name("downloads")
    downloads.mkdir()
    lists = root.with_name("lists")
    own_lists = ("-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={lists}")

    def apt_get(*arguments: str, check: bool) -> bool:
        # As root: apt's own user cannot enter a folder of the tests.
        command = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", *arguments]
        return subprocess.run(command, cwd=downloads, check=check, capture_output=True).returncode == 0

    if not apt_get("download", *_PACKAGES, check=False):
        (lists / "partial").mkdir(parents=True)
        apt_get(*own_lists, "update", check=False)  # one source of many may be out of order
        apt_get(*own_lists, "download", *_PACKAGES, check=True)
    for package in downloads.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, root], check=True)
