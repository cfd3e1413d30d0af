"""Run a guest until it ends, and read its answer. A guest without an answer has failed."""

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
# Options of the kernel: stop at once after an error, do not wait for input, and do not report the slowness of
# an emulated processor as an error.
_COMMAND_LINE = (
    "console=ttyS0 quiet loglevel=4 panic=-1 oops=panic no_timer_check tsc=reliable nokaslr mitigations=off "
    "random.trust_cpu=on nosoftlockup rcupdate.rcu_cpu_stall_suppress=1"
)


class Answer(NamedTuple):
    """The result of a guest's job."""

    folder: Path
    """A copy of /job/answer, which the job filled."""
    release: str
    cpus: int
    status: int
    seconds: float
    """How long it ran, from power on to power off, by this machine's clock."""
    cpu_seconds: float
    """How much CPU time of this machine it took; other processes do not count."""


class GuestFailed(Exception):  # noqa: N818  # it says what happened
    """A guest ended without an answer, or did not end."""


def run(kernel: Kernel, job: Path, folder: Path, *, cpus: int, seconds: float) -> Answer:
    """Runs a guest for at most `seconds`. The text of its console is in the file `console` of the folder."""
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
        # Never with KVM, which QEMU would use if it seems to be there: on a rented machine it may not work.
        "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-cpu", "max",
        "-smp", str(cpus), "-m", str(_MEMORY_MB),
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
        "-kernel", str(kernel.image), "-initrd", str(kernel.initramfs), "-append", _COMMAND_LINE,
        *(word for disk in disks for word in ("-drive", f"if=virtio,format=raw,file={disk}")),
    ]  # fmt: skip


def _cpu_seconds() -> float:
    """Returns the CPU time of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _answer(disk: Path, folder: Path, console: Path, took: tuple[float, float]) -> Answer:
    try:
        # "r:", because tarfile would otherwise try formats in which zeros are an endless empty file.
        with tarfile.open(disk, "r:") as tar:
            tar.extractall(folder)
        texts = [(folder / name).read_text() for name in ("release", "cpus", "status")]
    except (OSError, tarfile.TarError) as error:
        raise GuestFailed(f"the guest ended without an answer ({error}):\n{_tail(console)}") from error
    release, cpus, status = texts
    return Answer(folder, release.strip(), int(cpus), int(status), *took)


def _tail(console: Path) -> str:
    return console.read_bytes()[-_TAIL:].decode(errors="backslashreplace")
