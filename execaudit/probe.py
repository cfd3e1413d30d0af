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
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit import btf, kprobes
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
_RAW_TRACEPOINT, _TRACEPOINT, _KPROBE = "RAW_TRACEPOINT", "TRACEPOINT", "KPROBE"
KALLSYMS = Path("/proc/kallsyms")
SYSCALLS = tuple(
    f"syscalls/sys_{edge}_{call}" for edge in ("enter", "exit") for call in ("execve", "execveat")
)
"""The tracepoints at which failed execs are seen."""
SUCCESS = "sched/sched_process_exec"
"""The tracepoint at which successful ones are."""
# The stages of execaudit.c, in the order of its EXEC_STAGE_* and FAIL_STAGE_* numbers.
# Execs before the forks of those processes, and exits last: none is seen of which the start
# was not, but for those that were there already.
_HOOKS = (
    (b"sched_process_exec", b"on_exec"),
    (b"sched_process_fork", b"on_fork"),
    (b"sched_process_exit", b"on_process_exit"),
)
# The same two where raw tracepoints cannot be used. A success is then seen when its call returns.
_HOOKED_FUNCTIONS = (
    (b"wake_up_new_task", b"on_fork"),
    (b"exit_fs", b"on_process_exit"),
)
_EXEC_STAGES = (b"on_exec_cwd", b"on_exec_exe", b"on_exec_more")
_FAIL_STAGES = (b"on_exit_cwd", b"on_exit_exe", b"on_exit_argv")
_COMPAT_FAIL_STAGES = (*_FAIL_STAGES, b"on_exit_compat_argv")


class ProbeKind(str, Enum):
    """How execs are captured."""

    AUTO = "auto"
    """The best that this machine offers."""
    TRACEPOINT = "tracepoint"
    """sched_process_exec, and the syscall tracepoints for failed execs."""
    KPROBE = "kprobe"
    """sched_process_exec where it can be used, and kprobes for failed execs."""


@dataclass(frozen=True)
class ProbeOptions:
    """What to capture, and how."""

    kind: ProbeKind = ProbeKind.AUTO
    failed: bool = True
    """Failed execs too. It slows every syscall of the host by about 24 ns."""
    max_argv: int | None = None
    """Bytes kept of a command line, half from its head and half from its tail; None: all."""
    ring_bytes: int = DEFAULT_RING_BYTES
    """Size of the ring buffer: a power of two, at least a page."""
    raw_tracepoints: bool = True
    """Whether to try them; without, kprobes see everything. Tests have no other way there."""

    @property
    def kprobes(self) -> bool:
        """Whether kprobes are to be attached; only for a kind that has been settled."""
        return self.kind is ProbeKind.KPROBE and (self.failed or not self.raw_tracepoints)


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
    returns: int = 0
    """Execs whose end the kernel did not show to the probe: there were too many at a time for its kprobes."""


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


def settle(options: ProbeOptions, folder: Path | None) -> ProbeOptions:
    """Returns the options with the kind that is really used in place of AUTO.

    `folder` is where tracefs is mounted, which says what this kernel has. Raises ProbeError
    with what to do when that is not what the options want.
    """
    if folder is None:
        if not options.failed and options.kind is not ProbeKind.KPROBE:
            return replace(options, kind=ProbeKind.TRACEPOINT)
        raise ProbeError(
            "tracefs is not mounted, and failed execs need it: run "
            "`mount -t tracefs tracefs /sys/kernel/tracing`, or record with --no-failed"
        )
    has_success = (folder / "events" / SUCCESS).is_dir()
    has_syscalls = all((folder / "events" / point).is_dir() for point in SYSCALLS)
    has_kprobes = kprobes.can_probe(folder)
    kind = options.kind
    if kind is ProbeKind.AUTO:
        lacking = not has_success or (options.failed and not has_syscalls)
        kind = ProbeKind.KPROBE if lacking and has_kprobes else ProbeKind.TRACEPOINT
    if kind is ProbeKind.KPROBE:
        if not has_kprobes:
            instead = "--probe tracepoint" if has_syscalls else "--no-failed"
            raise ProbeError(f"this kernel has no kprobes (CONFIG_KPROBE_EVENTS): record with {instead}")
        return replace(options, kind=kind, raw_tracepoints=options.raw_tracepoints and has_success)
    if not has_success:
        raise ProbeError(
            f"this kernel has no tracepoint {SUCCESS}: "
            f"{'record with --probe kprobe' if has_kprobes else 'boot one built with CONFIG_TRACEPOINTS=y'}"
        )
    if options.failed and not has_syscalls:
        raise ProbeError(
            "this kernel has no syscall tracepoints (CONFIG_FTRACE_SYSCALLS): "
            f"record with {'--probe kprobe' if has_kprobes else '--no-failed'}"
        )
    return replace(options, kind=kind)


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
    if options.kprobes:
        flags["EA_KPROBES"] = 1
    if not options.raw_tracepoints:
        flags["EA_RETURN_EXECS"] = 1
    return [f"-D{name}={value}" for name, value in flags.items()]


class _NoRawTracepointError(Exception):
    """The kernel or BCC does not attach to a raw tracepoint."""


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
        folder = tracefs()
        # Where kprobes were not ruled out, they see what raw tracepoints are not let to.
        self._last_resort = options.kind is not ProbeKind.TRACEPOINT and folder and kprobes.can_probe(folder)
        options = settle(options, folder)
        bcc = import_bcc()
        handle, name = tempfile.mkstemp(prefix="execaudit-probe-", suffix=".log")
        os.close(handle)
        log = Path(name)
        try:
            with _compiler_output(log):
                self._open(bcc.BPF, options)
        except ProbeError:
            log.unlink()
            raise
        except Exception as exc:  # bcc raises bare Exception
            reason = str(exc) or type(exc).__name__
            raise ProbeError(
                f"the kernel or BCC refused the probe ({reason}): see {log}, then run `execaudit doctor`"
            ) from exc
        log.unlink()
        self._losses = self._bpf[b"losses"]
        self._ring = RingBuffer(self._bpf[b"events"].map_fd, batch_bytes=_BATCH_BYTES)

    @property
    def uses(self) -> str:
        """What is really used, in a word: tracepoint, kprobe for failed execs, or kprobe-only."""
        if not self._options.kprobes:
            return ProbeKind.TRACEPOINT.value
        return ProbeKind.KPROBE.value if self._options.raw_tracepoints else "kprobe-only"

    def _open(self, kinds: Any, options: ProbeOptions) -> None:  # noqa: ANN401  # bcc has no types
        self._options = options
        folder = source_dir()
        source = (folder / "execaudit.c").read_text()
        flags = [*compile_flags(source, options, os.cpu_count() or 1), f"-I{folder}"]
        self._bpf = kinds(text=source.encode(), cflags=flags)
        try:
            self._attach(kinds, options)
        except _NoRawTracepointError:
            self._bpf.cleanup()
            if not self._last_resort:
                raise
            self._open(kinds, replace(options, kind=ProbeKind.KPROBE, raw_tracepoints=False))

    def _attach(self, kinds: Any, options: ProbeOptions) -> None:  # noqa: ANN401  # bcc has no types
        bpf = self._bpf  # it takes its names as bytes, and warns of text
        calls = _KPROBE if options.kprobes else _TRACEPOINT

        def stages(table: bytes, names: tuple[bytes, ...], kind: str) -> None:
            for number, name in enumerate(names):
                program = bpf.load_func(name, getattr(kinds, kind))
                bpf[table][ctypes.c_int(number)] = ctypes.c_int(program.fd)

        # Tail calls must find their targets before the first event comes, and the kernel lets
        # a program go on only in one of its own type.
        stages(b"exec_stages", _EXEC_STAGES, _RAW_TRACEPOINT if options.raw_tracepoints else _KPROBE)
        if options.failed:
            stages(b"fail_stages", _COMPAT_FAIL_STAGES if options.kprobes else _FAIL_STAGES, calls)
        self.began_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        if options.raw_tracepoints:
            self._attach_raw_tracepoints()
            self._mark_attached()
        if options.kprobes:
            self._attach_kprobes()
        elif options.failed:
            # Enter before exit: an exit without its enter has no arguments.
            for call in (b"execve", b"execveat"):
                bpf.attach_tracepoint(tp=b"syscalls:sys_enter_" + call, fn_name=b"on_enter_" + call)
            for call in (b"execve", b"execveat"):
                bpf.attach_tracepoint(tp=b"syscalls:sys_exit_" + call, fn_name=b"on_exit")

    def _attach_raw_tracepoints(self) -> None:
        # Loading takes the verifier's time. Done before, the hooks come within a moment of each
        # other: what happens between two of them has a lineage that is not whole.
        for _, function in _HOOKS:
            self._bpf.load_func(function, self._bpf.RAW_TRACEPOINT)
        for hook, function in _HOOKS:
            try:
                self._bpf.attach_raw_tracepoint(tp=hook, fn_name=function)
            except Exception as exc:  # bcc raises bare Exception
                raise _NoRawTracepointError(str(exc)) from exc

    def _attach_kprobes(self) -> None:
        bpf, folder = self._bpf, tracefs()
        if folder is not None:
            kprobes.sweep(folder)
        entries = kprobes.entries(KALLSYMS)
        # The return first: what is kept of a call at its entry waits for it.
        for function, _ in entries:
            bpf.attach_kretprobe(event=function, fn_name=b"on_exit", maxactive=kprobes.MOST_CALLS)
        for function, program in entries:
            bpf.attach_kprobe(event=function, fn_name=program)
        self._follow_returns(follow=True)
        if not self._options.raw_tracepoints:
            for function, program in _HOOKED_FUNCTIONS:
                bpf.attach_kprobe(event=function, fn_name=program)
            self._mark_attached()

    def _follow_returns(self, *, follow: bool) -> None:
        """Tells the programs whether each call meets both of its hooks."""
        self._bpf[b"following"][ctypes.c_int(0)] = ctypes.c_uint32(follow)

    def _mark_attached(self) -> None:
        self.attached_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._bpf[b"attached"][ctypes.c_int(0)] = ctypes.c_uint64(self.attached_ns)

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
        if self._options.kprobes:
            self._follow_returns(follow=False)
            for name in reversed(list(self._bpf.kprobe_fds)):
                self._bpf.detach_kprobe_event(name)
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
