"""Check whether this machine can record: one check for each thing that recording needs. Changes nothing.

One check loads the probe for a moment, because only the kernel can tell whether it accepts the program.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from execaudit.capture import kprobes, loader, probe, probe_options
from execaudit.errors import ProbeError
from execaudit.escaping import printable
from execaudit.system import clock
from execaudit.system import privileges as required

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from execaudit.capture.coverage import ProbeCoverage

# The BPF ring buffer came with 5.8.
_OLDEST_KERNEL = (5, 8)
_SYS_ADMIN = 21  # in linux/capability.h
# With a larger value, the kernels of Debian (3) and Ubuntu (4) let only CAP_SYS_ADMIN open a perf event, and
# to attach to a syscall tracepoint needs one. Other kernels know no such values.
_PARANOID_UPSTREAM = 2
_TRACEPOINTS = (probe_options.SUCCESS, *probe_options.SYSCALLS)


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    ok: bool
    detail: str
    """What was found, in one line."""
    fix: str | None = None
    """How to mend it, with the command; None when all is well."""


def _resolve_members() -> None:
    loader.compile_flags(loader.source_text(), probe_options.ProbeOptions(), cpus=1)


def _import_bcc() -> None:
    loader.import_bcc()


def _load_probe() -> None:
    probe.Probe(probe_options.ProbeOptions()).close()


@dataclass(frozen=True)
class Environment:
    """The parts of the machine that the checks look at. The three functions raise ProbeError."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    resolve_members: Callable[[], None] = _resolve_members
    """Looks up in the kernel's BTF each struct member that the program reads."""
    import_bcc: Callable[[], None] = _import_bcc
    load_probe: Callable[[], None] = _load_probe
    has_own_tracefs: bool = False
    """Tracefs is mounted for this process alone: see own_tracefs.py."""


def run(environment: Environment, database: Callable[[], Check]) -> list[Check]:
    """Returns all checks, in the order in which failures should be mended."""
    machine = [
        check(environment)
        for check in (privileges, kernel, lockdown, clocks, types, tracefs, tracepoints, bcc)
    ]
    # If a check failed, loading would fail for the same reason, with a less clear message.
    if all(check.ok for check in machine):
        machine.append(loads(environment))
    return [*machine, database()]


def privileges(environment: Environment) -> Check:
    """Checks the capabilities that `record` needs. Root in a container may lack them."""
    name = "privileges"
    status = dict(re.findall(r"^(\w+):\t(.*)$", _read(environment.proc / "self/status") or "", re.MULTILINE))
    is_root = status.get("Uid", "").split()[1:2] == ["0"]
    who = "root" if is_root else "not root"
    held = int(status.get("CapEff", "0"), 16)
    if missing := required.lacking(held):
        detail = f"{who}, {'but' if is_root else 'and'} without {' and '.join(missing)}"
        if is_root:
            fix = "run it on the host, or with `--privileged --pid=host`"
            return Check(name, ok=False, detail=f"{detail}, as in a container", fix=fix)
        return Check(name, ok=False, detail=detail, fix="run it with `sudo`, or start execaudit.service")
    if held >> _SYS_ADMIN & 1:
        has = "CAP_SYS_ADMIN"
    elif _paranoid(environment) > _PARANOID_UPSTREAM:
        detail = "without CAP_SYS_ADMIN, which failed execs need if kernel.perf_event_paranoid is above 2"
        fix = "grant it, or run `sysctl kernel.perf_event_paranoid=2`, or record with --no-failed"
        return Check(name, ok=False, detail=detail, fix=fix)
    else:
        has = "CAP_BPF and CAP_PERFMON"
    return Check(name, ok=True, detail=f"{who}, {'with' if is_root else 'but with'} {has}")


def kernel(environment: Environment) -> Check:
    """Checks that the kernel has the BPF ring buffer."""
    release = (_read(environment.proc / "sys/kernel/osrelease") or "unknown").strip()
    number = re.match(r"(\d+)\.(\d+)", release)
    oldest = ".".join(map(str, _OLDEST_KERNEL))
    if number and (int(number[1]), int(number[2])) >= _OLDEST_KERNEL:
        return Check("kernel", ok=True, detail=f"{release} (needs {oldest})")
    fix = (
        "run `apt-get install linux-image-amd64` on Debian, `apt-get install linux-generic` on Ubuntu; reboot"
    )
    return Check(
        "kernel", ok=False, detail=f"{release} is older than {oldest}, without BPF ring buffer", fix=fix
    )


def lockdown(environment: Environment) -> Check:
    """Checks that lockdown is not at its second level, which forbids BPF programs to read kernel memory."""
    said = _read(environment.sys / "kernel/security/lockdown")
    mode = re.search(r"\[(\w+)\]", said or "")
    if mode and mode[1] == "confidentiality":
        detail = "confidentiality: BPF programs may not read kernel memory"
        fix = "take `lockdown=confidentiality` off the kernel's command line (`cat /proc/cmdline`); reboot"
        return Check("lockdown", ok=False, detail=detail, fix=fix)
    return Check("lockdown", ok=True, detail=mode[1] if mode else "none")


def clocks(environment: Environment) -> Check:
    """Checks that this is no time namespace, where the boot clock is not the one of the probe's times."""
    if seconds := clock.namespace_offset_s(environment.proc):
        detail = f"this is a time namespace: its boot clock is {seconds:+} s off the kernel's"
        return Check("clock", ok=False, detail=detail, fix="run it with `nsenter --time=/proc/1/ns/time`")
    return Check("clock", ok=True, detail="the kernel's own boot clock")


def types(environment: Environment) -> Check:
    """Checks that the kernel has BTF, and in it all struct members that the program reads."""
    path = environment.sys / "kernel/btf/vmlinux"
    if not path.exists():
        fix = "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y, as those of Debian 11, Ubuntu 20.10 and later are"
        return Check("btf", ok=False, detail=f"this kernel has no {path}", fix=fix)
    return _tried("btf", environment.resolve_members, f"{path}, with all that the probe reads")


def tracefs(environment: Environment) -> Check:
    """Checks that tracefs can be read: attaching to system calls needs its descriptions of tracepoints."""
    for folder in _tracefs_folders(environment):
        try:
            if (folder / "events").is_dir():
                own = "not mounted: `record` mounts it for itself alone"
                detail = own if environment.has_own_tracefs else f"mounted at {folder}"
                return Check("tracefs", ok=True, detail=detail)
        except PermissionError:
            return Check(
                "tracefs", ok=False, detail=f"{folder} is closed to this user", fix="run it with `sudo`"
            )
    return Check("tracefs", ok=False, detail="not mounted", fix=_mounting(environment))


def tracepoints(environment: Environment) -> Check:
    """Checks the five tracepoints at which the probe sees execs, or what can replace them."""
    name = "tracepoints"
    for folder in _tracefs_folders(environment):
        try:
            lacking = [point for point in _TRACEPOINTS if not (folder / "events" / point).is_dir()]
        except PermissionError:
            return Check(name, ok=False, detail="cannot be seen by this user", fix="run it with `sudo`")
        if not lacking:
            return Check(name, ok=True, detail=f"all {len(_TRACEPOINTS)} are there")
        if probe_options.SUCCESS not in lacking and kprobes.can_probe(folder):
            detail = f"this kernel has no {', '.join(lacking)}, but kprobes: they see failed execs"
            return Check(name, ok=True, detail=detail)
        if len(lacking) < len(_TRACEPOINTS):
            fix = "record with --no-failed, or boot a kernel built with CONFIG_FTRACE_SYSCALLS=y"
            if probe_options.SUCCESS in lacking:
                fix = "boot a kernel built with CONFIG_TRACEPOINTS=y"
            return Check(name, ok=False, detail=f"this kernel has no {', '.join(lacking)}", fix=fix)
    return Check(name, ok=False, detail="cannot be seen without tracefs", fix=_mounting(environment))


def bcc(environment: Environment) -> Check:
    """Checks that Python can import the BPF Compiler Collection, and not another package named bcc."""
    return _tried("bcc", environment.import_bcc, "can be imported")


def loads(environment: Environment) -> Check:
    """Checks that the kernel accepts the program."""
    check = _tried("probe", environment.load_probe, "the kernel accepts it")
    if check.fix is None:
        return check
    # The probe's own advice is to run this.
    return dataclasses.replace(check, fix=check.fix.replace("then run `execaudit doctor`", "and report it"))


def as_text(checks: Sequence[Check]) -> Iterator[str]:
    """Yields lines for a person, safe to show."""
    width = max((len(check.name) for check in checks), default=0)
    for check in checks:
        yield f"{'ok' if check.ok else 'FAIL':<4}  {check.name:<{width}}  {printable(check.detail)}"
        if check.fix is not None:
            yield f"{'':<4}  {'':<{width}}  -> {printable(check.fix)}"


def as_json(checks: Sequence[Check], coverages: Sequence[ProbeCoverage]) -> str:
    """Returns a JSON object: `checks` with the fields of Check, `probes` with those of ProbeCoverage."""
    return json.dumps(
        {
            "checks": [dataclasses.asdict(check) for check in checks],
            "probes": [dataclasses.asdict(coverage) for coverage in coverages],
        }
    )


def _tried(name: str, attempt: Callable[[], None], well: str) -> Check:
    try:
        attempt()
    except ProbeError as exc:
        return Check(name, ok=False, detail=exc.what, fix=exc.fix)
    return Check(name, ok=True, detail=well)


def _tracefs_folders(environment: Environment) -> Iterator[Path]:
    for folder in probe_options.TRACEFS:
        yield environment.sys / folder.relative_to("/sys")


def _mounting(environment: Environment) -> str:
    folder = next(_tracefs_folders(environment))
    return f"run `mount -t tracefs tracefs {folder}`, or record with --no-failed"


def _paranoid(environment: Environment) -> int:
    said = (_read(environment.proc / "sys/kernel/perf_event_paranoid") or "").strip()
    return int(said) if re.fullmatch(r"-?\d+", said) else _PARANOID_UPSTREAM


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="backslashreplace")
    except OSError:
        return None
