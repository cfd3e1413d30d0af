"""Fetch the chart library of the report: `make vendor` writes execaudit/report/vendor/ anew.

The version and the hashes are fixed here. The files are in the repository, so a report is made without the
network; a test compares them with these hashes.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import tarfile
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "execaudit/report/vendor"
NAME, VERSION = "uplot", "1.6.32"
_PACKAGE_SHA512 = "KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw=="
FILES = {
    "package/dist/uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "package/dist/uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    "package/LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
}
"""What is taken from the package, and the SHA-256 of each."""


def target(name: str) -> Path:
    """Returns where a file of the package is kept."""
    base = name.rpartition("/")[2]
    return FOLDER / ("uPlot.LICENSE" if base == "LICENSE" else base)


def main() -> None:
    """Writes the files, if they are what they were."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", f"{NAME}@{VERSION}"], cwd=folder, check=True)  # noqa: S603, S607  # ours
        (archive,) = Path(folder).iterdir()
        digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if digest != _PACKAGE_SHA512:
            raise SystemExit(f"{NAME} {VERSION} is another package than it was: its SHA-512 is {digest}")
        with tarfile.open(archive) as opened:
            for name, expected in FILES.items():
                member = opened.extractfile(name)
                content = b"" if member is None else member.read()
                if hashlib.sha256(content).hexdigest() != expected:
                    raise SystemExit(f"{name} is another file than it was")
                target(name).write_bytes(content)


if __name__ == "__main__":
    main()
