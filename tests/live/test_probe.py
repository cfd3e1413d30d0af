"""The probe in this process: what it does to the one that loads it."""

from __future__ import annotations

import gc
import mmap
import os
import re
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from execaudit.capture import loader
from execaudit.capture.probe import Probe
from execaudit.capture.probe_options import ProbeOptions
from execaudit.capture.recursion_misses import Misses, from_proc
from execaudit.capture.wire import decode, is_exit
from execaudit.errors import ProbeError
from execaudit.system import shipped
from execaudit.system.child import from_child


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

    assert "bpf-map" in mapped
    assert "libbcc" not in mapped


# The kernel prints for the first; that calls the second, which prints again, and so would call itself.
_RECURSIVE = b"""
int on_exec(void *ctx) { bpf_trace_printk("execaudit test"); return 0; }
int on_print(void *ctx) { bpf_trace_printk("execaudit test, again"); return 0; }
"""


def test_what_the_kernel_left_out_is_counted(tmp_path: Path) -> None:
    """Each time that a program would have interrupted itself is one, and no other program's."""

    def load() -> tuple[dict[str, object], list[int]]:
        bpf = loader.import_bcc().BPF(text=_RECURSIVE, cflags=[f"-I{shipped.folder('bpf')}"])
        bpf.attach_raw_tracepoint(tp=b"bpf_trace_printk", fn_name=b"on_print")
        bpf.attach_raw_tracepoint(tp=b"sched_process_exec", fn_name=b"on_exec")
        programs = [bpf.funcs[name].fd for name in (b"on_print", b"on_exec")]
        return {}, [*programs, *bpf.raw_tracepoint_fds.values()]

    (tmp_path / "log").touch()
    descriptors = from_child(load, tmp_path / "log").descriptors
    recursing, plain = (Misses([program]) for program in descriptors[:2])
    try:
        before = recursing.read()
        for _ in range(5):
            subprocess.run(["true"], check=True)
        after = recursing.read()
    finally:
        for descriptor in descriptors[2:]:
            os.close(descriptor)

    assert recursing.known
    assert plain.read() == 0
    assert before is not None
    assert after is not None
    assert after - before >= 5
    assert Misses(descriptors[:2]).read() == recursing.read()
    # What is read where bpf() is refused.
    assert [from_proc(program) for program in descriptors[:2]] == [recursing.read(), 0]
    for descriptor in descriptors[:2]:
        os.close(descriptor)
    assert recursing.read() is None
    with Path(os.devnull).open("rb") as other:
        assert from_proc(other.fileno()) is None


def test_the_probe_says_what_was_left_out() -> None:
    """Nothing, on a kernel that does not interrupt its programs."""
    with Probe(ProbeOptions()) as probe:
        subprocess.run(["true"], check=True)
        losses = probe.losses()

    assert (0, 0, 0) == (losses.skipped, losses.skipped_exits, losses.skipped_images)


def test_of_a_large_ring_a_part_is_mapped() -> None:
    """What waits to be read takes 2 MB of the reader's memory, however much it is."""
    with Probe(ProbeOptions(failed=False, ring_bytes=16 << 20)) as probe:
        records = []
        for _ in range(20):
            subprocess.run(["true", *["x" * 100_000] * 10], check=True)
            while some := probe.read():
                records += some
        mapped = [
            line.split()[0] for line in Path("/proc/self/maps").read_text().splitlines() if "bpf-map" in line
        ]

    ends = [[int(address, 16) for address in addresses.split("-")] for addresses in mapped]
    assert sum(map(len, records)) > 16 << 20
    # With what a record may go on behind a part, and pages of positions and of counters.
    assert sum(end - begin for begin, end in ends) <= (2 << 20) + (64 << 10) + 20 * mmap.PAGESIZE


def test_records_that_wrap_are_read_whole() -> None:
    """Through a small ring, more than once round it: each command line is what was started."""
    lines = [[b"true", *([b"x" * length] * 3)] for length in range(1, 900, 7)]
    with Probe(ProbeOptions(failed=False, ring_bytes=65536)) as probe:
        seen: list[bytes] = []
        for line in lines:
            pid = os.posix_spawn("/bin/true", line, {})
            os.waitpid(pid, 0)
            decoded = (decode(record)[0] for record in probe.read() if not is_exit(record))
            seen += [piece.argv for piece in decoded if piece.pid == pid]

        assert probe.losses().execs == 0
    assert [b"".join(argument + b"\0" for argument in line) for line in lines] == seen


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
        return text.replace("int on_exec(", refused, 1) if path.name == "exec.h" else text

    monkeypatch.setattr(Path, "read_text", read)
    with pytest.raises(ProbeError, match=r"refused the probe \(.*\): see /") as caught:
        Probe(ProbeOptions())
    log = Path(re.findall(r"/\S+\.log", str(caught.value))[0])

    assert b"invalid mem access" in log.read_bytes()
    log.unlink()


def test_headers_of_others_are_not_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner of the folder in which recording begins cannot choose what the probe is made of."""
    for path in shipped.folder("bpf").glob("include/**/*.h"):
        header = tmp_path / path.relative_to(shipped.folder("bpf") / "include")
        header.parent.mkdir(parents=True, exist_ok=True)
        header.write_text("#error from the working directory\n")
    (tmp_path / "bcc").mkdir()
    (tmp_path / "bcc/footer.h").write_text("#error from CPATH\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CPATH", str(tmp_path))
    with Probe(ProbeOptions(failed=False, ring_bytes=65536)) as probe:
        assert probe.losses().execs == 0

    assert (tmp_path / "linux/types.h").exists()
    assert tmp_path == Path.cwd()
