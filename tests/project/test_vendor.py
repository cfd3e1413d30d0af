"""The chart library of the report is the one that tools/vendor.py names."""

from __future__ import annotations

import hashlib
import re

from tools.vendor import FILES, FOLDER, VERSION, target


def test_the_bundled_files_are_those_of_the_package() -> None:
    """Byte for byte, and no others."""
    found = {name: hashlib.sha256(target(name).read_bytes()).hexdigest() for name in FILES}

    assert FILES == found
    assert {path.name for path in FOLDER.iterdir()} == {target(name).name for name in FILES}


def test_the_licence_and_the_version_are_there() -> None:
    """Whoever gets a report gets both."""
    script = (FOLDER / "uPlot.iife.min.js").read_text(encoding="utf-8")

    assert re.search(r"uPlot \(v(\S+)\)", script)[1] == VERSION  # type: ignore[index]  # else it fails
    assert "MIT License" in (FOLDER / "uPlot.LICENSE").read_text(encoding="utf-8")
