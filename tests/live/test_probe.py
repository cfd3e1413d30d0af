"""The probe in this process: what it does to the one that loads it."""

from __future__ import annotations

import gc
import os
from contextlib import ExitStack
from pathlib import Path

from execaudit.probe import Probe, ProbeOptions


def test_closing_leaves_the_descriptors_of_others_alone() -> None:
    """What is collected after the probe was closed closes nothing that came in its place."""
    probe = Probe(ProbeOptions(failed=False))
    probe.close()
    with ExitStack() as stack:
        files = [stack.enter_context(Path(os.devnull).open("rb")) for _ in range(32)]
        del probe
        gc.collect()

        assert [os.fstat(file.fileno()).st_rdev for file in files] == [os.stat(os.devnull).st_rdev] * 32  # noqa: PTH116  # of text
