"""What is chosen, and what it would see, by folders that stand for tracefs."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, NamedTuple

import pytest

from execaudit.capture import coverage
from execaudit.capture.probe_options import SUCCESS, SYSCALLS, ProbeKind, ProbeOptions, resolve
from execaudit.errors import ProbeError

if TYPE_CHECKING:
    from pathlib import Path

NATIVE, COMPAT = {
    "x86_64": ("__x64_sys_", "__ia32_compat_sys_"),
    "aarch64": ("__arm64_sys_", "__arm64_compat_sys_"),
}[platform.machine()]


class Kernel(NamedTuple):
    """The two places that say what a kernel has."""

    tracefs: Path
    symbols: Path

    def has(self, *points: str, kprobes: bool = False) -> Kernel:
        """Gives it tracepoints, and kprobes."""
        self.tracefs.mkdir()
        for point in points:
            (self.tracefs / "events" / point).mkdir(parents=True)
        if kprobes:
            (self.tracefs / "kprobe_events").touch()
        return self


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    """A kernel whose functions are known, and that has nothing yet."""
    names = (f"{prefix}{call}" for prefix in (NATIVE, COMPAT) for call in ("execve", "execveat"))
    (tmp_path / "kallsyms").write_text("".join(f"0 T {name}\n" for name in names))
    return Kernel(tmp_path / "tracing", tmp_path / "kallsyms")


def chosen(kernel: Kernel, kind: ProbeKind = ProbeKind.AUTO, *, failed: bool = True) -> ProbeKind:
    """Returns what a recorder would use."""
    return resolve(ProbeOptions(kind, failed), kernel.tracefs).kind


def test_tracepoints_are_the_first_choice(kernel: Kernel) -> None:
    """Where both are there, the tracepoints are taken, and kprobes if one wants them."""
    kernel.has(SUCCESS, *SYSCALLS, kprobes=True)

    assert ProbeKind.TRACEPOINT is chosen(kernel)
    assert ProbeKind.KPROBE is chosen(kernel, ProbeKind.KPROBE)


def test_kprobes_where_tracepoints_are_missing(kernel: Kernel) -> None:
    """Without one of the syscall tracepoints kprobes are taken; for successful execs nobody needs them."""
    kernel.has(SUCCESS, *SYSCALLS[:-1], kprobes=True)

    assert ProbeKind.KPROBE is chosen(kernel)
    assert ProbeKind.TRACEPOINT is chosen(kernel, failed=False)
    with pytest.raises(ProbeError, match=r"no syscall tracepoints .*: record with --probe kprobe"):
        chosen(kernel, ProbeKind.TRACEPOINT)


def test_kprobes_where_there_are_none(kernel: Kernel) -> None:
    """The refusal says what to use instead."""
    kernel.has(SUCCESS, *SYSCALLS)

    with pytest.raises(ProbeError, match=r"no kprobes .*: record with --probe tracepoint"):
        chosen(kernel, ProbeKind.KPROBE)


def test_kprobes_where_not_even_successes_have_a_tracepoint(kernel: Kernel) -> None:
    """Then kprobes see everything, the failed execs that are not wanted aside."""
    kernel.has(*SYSCALLS, kprobes=True)

    for failed in (True, False):
        resolved = resolve(ProbeOptions(failed=failed), kernel.tracefs)
        assert (ProbeKind.KPROBE, False, True) == (resolved.kind, resolved.raw_tracepoints, resolved.kprobes)
    with pytest.raises(
        ProbeError, match="no tracepoint sched/sched_process_exec: record with --probe kprobe"
    ):
        chosen(kernel, ProbeKind.TRACEPOINT)


@pytest.mark.parametrize("kind", ProbeKind)
def test_neither(kernel: Kernel, kind: ProbeKind) -> None:
    """With neither, only successful execs can be recorded."""
    kernel.has(SUCCESS)

    with pytest.raises(ProbeError, match="record with --no-failed"):
        chosen(kernel, kind)
    assert ProbeKind.TRACEPOINT is chosen(kernel, failed=False)


def test_without_tracefs() -> None:
    """Then nothing is known but that successful execs need nothing of it."""
    assert ProbeKind.TRACEPOINT is resolve(ProbeOptions(failed=False), None).kind
    for options in (ProbeOptions(), ProbeOptions(ProbeKind.KPROBE, failed=False)):
        with pytest.raises(ProbeError, match="mount -t tracefs"):
            resolve(options, None)


def test_table_of_a_kernel_with_all(kernel: Kernel) -> None:
    """Each of the two sees something that the other does not."""
    kernel.has(SUCCESS, *SYSCALLS, kprobes=True)

    assert [
        "                                            tracepoint  kprobe",
        "successful execs                            yes         yes",
        "programs that the kernel starts             yes         yes",
        "interpreters of scripts                     yes         yes",
        "failed execs                                yes         yes",
        "failed execs of 32-bit programs             no          yes",
        "execs that seccomp answers with an error    yes         no",
        "execs that it kills, traps, answers with 0  no          no",
        "`--probe auto` takes tracepoint",
    ] == list(coverage.as_text(coverage.look(*kernel)))


def test_table_of_a_kernel_with_kprobes_alone(kernel: Kernel) -> None:
    """Where not even sched_process_exec is there, kprobes see most of it."""
    kernel.has(kprobes=True)

    assert [
        "                                            tracepoint  kprobe",
        "successful execs                            -           yes",
        "programs that the kernel starts             -           no",
        "interpreters of scripts                     -           no",
        "failed execs                                -           yes",
        "failed execs of 32-bit programs             -           yes",
        "execs that seccomp answers with an error    -           no",
        "execs that it kills, traps, answers with 0  -           no",
        "tracepoint: this kernel has no tracepoint sched/sched_process_exec",
        "`--probe auto` takes kprobe",
    ] == list(coverage.as_text(coverage.look(*kernel)))


def test_unknown_functions(kernel: Kernel) -> None:
    """Kprobes without anything to probe are of no use."""
    kernel.has(SUCCESS, *SYSCALLS, kprobes=True).symbols.write_text("")

    tracepoint, kprobe = coverage.look(*kernel)
    assert (True, False) == (tracepoint.usable, kprobe.usable)
    assert "where this kernel" in str(kprobe.reason)


def test_kernel_without_anything(kernel: Kernel) -> None:
    """Neither is chosen."""
    kernel.has()

    assert [(False, False)] * 2 == [(one.usable, one.automatic) for one in coverage.look(*kernel)]
