"""Compile the BPF program with BCC, load it and attach it. A child does this: see system/child.py.

The only module that imports bcc: BCC and its compiler take 160 MB, and none of it is needed
any more once the program is attached. BCC is the distribution's (python3-bpfcc); the package
of that name on PyPI is another program.
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
# Where the source uses members and enums of the kernel; the macros' own definitions do not match.
_OFFSET_OF = re.compile(r"EA_(OFF|OPT)\((\w+[a-z]), (\w+)\)")
_ENUM_VALUE = re.compile(r"EA_ENUM\((\w+[a-z]), (\w+)\)")
# A header of the program itself: a bare name, so it can only be a file of the same folder.
_OWN_HEADER = re.compile(r'^#include "(\w+\.h)"\n', re.MULTILINE)
# Bounds for the number of processes that the map of lineage has room for, between which pid_max decides. Each
# costs about 90 bytes of kernel memory.
_MOST_PROCESSES, _LEAST_PROCESSES = 131_072, 32_768
# When the reader is woken at the latest. A larger ring is for when it cannot come, not for coming later.
_WAKE_BYTES = 1024 * 1024
_RAW_TRACEPOINT, _TRACEPOINT, _KPROBE = "RAW_TRACEPOINT", "TRACEPOINT", "KPROBE"
KALLSYMS = Path("/proc/kallsyms")
# The order in which they are attached: execs, forks, exits. So the start of each process is seen before its
# end; those that ran already are the exception.
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
# What is lost when the kernel skips one of these programs. At the entry of a call that is a failed exec, if
# the call fails.
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
_FAIL_STAGES = (b"on_exit_cwd", b"on_exit_exe", b"on_exit_argv")
_COMPAT_FAIL_STAGES = (*_FAIL_STAGES, b"on_exit_compat_argv")


def source_text() -> str:
    """Returns the BPF program as one text, its own headers in place of the lines that include them.

    BCC translates the use of maps in its main text only, not in a header that the compiler
    includes. The compiler then needs no -I of ours, and looks for these headers nowhere.
    """
    folder = shipped.folder("bpf")
    main = (folder / "execaudit.c").read_text(encoding="utf-8")
    return _OWN_HEADER.sub(lambda header: (folder / header[1]).read_text(encoding="utf-8"), main)


def import_bcc() -> ModuleType:
    """Returns the BCC module.

    Raises ProbeError when it is missing, or is the PyPI package of the same name.
    """
    # BCC compiles against kernel headers; these few are all that it needs (see bpf/include).
    os.environ["BCC_KERNEL_SOURCE"] = str(shipped.folder("bpf"))
    try:
        import bcc  # noqa: PLC0415  # 0.3 s, and only the recorder needs it
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
    """Returns how many CPUs there may be while this kernel runs, from ranges such as 0-3,8."""
    ranges = Path("/sys/devices/system/cpu/possible").read_text(encoding="ascii")
    return 1 + int(re.split("[-,]", ranges.strip())[-1])


def compile_flags(source: str, options: ProbeOptions, cpus: int) -> list[str]:
    """Returns the -D flags for the program: its tunables, and what this kernel's types are.

    Raises ProbeError when the kernel's BTF is missing or lacks a member.
    """
    max_argv = _EVERYTHING if options.max_argv is None else min(options.max_argv, _EVERYTHING)
    flags = {
        "EA_RING_PAGES": options.ring_bytes // mmap.PAGESIZE,
        "EA_RING_BYTES": f"{options.ring_bytes}u",
        # All CPUs together wake the reader before an eighth of the ring is in use.
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
    """The kernel or BCC refused; what the compiler and the verifier said of it was printed."""


class Loaded(NamedTuple):
    """The program, loaded and attached, as it is handed to the process that reads its records."""

    uses: str
    """What is really used, in a word: tracepoint, kprobe for failed execs, or kprobe-only."""
    began_ns: int
    """CLOCK_BOOTTIME before anything was attached: no record is older."""
    attached_ns: int
    """CLOCK_BOOTTIME when the hooks of all but failed execs were attached."""
    cpus: int
    """How many count losses, each for itself."""
    maps: dict[str, int]
    """Descriptors of maps. A map of programs to go on in is emptied with the last of its."""
    programs: dict[str, list[int]]
    """Descriptors of the hooks' programs, by what is lost when the kernel leaves one out."""
    links: list[int]
    """Descriptors that keep the program attached, in the order in which it was."""


def load(options: ProbeOptions) -> Loaded:
    """Compiles, loads and attaches; takes about a second. What it leaves attached ends with its descriptors.

    Raises ProbeError with the reason and what to do; RefusedError with the reason alone.
    """
    folder = tracefs()
    resolved = resolve(options, folder)
    bcc = import_bcc()
    try:
        try:
            return _Loader(bcc.BPF, resolved).attached()
        except _NoRawTracepointError:
            # Where kprobes were not ruled out, they see what raw tracepoints are not let to.
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
        # The compiler looks for headers in the working directory first, because BCC says so, and in the
        # folders of these variables. Both may be another user's.
        os.chdir(shipped.folder("bpf"))
        for name in ("CPATH", "C_INCLUDE_PATH"):
            os.environ.pop(name, None)
        self._bpf = kinds(text=source.encode(), cflags=flags)  # it takes names as bytes, and warns of text
        self._maps = ["events", "losses", "account_losses", "exec_stages"]

    def attached(self) -> Loaded:
        """Attaches everything."""
        try:
            began_ns, attached_ns = self._attach()
        except _NoRawTracepointError:
            self._bpf.cleanup()
            raise
        maps = {name: self._bpf[name.encode()].map_fd for name in self._maps}
        # BCC's own names for them, each in the order in which they were attached.
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
        # Tail calls must find their targets before the first event comes, and the kernel lets
        # a program go on only in one of its own type.
        self._set_stages(
            b"exec_stages", _EXEC_STAGES, kinds.RAW_TRACEPOINT if options.raw_tracepoints else kinds.KPROBE
        )
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
        # Loading takes the verifier's time. Done before, the hooks come within a moment of each
        # other: what happens between two of them has a lineage that is not whole.
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
        # The return first: what is kept of a call at its entry waits for it.
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
