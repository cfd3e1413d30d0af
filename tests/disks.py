"""Small file systems that are really full when they are full."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHECKOUT = Path(__file__).parents[1]


@contextlib.contextmanager
def small_disk(place: Path, size: int) -> Iterator[Path]:
    """Mounts an ext4 of so many bytes, in a file of this folder, while the body runs. Returns where it is."""
    image, folder = place / "image", place / "disk"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def run_on_small_disk(folder: Path, size: str, program: str) -> subprocess.CompletedProcess[str]:
    """Runs a program of Python with the folder, which is a file system of this size for it alone."""
    script = 'mount -t tmpfs -o "size=$4" none "$1" && exec "$2" -c "$3" "$1"'
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", folder, sys.executable, program, size],
        cwd=_CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
