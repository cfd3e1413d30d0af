"""Compile the BPF program with BCC, load it and attach it. A child process does this: see system/child.py.

Only this module imports bcc: BCC and its compiler take 160 MB of memory, which nothing needs after the
program is attached. BCC comes from the distribution (python3-bpfcc); the package of that name on PyPI is
another program.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit.capture import btf, kprobes
from execaudit.capture.probe_options import ProbeKind, resolve, tracefs
from execaudit.errors import ProbeError
from execaudit.system import shipped

if TYPE_CHECKING:
    from types import ModuleType

    from execaudit.capture.probe_options import ProbeOptions

_EVERYTHING = 0xFFFFFFFF
# Uses of the kernel's struct members and enums in the source. The definitions of these macros do not match.
_OFFSET_OF = re.compile(r"EA_(OFF|OPT)\((\w+[a-z]), (\w+)\)")
_ENUM_VALUE = re.compile(r"EA_ENUM\((\w+[a-z]), (\w+)\)")
# The line that includes one of the program's own headers: a name without a folder.
_OWN_HEADER = re.compile(r'^#include "(\w+\.h)"\n', re.MULTILINE)
# The map of lineage has room for pid_max processes, but within these bounds. Each takes about 90 bytes of
# kernel memory.
_MOST_PROCESSES, _LEAST_PROCESSES = 131_072, 32_768
# The reader is woken after so many bytes at the latest, also if the ring is large.
_WAKE_BYTES = 1024 * 1024
_RAW_TRACEPOINT, _TRACEPOINT, _KPROBE = "RAW_TRACEPOINT", "TRACEPOINT", "KPROBE"
KALLSYMS = Path("/proc/kallsyms")
# They are attached in this order: execs, forks, exits. So the probe sees the start of each process before its
# end, except for processes that run already.
_HOOKS = (
    (b"sched_process_exec", b"on_exec"),
    (b"sched_process_fork", b"on_fork"),
    (b"sched_process_exit", b"on_process_exit"),
)
# The last two as functions, for kernels where raw tracepoints cannot be used. There the probe sees a
# successful exec when the call returns.
_HOOKED_FUNCTIONS = (
    (b"wake_up_new_task", b"on_fork"),
    (b"exit_fs", b"on_process_exit"),
)
# What is lost when the kernel skips one of these programs. (For a program at the entry of a call, an exec is
# lost only if the call fails.)
_HOOKS_OF = {
    "execs": (
        b"on_exec", b"on_exit", b"on_enter_execve", b"on_enter_execveat", b"on_enter_compat_execve",
        b"on_enter_compat_execveat",
    ),
    "exits": (b"on_process_exit",),
    "images": (b"on_fork",),
}  # fmt: skip
# The stages, in the order of EXEC_STAGE_* in bpf/exec.h and FAIL_STAGE_* in bpf/failed.h.
_EXEC_STAGES = (b"on_exec_cwd", b"on_exec_exe", b"on_exec_more")
_RETURN_EXEC_STAGES = (*_EXEC_STAGES, b"on_exec_returned")
_FAIL_STAGES = (b"on_exit_cwd", b"on_exit_exe", b"on_exit_argv")
_COMPAT_FAIL_STAGES = (*_FAIL_STAGES, b"on_exit_compat_argv")


def source_text() -> str:
    """Returns the BPF program as one text: each of its own headers replaces the line that includes it.

    BCC translates the use of maps in its main text only, not in a header that the compiler includes. The
    compiler then need not search for these headers, so it cannot find those of another user.
    """
    folder = shipped.folder("bpf")
    main = (folder / "execaudit.c").read_text(encoding="utf-8")
    return _OWN_HEADER.sub(lambda header: (folder / header[1]).read_text(encoding="utf-8"), main)


def import_bcc() -> ModuleType:
    """Returns the BCC module.

    Raises ProbeError when it is missing, or is the PyPI package of the same name.
    """
    # BCC compiles with kernel headers. It needs only the few in bpf/include.
    os.environ["BCC_KERNEL_SOURCE"] = str(shipped.folder("bpf"))
    try:
        import bcc  # noqa: PLC0415  # it takes 0.3 s, and only the recorder needs it
    except ImportError as exc:
        raise ProbeError(
            f"BCC cannot be imported ({exc})",
            fix="run `apt-get install python3-bpfcc`, and make the virtual environment with "
            "`/usr/bin/python3 -m venv --system-site-packages`",
        ) from exc
    if not hasattr(bcc, "BPF"):
        raise ProbeError(
            f"{bcc.__file__} is not the BPF Compiler Collection but a package of the same name",
            fix="run `pip uninstall bcc`, then `apt-get install python3-bpfcc`",
        )
    module: ModuleType = bcc
    return module


def kernel_flags(source: str) -> dict[str, int]:
    """Returns as macros the struct offsets and enum values of this kernel that a source uses.

    The value is -1 if the kernel lacks one that is optional. Raises ProbeError if it lacks another one, or
    has no BTF.
    """
    flags = {}
    with btf.KernelTypes() as types:
        for need, struct, member in sorted(set(_OFFSET_OF.findall(source))):
            offset = types.offset(struct, member)
            if offset is None and need == "OFF":
                raise ProbeError(
                    f"this kernel's BTF has no {struct}.{member}",
                    fix="execaudit does not know this kernel yet; report it with what `uname -a` says",
                )
            flags[f"EA_OFF_{struct}__{member}"] = -1 if offset is None else offset
        for enum, name in sorted(set(_ENUM_VALUE.findall(source))):
            value = types.enumerator(enum, name)
            flags[f"EA_ENUM_{enum}__{name}"] = -1 if value is None else value
    return flags


def _processes() -> int:
    pid_max = int(Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii"))
    return max(_LEAST_PROCESSES, min(_MOST_PROCESSES, pid_max))


def _possible_cpus() -> int:
    """Returns how many CPUs this kernel may ever use; the file has ranges such as 0-3,8."""
    ranges = Path("/sys/devices/system/cpu/possible").read_text(encoding="ascii")
    return 1 + int(re.split("[-,]", ranges.strip())[-1])


def compile_flags(source: str, options: ProbeOptions, cpus: int) -> list[str]:
    """Returns the -D flags for the program: its settings, and the types of this kernel.

    Raises ProbeError when the kernel's BTF is missing or lacks a member.
    """
    max_argv = _EVERYTHING if options.max_argv is None else min(options.max_argv, _EVERYTHING)
    flags = {
        "EA_RING_PAGES": options.ring_bytes // mmap.PAGESIZE,
        "EA_RING_BYTES": f"{options.ring_bytes}u",
        # Each CPU counts alone. Together they wake the reader before an eighth of the ring is in use.
        "EA_WAKE_BYTES": max(1, min(options.ring_bytes // 8, _WAKE_BYTES) // cpus),
        "EA_MAX_ARGV": f"{max_argv}u",
        "EA_CPUS": cpus,
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


class RefusedError(ProbeError):
    """The kernel or BCC refused the program. The messages of the compiler and the verifier were printed."""


class Loaded(NamedTuple):
    """The loaded and attached program, for the process that reads its records."""

    uses: str
    """`tracepoint`, `kprobe` (for failed execs) or `kprobe-only`: what the program really uses."""
    began_ns: int
    """CLOCK_BOOTTIME before anything was attached: no record is older."""
    attached_ns: int
    """CLOCK_BOOTTIME when all hooks but those of failed execs were attached."""
    cpus: int
    """The number of CPUs; each has its own counters of losses."""
    maps: dict[str, int]
    """Descriptors of maps. (The kernel empties a map of tail calls when its last descriptor is closed.)"""
    programs: dict[str, list[int]]
    """Descriptors of the hooks' programs, by what is lost when the kernel skips one."""
    links: list[int]
    """Descriptors that keep the program attached, in the order of attaching."""


def load(options: ProbeOptions) -> Loaded:
    """Compiles, loads and attaches the program; takes about a second. It is detached when `links` are closed.

    Raises ProbeError with the reason and the next step; RefusedError with the reason alone.
    """
    folder = tracefs()
    resolved = resolve(options, folder)
    bcc = import_bcc()
    try:
        try:
            return _Loader(bcc.BPF, resolved).attached()
        except _NoRawTracepointError:
            # Use kprobes instead of raw tracepoints, if the options and the kernel allow that.
            if options.kind is ProbeKind.TRACEPOINT or folder is None or not kprobes.can_probe(folder):
                raise
            without = replace(resolved, kind=ProbeKind.KPROBE, raw_tracepoints=False)
            return _Loader(bcc.BPF, without).attached()
    except ProbeError:
        raise
    except Exception as exc:  # bcc raises bare Exception
        reason = str(exc) or type(exc).__name__
        raise RefusedError(f"the kernel or BCC refused the probe ({reason})") from exc


class _Loader:
    """One attempt to load and attach, with one kind of hooks."""

    def __init__(self, kinds: Any, options: ProbeOptions) -> None:  # noqa: ANN401  # bcc has no types
        self._options = options
        self._kinds = kinds
        source = source_text()
        self._cpus = _possible_cpus()
        flags = compile_flags(source, options, self._cpus)
        # The compiler searches for headers in the working directory first, as BCC tells it, and in the
        # folders of these variables. All of them may belong to another user.
        os.chdir(shipped.folder("bpf"))
        for name in ("CPATH", "C_INCLUDE_PATH"):
            os.environ.pop(name, None)
        self._bpf = kinds(text=source.encode(), cflags=flags)  # bytes, because BCC warns about str
        self._maps = ["events", "losses", "account_losses", "exec_stages"]

    def attached(self) -> Loaded:
        """Attaches everything."""
        try:
            began_ns, attached_ns = self._attach()
        except _NoRawTracepointError:
            self._bpf.cleanup()
            raise
        maps = {name: self._bpf[name.encode()].map_fd for name in self._maps}
        # BCC keeps them in these attributes, each in the order of attaching.
        links = [
            *self._bpf.raw_tracepoint_fds.values(),
            *(link for links in self._bpf.kprobe_fds.values() for link in links.values()),
            *self._bpf.tracepoint_fds.values(),
        ]
        programs = {
            kind: [self._bpf.funcs[name].fd for name in names if name in self._bpf.funcs]
            for kind, names in _HOOKS_OF.items()
        }
        return Loaded(self._uses(), began_ns, attached_ns, self._cpus, maps, programs, links)

    def _uses(self) -> str:
        if not self._options.kprobes:
            return ProbeKind.TRACEPOINT.value
        return ProbeKind.KPROBE.value if self._options.raw_tracepoints else "kprobe-only"

    def _attach(self) -> tuple[int, int]:
        kinds, options = self._kinds, self._options
        calls = kinds.KPROBE if options.kprobes else kinds.TRACEPOINT
        # Tail calls must find their targets before the first event comes. The kernel allows a tail call only
        # to a program of the same type.
        if options.raw_tracepoints:
            self._set_stages(b"exec_stages", _EXEC_STAGES, kinds.RAW_TRACEPOINT)
        else:
            self._set_stages(b"exec_stages", _RETURN_EXEC_STAGES, kinds.KPROBE)
        if options.failed:
            self._maps.append("fail_stages")
            self._set_stages(b"fail_stages", _COMPAT_FAIL_STAGES if options.kprobes else _FAIL_STAGES, calls)
        began_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        attached_ns = 0
        if options.raw_tracepoints:
            self._attach_raw_tracepoints()
            attached_ns = self._mark_attached()
        if options.kprobes:
            self._attach_calls_by_kprobe()
        elif options.failed:
            self._attach_calls_by_tracepoint()
        if not options.raw_tracepoints:
            for function, program in _HOOKED_FUNCTIONS:
                self._bpf.attach_kprobe(event=function, fn_name=program)
            attached_ns = self._mark_attached()
        return began_ns, attached_ns

    def _set_stages(self, table: bytes, names: tuple[bytes, ...], kind: int) -> None:
        for number, name in enumerate(names):
            program = self._bpf.load_func(name, kind)
            self._bpf[table][ctypes.c_int(number)] = ctypes.c_int(program.fd)

    def _attach_raw_tracepoints(self) -> None:
        # Load all of them first, because the verifier takes time. Then they are attached within a moment: for
        # an event between two of these hooks, the lineage is not complete.
        for _, function in _HOOKS:
            self._bpf.load_func(function, self._kinds.RAW_TRACEPOINT)
        for hook, function in _HOOKS:
            try:
                self._bpf.attach_raw_tracepoint(tp=hook, fn_name=function)
            except Exception as exc:  # bcc raises bare Exception
                raise _NoRawTracepointError(str(exc)) from exc

    def _attach_calls_by_tracepoint(self) -> None:
        # Enter before exit: an exit without its enter has no arguments.
        for edge in ("enter", "exit"):
            for call in ("execve", "execveat"):
                hook = f"syscalls:sys_{edge}_{call}".encode()
                function = f"on_enter_{call}".encode() if edge == "enter" else b"on_exit"
                self._bpf.attach_tracepoint(tp=hook, fn_name=function)

    def _attach_calls_by_kprobe(self) -> None:
        folder = tracefs()
        if folder is not None:
            kprobes.sweep(folder)
        entries = kprobes.entries(KALLSYMS)
        # The return before the entry: an entry whose return is not hooked would stay in the map.
        for function, _ in entries:
            self._bpf.attach_kretprobe(event=function, fn_name=b"on_exit", maxactive=kprobes.MOST_CALLS)
        for function, program in entries:
            self._bpf.attach_kprobe(event=function, fn_name=program)
        self._maps.append("following")
        self._bpf[b"following"][ctypes.c_int(0)] = ctypes.c_uint32(1)

    def _mark_attached(self) -> int:
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._bpf[b"attached"][ctypes.c_int(0)] = ctypes.c_uint64(now_ns)
        return now_ns
