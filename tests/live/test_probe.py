"""The probe in this process: what it does to the one that loads it."""

from __future__ import annotations

import gc
import os
import re
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from execaudit import loader
from execaudit.errors import ProbeError
from execaudit.means import ProbeOptions
from execaudit.probe import Probe


def test_closing_leaves_the_descriptors_of_others_alone() -> None:
    """What is collected after the probe was closed closes nothing that came in its place."""
    probe = Probe(ProbeOptions(failed=False))
    probe.close()
    with ExitStack() as stack:
        files = [stack.enter_context(Path(os.devnull).open("rb")) for _ in range(32)]
        del probe
        gc.collect()

        assert [os.fstat(file.fileno()).st_rdev for file in files] == [os.stat(os.devnull).st_rdev] * 32  # noqa: PTH116  # of text


def test_the_compiler_is_gone_when_it_records() -> None:
    """Nothing of BCC is in the process that reads the records."""
    with Probe(ProbeOptions(failed=False)):
        mapped = Path("/proc/self/maps").read_text()

    assert "libbpf.so" in mapped
    assert "libbcc" not in mapped


def test_a_loader_that_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how it ended, and names a file with what it had said until then."""

    def load(_options: ProbeOptions) -> loader.Loaded:
        os.write(2, b"the compiler's last words\n")
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    monkeypatch.setattr(loader, "load", load)
    with pytest.raises(ProbeError, match=r"was killed by SIGKILL: see /.*-probe-.*\.log, ") as caught:
        Probe(ProbeOptions())
    log = Path(re.findall(r"/\S+\.log", str(caught.value))[0])

    assert b"the compiler's last words\n" == log.read_bytes()
    log.unlink()


def test_a_program_that_the_kernel_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that the error names has the verifier's reasons."""
    read_text = Path.read_text
    refused = "int on_exec(void *ctx) { return *(volatile int *)8; }\nint unused("

    def read(path: Path, **how: str) -> str:
        text = read_text(path, **how)
        return text.replace("int on_exec(", refused, 1) if path.name == "execaudit.c" else text

    monkeypatch.setattr(Path, "read_text", read)
    with pytest.raises(ProbeError, match=r"refused the probe \(.*\): see /") as caught:
        Probe(ProbeOptions())
    log = Path(re.findall(r"/\S+\.log", str(caught.value))[0])

    assert b"invalid mem access" in log.read_bytes()
    log.unlink()
