"""Load the BPF program through BCC and hand out its records as bytes. No parsing here.

The only module that imports bcc, and only when a probe is opened: reading the history
needs no BCC. BCC is the distribution's (python3-bpfcc); the package of that name on PyPI
is another program.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit import btf
from execaudit.errors import ProbeError
from execaudit.ringbuf import RingBuffer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType, TracebackType

TRACEFS = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
# 16 MB hold about 50 000 ordinary execs, four seconds of the fastest storm seen on two
# cores, and any single command line (the kernel's own limit is 6 MB).
DEFAULT_RING_BYTES = 16 * 1024 * 1024
_EVERYTHING = 0xFFFFFFFF
# Bytes taken from the ring in one go: what the reader may hold before it passes it on.
_BATCH_BYTES = 4 * 1024 * 1024
# What the source names of the kernel's types; not the definitions of the macros themselves.
_OFFSET_OF = re.compile(r"EA_(OFF|OPT)\((\w+[a-z]), (\w+)\)")
_ENUM_VALUE = re.compile(r"EA_ENUM\((\w+[a-z]), (\w+)\)")
# A process costs about 90 bytes of kernel memory. More of them than the one are seldom alive,
# and fewer than the other not only because pid_max is low now.
_MOST_PROCESSES, _LEAST_PROCESSES = 131_072, 32_768
_RAW_TRACEPOINT, _TRACEPOINT = "RAW_TRACEPOINT", "TRACEPOINT"
# The stages of execaudit.c, in the order of its EXEC_STAGE_* and FAIL_STAGE_* numbers.
# Execs before the forks of those processes, and exits last: none is seen of which the start
# was not, but for those that were there already.
_HOOKS = (
    (b"sched_process_exec", b"on_exec"),
    (b"sched_process_fork", b"on_fork"),
    (b"sched_process_exit", b"on_process_exit"),
)
_EXEC_STAGES = (b"on_exec_cwd", b"on_exec_exe", b"on_exec_more")
_FAIL_STAGES = (b"on_exit_cwd", b"on_exit_exe", b"on_exit_argv")


class ProbeKind(str, Enum):
    """How execs are captured."""

    AUTO = "auto"
    """The best that this machine offers."""
    TRACEPOINT = "tracepoint"
    """sched_process_exec, and the syscall tracepoints for failed execs."""


@dataclass(frozen=True)
class ProbeOptions:
    """What to capture."""

    failed: bool = True
    """Failed execs too. It slows every syscall of the host by about 24 ns."""
    max_argv: int | None = None
    """Bytes kept of a command line, half from its head and half from its tail; None: all."""
    ring_bytes: int = DEFAULT_RING_BYTES
    """Size of the ring buffer: a power of two, at least a page."""


class Losses(NamedTuple):
    """What the ring buffer refused since the probe was loaded, summed over CPUs."""

    execs: int
    """Execs of which nothing was sent."""
    records: int
    """Further argv records of execs that were sent in part."""
    exits: int
    """Ends of programs."""
    images: int
    """Processes whose lineage could not be kept: there were more of them than the map holds."""


def source_dir() -> Path:
    """Returns the folder of the BPF sources: in the installed package, or in a checkout."""
    packaged = Path(__file__).parent / "_bpf"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "bpf"


def tracefs() -> Path | None:
    """Returns where the tracepoints of this kernel are described, or None if not mounted."""
    for folder in TRACEFS:
        with contextlib.suppress(OSError):
            if (folder / "events").is_dir():
                return folder
    return None


def import_bcc() -> ModuleType:
    """Returns the BCC module.

    Raises ProbeError when it is missing, or is the PyPI package of the same name.
    """
    # BCC compiles against kernel headers; these few are all that it needs (see bpf/include).
    os.environ["BCC_KERNEL_SOURCE"] = str(source_dir())
    try:
        import bcc  # noqa: PLC0415  # 0.3 s, and only the recorder needs it
    except ImportError as exc:
        raise ProbeError(
            f"BCC cannot be imported ({exc}): run `apt-get install python3-bpfcc`, and make the virtual "
            "environment with `/usr/bin/python3 -m venv --system-site-packages`"
        ) from exc
    if not hasattr(bcc, "BPF"):
        raise ProbeError(
            f"{bcc.__file__} is not the BPF Compiler Collection but a package of the same name: "
            "run `pip uninstall bcc`, then `apt-get install python3-bpfcc`"
        )
    module: ModuleType = bcc
    return module


@contextlib.contextmanager
def _compiler_output(log: Path) -> Iterator[None]:
    """Sends what clang and the verifier print to a file: they write to descriptor 2 itself."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with log.open("wb") as file:
            os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def kernel_flags(source: str) -> dict[str, int]:
    """Returns the struct offsets and enum values of this kernel that a source names, as macros.

    -1 stands for those that a kernel need not have. Raises ProbeError when its BTF is missing
    or lacks another one.
    """
    flags = {}
    with btf.KernelTypes() as types:
        for need, struct, member in sorted(set(_OFFSET_OF.findall(source))):
            offset = types.offset(struct, member)
            if offset is None and need == "OFF":
                raise ProbeError(
                    f"this kernel's BTF has no {struct}.{member}: execaudit does not know this kernel yet"
                )
            flags[f"EA_OFF_{struct}__{member}"] = -1 if offset is None else offset
        for enum, name in sorted(set(_ENUM_VALUE.findall(source))):
            value = types.enumerator(enum, name)
            flags[f"EA_ENUM_{enum}__{name}"] = -1 if value is None else value
    return flags


def _processes() -> int:
    pid_max = int(Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii"))
    return max(_LEAST_PROCESSES, min(_MOST_PROCESSES, pid_max))


def compile_flags(source: str, options: ProbeOptions, cpus: int) -> list[str]:
    """Returns the -D flags for the program: its tunables, and what this kernel's types are.

    Raises ProbeError when the kernel's BTF is missing or lacks a member.
    """
    max_argv = _EVERYTHING if options.max_argv is None else min(options.max_argv, _EVERYTHING)
    flags = {
        "EA_RING_PAGES": options.ring_bytes // mmap.PAGESIZE,
        # All CPUs together wake the reader before an eighth of the ring is in use.
        "EA_WAKE_BYTES": max(1, options.ring_bytes // 8 // cpus),
        "EA_MAX_ARGV": f"{max_argv}u",
        "EA_PROCESSES": _processes(),
        **kernel_flags(source),
    }
    if options.failed:
        flags["EA_FAILED_EXECS"] = 1
    return [f"-D{name}={value}" for name, value in flags.items()]


class Probe:
    """The loaded and attached BPF program. It is capturing from the moment it exists."""

    began_ns: int
    """CLOCK_BOOTTIME before anything was attached: no record is older."""
    attached_ns: int
    """CLOCK_BOOTTIME when the hooks of all but failed execs were attached."""

    def __init__(self, options: ProbeOptions) -> None:
        """Compiles, loads and attaches; takes about a second.

        Raises ProbeError with the reason and what to do.
        """
        if options.failed and tracefs() is None:
            raise ProbeError(
                "tracefs is not mounted, and failed execs need it: run "
                "`mount -t tracefs tracefs /sys/kernel/tracing`, or record with --no-failed"
            )
        bcc = import_bcc()
        folder = source_dir()
        source = (folder / "execaudit.c").read_text()
        flags = [*compile_flags(source, options, os.cpu_count() or 1), f"-I{folder}"]
        handle, name = tempfile.mkstemp(prefix="execaudit-probe-", suffix=".log")
        os.close(handle)
        log = Path(name)
        try:
            with _compiler_output(log):
                self._bpf = bcc.BPF(text=source.encode(), cflags=flags)
                self._attach(bcc.BPF, options)
        except Exception as exc:  # bcc raises bare Exception
            reason = str(exc) or type(exc).__name__
            raise ProbeError(
                f"the kernel or BCC refused the probe ({reason}): see {log}, then run `execaudit doctor`"
            ) from exc
        log.unlink()
        self._losses = self._bpf[b"losses"]
        self._ring = RingBuffer(self._bpf[b"events"].map_fd, batch_bytes=_BATCH_BYTES)

    def _attach(self, kinds: Any, options: ProbeOptions) -> None:  # noqa: ANN401  # bcc has no types
        bpf = self._bpf  # it takes its names as bytes, and warns of text

        def stages(table: bytes, names: tuple[bytes, ...], kind: int) -> None:
            for number, name in enumerate(names):
                bpf[table][ctypes.c_int(number)] = ctypes.c_int(bpf.load_func(name, kind).fd)

        # Tail calls must find their targets before the first event comes.
        stages(b"exec_stages", _EXEC_STAGES, getattr(kinds, _RAW_TRACEPOINT))
        if options.failed:
            stages(b"fail_stages", _FAIL_STAGES, getattr(kinds, _TRACEPOINT))
        self.began_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        for hook, function in _HOOKS:
            bpf.attach_raw_tracepoint(tp=hook, fn_name=function)
        self.attached_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        bpf[b"attached"][ctypes.c_int(0)] = ctypes.c_uint64(self.attached_ns)
        if options.failed:
            # Enter before exit: an exit without its enter has no arguments.
            for call in (b"execve", b"execveat"):
                bpf.attach_tracepoint(tp=b"syscalls:sys_enter_" + call, fn_name=b"on_enter_" + call)
            for call in (b"execve", b"execveat"):
                bpf.attach_tracepoint(tp=b"syscalls:sys_exit_" + call, fn_name=b"on_exit")

    def wait(self, timeout_s: float) -> None:
        """Returns when the ring buffer is filling, or after `timeout_s`."""
        self._ring.wait(timeout_s)

    def read(self) -> list[bytes]:
        """Returns the records that are there, oldest first; empty when there are none."""
        return self._ring.read()

    def losses(self) -> Losses:
        """Returns the loss counters. Reading them costs about 20 microseconds."""
        per_cpu = self._losses[0]
        return Losses(*(sum(getattr(cpu, name) for cpu in per_cpu) for name in Losses._fields))

    def detach(self) -> None:
        """Stops capturing. What is in the ring can still be read."""
        # BCC's own names for its links; cleanup() would close the maps as well. The last
        # attached goes first: an exit without its enter would be a failed exec without argv.
        for name in reversed(list(self._bpf.tracepoint_fds)):
            self._bpf.detach_tracepoint(name)
        for tp in reversed(list(self._bpf.raw_tracepoint_fds)):
            self._bpf.detach_raw_tracepoint(tp)

    def close(self) -> None:
        """Stops capturing and frees everything."""
        self._ring.close()
        self._bpf.cleanup()

    def __enter__(self) -> Probe:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
