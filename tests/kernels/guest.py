"""Run a guest to its end, and read its answer. A guest that does not answer has failed."""

from __future__ import annotations

import resource
import subprocess
import tarfile
import time
from typing import TYPE_CHECKING, NamedTuple

from tests.kernels.root import root

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kernels.kernels import Kernel

_MEMORY_MB = 2048
_ANSWER_BYTES = 256 << 20
_TAIL = 6000  # of the console, in messages
# To end at once, and loudly, when the kernel finds fault with itself; not to wait for nobody; and not
# to take an emulated processor's slowness for a fault.
_COMMAND_LINE = (
    "console=ttyS0 quiet loglevel=4 panic=-1 oops=panic no_timer_check tsc=reliable nokaslr mitigations=off "
    "random.trust_cpu=on nosoftlockup rcupdate.rcu_cpu_stall_suppress=1"
)


class Answer(NamedTuple):
    """What a guest said of its job."""

    folder: Path
    """What the job left in /job/answer."""
    release: str
    cpus: int
    status: int
    seconds: float
    """Of this machine's time, from power on to power off."""
    cpu_seconds: float
    """What it took of this machine's processors: other work does not count."""


class GuestFailed(Exception):  # noqa: N818  # it says what happened
    """A guest ended without an answer, or did not end."""


def run(kernel: Kernel, job: Path, folder: Path, *, cpus: int, seconds: float) -> Answer:
    """Runs a guest for so long at most; what it says is in `folder` too, as `console`."""
    disk, console = folder / "answer.tar", folder / "console"
    with disk.open("wb") as empty:
        empty.truncate(_ANSWER_BYTES)
    began, used = time.monotonic(), _cpu_seconds()
    with console.open("wb") as said:
        guest = subprocess.Popen(
            _command(kernel, job, disk, cpus), stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
        try:
            guest.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise GuestFailed(f"the guest was not done in {seconds:g} seconds:\n{_tail(console)}") from None
        finally:
            guest.kill()
            guest.wait()
    return _answer(disk, folder / "answer", console, (time.monotonic() - began, _cpu_seconds() - used))


def _command(kernel: Kernel, job: Path, answer: Path, cpus: int) -> list[str]:
    disks = (f"{root()},snapshot=on", f"{job},readonly=on", f"{answer}")
    return [
        # Never with KVM, which QEMU would take where it seems to be there: what stands behind it on
        # a rented machine may be anything.
        "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-cpu", "max",
        "-smp", str(cpus), "-m", str(_MEMORY_MB),
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
        "-kernel", str(kernel.image), "-initrd", str(kernel.initramfs), "-append", _COMMAND_LINE,
        *(word for disk in disks for word in ("-drive", f"if=virtio,format=raw,file={disk}")),
    ]  # fmt: skip


def _cpu_seconds() -> float:
    """Returns what all children that have ended took."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _answer(disk: Path, folder: Path, console: Path, took: tuple[float, float]) -> Answer:
    try:
        # "r:", because to one of the formats that it would try, zeros are an endless empty file.
        with tarfile.open(disk, "r:") as tar:
            tar.extractall(folder)
        texts = [(folder / name).read_text() for name in ("release", "cpus", "status")]
    except (OSError, tarfile.TarError) as error:
        raise GuestFailed(f"the guest ended without an answer ({error}):\n{_tail(console)}") from error
    release, cpus, status = texts
    return Answer(folder, release.strip(), int(cpus), int(status), *took)


def _tail(console: Path) -> str:
    return console.read_bytes()[-_TAIL:].decode(errors="backslashreplace")
