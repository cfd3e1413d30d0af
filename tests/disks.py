"""Small file systems, to test real full disks."""

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
    """Mounts an ext4 file system of `size` bytes while the body runs, and yields its folder."""
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
    """Runs Python code with the folder as its argument; for this code, it is a file system of this size."""
    script = 'mount -t tmpfs -o "size=$4" none "$1" && exec "$2" -c "$3" "$1"'
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", folder, sys.executable, program, size],
        cwd=_CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
