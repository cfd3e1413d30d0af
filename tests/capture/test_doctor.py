"""Each check against a tree of real files that stands for a machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from execaudit.capture import doctor
from execaudit.capture.doctor import Check, Environment
from execaudit.errors import ProbeError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ALL_CAPS = 0x1FFFFFFFFFF
BPF_AND_PERFMON = 1 << 39 | 1 << 38
TRACEPOINTS = (
    "sched/sched_process_exec",
    "syscalls/sys_enter_execve",
    "syscalls/sys_exit_execve",
    "syscalls/sys_enter_execveat",
    "syscalls/sys_exit_execveat",
)
FINE = Check("database", ok=True, detail="fine")


def does_nothing() -> None:
    """Nothing is wrong."""


def fails_with(what: str, *, fix: str) -> Callable[[], None]:
    """Returns what raises a ProbeError."""

    def fail() -> None:
        raise ProbeError(what, fix=fix)

    return fail


class Machine:
    """The files of a machine that can record; a test spoils one of them."""

    def __init__(self, root: Path) -> None:
        self.proc, self.sys = root / "proc", root / "sys"
        self.caps(ALL_CAPS)
        self.write(self.proc / "sys/kernel/osrelease", "6.1.0-56-amd64\n")
        self.write(self.proc / "sys/kernel/perf_event_paranoid", "3\n")
        self.write(self.sys / "kernel/security/lockdown", "none [integrity] confidentiality\n")
        self.write(self.sys / "kernel/btf/vmlinux", "")
        for point in TRACEPOINTS:
            self.write(self.sys / "kernel/tracing/events" / point / "id", "1\n")

    def write(self, path: Path, text: str) -> None:
        """Writes a file and the folders above it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def caps(self, effective: int, uid: int = 0) -> None:
        """Writes what /proc says of this process."""
        status = f"Name:\tpython3\nUid:\t1000\t{uid}\t{uid}\t{uid}\nCapEff:\t{effective:016x}\n"
        self.write(self.proc / "self/status", status)

    def environment(
        self,
        *,
        resolve_members: Callable[[], None] = does_nothing,
        import_bcc: Callable[[], None] = does_nothing,
        load_probe: Callable[[], None] = does_nothing,
    ) -> Environment:
        """Returns the machine for the doctor."""
        return Environment(self.proc, self.sys, resolve_members, import_bcc, load_probe)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine that can record."""
    return Machine(tmp_path)


def test_good_machine(machine: Machine) -> None:
    """On a machine that can record all is well, the trial included, and nothing is to be mended."""
    checks = doctor.run(machine.environment(), lambda: FINE)

    names = [
        "privileges",
        "kernel",
        "lockdown",
        "clock",
        "btf",
        "tracefs",
        "tracepoints",
        "bcc",
        "probe",
        "database",
    ]
    assert names == [check.name for check in checks]
    assert all(check.ok and check.fix is None for check in checks)


def test_this_machine() -> None:
    """The machine that runs the tests can record, by its real files, BCC and kernel."""
    assert [] == [check for check in doctor.run(Environment(), lambda: FINE) if not check.ok]


def test_database_is_asked_last_whatever_else_is_wrong(machine: Machine) -> None:
    """The history can be read on a machine that cannot record."""
    machine.caps(0)
    damaged = Check("database", ok=False, detail="damaged", fix="restore a backup")

    assert damaged == doctor.run(machine.environment(), lambda: damaged)[-1]


@pytest.mark.parametrize(
    ("offsets", "seconds"),
    [
        ("monotonic           0         0\nboottime            0         0\n", 0),
        ("monotonic           5         0\nboottime       604800         0\n", 604800),
        ("monotonic           0         0\nboottime          -60         0\n", -60),
        ("monotonic           0         0\nboottime            0         7\n", 1),
    ],
)
def test_time_namespace(machine: Machine, offsets: str, seconds: int) -> None:
    """Where the boot clock is another one than the kernel's, no time would be right."""
    machine.write(machine.proc / "self/timens_offsets", offsets)
    check = doctor.clocks(machine.environment())

    assert (not seconds) == check.ok
    assert not seconds or f"{seconds:+} s" in check.detail
    assert check.ok == (check.fix is None)


def test_no_trial_when_something_is_missing(machine: Machine) -> None:
    """The probe is not tried where it cannot load: its error would be less clear."""
    machine.caps(0)
    environment = machine.environment(load_probe=lambda: pytest.fail("tried"))

    assert "probe" not in [check.name for check in doctor.run(environment, lambda: FINE)]


def test_user_without_capabilities(machine: Machine) -> None:
    """The effective user counts, and the fix is sudo."""
    machine.caps(0, uid=1000)

    check = doctor.privileges(machine.environment())

    assert (False, "not root, and without CAP_BPF and CAP_PERFMON") == (check.ok, check.detail)
    assert "`sudo`" in str(check.fix)


@pytest.mark.parametrize(
    ("held", "which"), [(1 << 21, "CAP_SYS_ADMIN"), (BPF_AND_PERFMON, "CAP_BPF and CAP_PERFMON")]
)
def test_user_with_capabilities(machine: Machine, held: int, which: str) -> None:
    """Recording asks for no more, so neither does the doctor."""
    machine.caps(held, uid=1000)
    machine.write(machine.proc / "sys/kernel/perf_event_paranoid", "2\n")

    assert Check("privileges", ok=True, detail=f"not root, but with {which}") == doctor.privileges(
        machine.environment()
    )


def test_root_without_capabilities(machine: Machine) -> None:
    """Root of a container is told which capability it lacks."""
    machine.caps(1 << 39)

    check = doctor.privileges(machine.environment())

    assert not check.ok
    assert "without CAP_PERFMON," in check.detail


@pytest.mark.parametrize(("paranoid", "ok"), [("2\n", True), ("-1\n", True), ("3\n", False), ("4\n", False)])
def test_two_capabilities_are_enough_upstream(machine: Machine, paranoid: str, *, ok: bool) -> None:
    """CAP_BPF and CAP_PERFMON are enough, but not on Debian's and Ubuntu's kernels as they are set."""
    machine.caps(BPF_AND_PERFMON)
    machine.write(machine.proc / "sys/kernel/perf_event_paranoid", paranoid)

    check = doctor.privileges(machine.environment())

    assert ok == check.ok
    assert ok or "sysctl kernel.perf_event_paranoid=2" in str(check.fix)


@pytest.mark.parametrize(
    ("release", "ok"),
    [
        ("5.8.0-1-amd64", True),
        ("10.0", True),
        ("6.18.44-fc", True),
        ("5.7.19", False),
        ("4.19.0", False),
        ("?", False),
    ],
)
def test_kernel_version(machine: Machine, release: str, *, ok: bool) -> None:
    """5.8 is the oldest kernel, compared as numbers."""
    machine.write(machine.proc / "sys/kernel/osrelease", release + "\n")

    check = doctor.kernel(machine.environment())

    assert ok == check.ok
    assert release in check.detail


@pytest.mark.parametrize(
    ("said", "ok", "mode"),
    [
        ("[none] integrity confidentiality", True, "none"),
        ("none [integrity] confidentiality", True, "integrity"),
        ("none integrity [confidentiality]", False, "confidentiality"),
    ],
)
def test_lockdown(machine: Machine, said: str, mode: str, *, ok: bool) -> None:
    """Only confidentiality keeps BPF from reading kernel memory."""
    machine.write(machine.sys / "kernel/security/lockdown", said + "\n")

    check = doctor.lockdown(machine.environment())

    assert ok == check.ok
    assert check.detail.startswith(mode)


def test_no_lockdown(machine: Machine) -> None:
    """A kernel without lockdown is fine."""
    (machine.sys / "kernel/security/lockdown").unlink()

    assert Check("lockdown", ok=True, detail="none") == doctor.lockdown(machine.environment())


def test_no_btf(machine: Machine) -> None:
    """Without BTF the fix is another kernel."""
    (machine.sys / "kernel/btf/vmlinux").unlink()

    check = doctor.types(machine.environment())

    assert not check.ok
    assert "CONFIG_DEBUG_INFO_BTF=y" in str(check.fix)


def test_missing_member(machine: Machine) -> None:
    """What happened and what to do are the error's."""
    unknown = fails_with(
        "this kernel's BTF has no file.f_path", fix="execaudit does not know this kernel yet"
    )

    check = doctor.types(machine.environment(resolve_members=unknown))

    assert (
        Check(
            "btf",
            ok=False,
            detail="this kernel's BTF has no file.f_path",
            fix="execaudit does not know this kernel yet",
        )
        == check
    )


def test_tracefs_is_not_mounted(machine: Machine) -> None:
    """An empty mount point is no tracefs; the fix for both checks is the mount command."""
    events = machine.sys / "kernel/tracing/events"
    events.rename(machine.sys / "elsewhere")

    checks = [doctor.tracefs(machine.environment()), doctor.tracepoints(machine.environment())]

    mount = f"`mount -t tracefs tracefs {machine.sys}/kernel/tracing`"
    assert [False, False] == [check.ok for check in checks]
    assert all(mount in str(check.fix) for check in checks)


def test_tracefs_below_debugfs(machine: Machine) -> None:
    """Where older systems have it, it is found too."""
    (machine.sys / "kernel/debug").mkdir()
    (machine.sys / "kernel/tracing").rename(machine.sys / "kernel/debug/tracing")

    assert doctor.tracefs(machine.environment()).ok
    assert doctor.tracepoints(machine.environment()).ok


def test_missing_tracepoint(machine: Machine) -> None:
    """A kernel without syscall tracepoints can still record what succeeds."""
    lacking = machine.sys / "kernel/tracing/events/syscalls/sys_exit_execveat"
    (lacking / "id").unlink()
    lacking.rmdir()

    check = doctor.tracepoints(machine.environment())

    assert (False, "this kernel has no syscalls/sys_exit_execveat") == (check.ok, check.detail)
    assert str(check.fix).startswith("record with --no-failed")


def test_kprobes_stand_in_for_missing_tracepoints(machine: Machine) -> None:
    """Without syscall tracepoints kprobes see what fails, so nothing is to be mended."""
    syscalls = machine.sys / "kernel/tracing/events/syscalls"
    syscalls.rename(machine.sys / "elsewhere")
    machine.write(machine.sys / "kernel/tracing/kprobe_events", "")

    check = doctor.tracepoints(machine.environment())

    assert check.ok
    assert "but kprobes" in check.detail


def test_bcc_is_missing(machine: Machine) -> None:
    """The reason may have colons of its own."""
    broken = fails_with(
        "BCC cannot be imported (libbcc.so.0: no such file)", fix="run `apt-get install python3-bpfcc`"
    )

    check = doctor.bcc(machine.environment(import_bcc=broken))

    assert "BCC cannot be imported (libbcc.so.0: no such file)" == check.detail
    assert "run `apt-get install python3-bpfcc`" == check.fix


def test_refused_probe_does_not_send_in_circles(machine: Machine) -> None:
    """The probe's advice is to run the doctor; the doctor's must be another."""
    refused = fails_with(
        "the kernel or BCC refused the probe (EINVAL)", fix="see /tmp/log, then run `execaudit doctor`"
    )

    check = doctor.loads(machine.environment(load_probe=refused))

    assert (False, "see /tmp/log, and report it") == (check.ok, check.fix)


def test_text() -> None:
    """Aligned, the fix below its failure, and safe to show."""
    checks = [
        Check("kernel", ok=True, detail="6.1"),
        Check("tracepoints", ok=False, detail="a\x1b[2J\nb", fix="run `x\ty`"),
    ]

    assert [
        "ok    kernel       6.1",
        "FAIL  tracepoints  a\\x1b[2J\\nb",
        "                   -> run `x\\ty`",
    ] == list(doctor.as_text(checks))


def test_json() -> None:
    """One document with the exact values."""
    checks = [Check("kernel", ok=False, detail="4.19\x1b", fix="reboot")]

    assert {
        "checks": [{"name": "kernel", "ok": False, "detail": "4.19\x1b", "fix": "reboot"}],
        "probes": [],
    } == json.loads(doctor.as_json(checks, []))
