"""The probe: the attached BPF program. It returns the records as bytes; wire.py decodes them."""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit import errors
from execaudit.capture import kprobes, loader, own_tracefs
from execaudit.capture.probe_options import tracefs
from execaudit.capture.recursion_misses import Misses
from execaudit.capture.ringbuf import RingBuffer
from execaudit.errors import ProbeError
from execaudit.system import child, privileges

if TYPE_CHECKING:
    from collections.abc import Sequence

    from execaudit.capture.probe_options import ProbeOptions

# How many bytes one read takes from the ring, before the reader passes them on.
_BATCH_BYTES = 256 * 1024
_U32 = struct.Struct("=I")
_LOSS = struct.Struct("=5Q")
_ACCOUNT_LOSS = struct.Struct("=IIQQ")
_ACCOUNTS = 1024  # EA_ACCOUNTS


class Losses(NamedTuple):
    """What was lost since the probe was loaded, summed over CPUs: struct ea_loss, and skipped programs."""

    execs: int
    """Execs of which nothing was sent."""
    records: int
    """Further argv records, of execs whose first record was sent."""
    exits: int
    """Ends of programs."""
    images: int
    """Processes whose lineage could not be kept: there were more of them than the map holds."""
    returns: int = 0
    """Exec calls whose return the kernel did not show to the probe: too many calls were under way."""
    skipped: int = 0
    """Execs, at most, at which the kernel skipped a program because it already ran on that processor."""
    skipped_exits: int = 0
    """Ends of programs, likewise."""
    skipped_images: int = 0
    """Forks whose lineage is lost, likewise."""


class Probe:
    """The loaded and attached BPF program. It captures as soon as the constructor returns."""

    uses: str
    """`tracepoint`, `kprobe` (for failed execs) or `kprobe-only`: what the program really uses."""
    began_ns: int
    """CLOCK_BOOTTIME before anything was attached: no record is older."""
    attached_ns: int
    """CLOCK_BOOTTIME when all hooks but those of failed execs were attached."""
    loader: int
    """The pid, in this pid namespace, of the child that loaded the program. The child has ended."""

    def __init__(self, options: ProbeOptions) -> None:
        """Has a child compile, load and attach the program, which takes about a second.

        Raises ProbeError with the reason and the next step.
        """
        handle, name = tempfile.mkstemp(prefix="execaudit-probe-", suffix=".log")
        os.close(handle)
        log = Path(name)
        try:
            facts, descriptors = child.from_child(lambda: _load(options), log)
        except child.ChildDiedError as exc:
            raise ProbeError(
                f"the process that compiles and loads the probe {exc}",
                fix=f"see {log}, and have 300 MB of memory free",
            ) from exc
        if "refused" in facts:
            raise ProbeError(facts["refused"], fix=f"see {log}, then run `execaudit doctor`")
        log.unlink()
        if "wrong" in facts:
            raise errors.from_json(facts["wrong"])
        self.uses, self.began_ns, self.attached_ns = facts["uses"], facts["began_ns"], facts["attached_ns"]
        self._maps = dict(zip(facts["maps"], descriptors, strict=False))
        counts = [len(found) for found in facts["programs"].values()]
        rest = iter(descriptors[len(self._maps) :])
        programs = {
            kind: list(islice(rest, count)) for kind, count in zip(facts["programs"], counts, strict=True)
        }
        self._programs = list(chain.from_iterable(programs.values()))
        self._links = list(rest)
        self.loader = facts["pid"]
        self._losses = _Counters(self._maps["losses"], facts["cpus"] * _LOSS.size)
        self._account_losses = _Counters(self._maps["account_losses"], _ACCOUNTS * _ACCOUNT_LOSS.size)
        self._misses = [Misses(programs[kind]) for kind in ("execs", "exits", "images")]
        self._ring = RingBuffer(self._maps["events"], ring_bytes=options.ring_bytes, batch_bytes=_BATCH_BYTES)

    def wait(self, timeout_s: float) -> None:
        """Returns when the ring buffer is filling, or after `timeout_s`."""
        self._ring.wait(timeout_s)

    def read(self) -> list[bytes]:
        """Returns the records in the ring, oldest first; an empty list if there are none."""
        return self._ring.read()

    def losses(self) -> Losses:
        """Returns the counters of losses."""
        counts = _LOSS.iter_unpack(self._losses.read())
        return Losses(*map(sum, zip(*counts, strict=True)), *(misses.count() for misses in self._misses))

    def losses_by_account(self) -> dict[int, tuple[int, int]]:
        """Returns lost execs and exits by account, as far as the account is known.

        Call losses() before: then all losses of an account that it counted are in this result.
        """
        counts = _ACCOUNT_LOSS.iter_unpack(self._account_losses.read())
        return {account: (execs, exits) for account, used, execs, exits in counts if used}

    def detach(self) -> None:
        """Stops capturing. The records in the ring can still be read."""
        if "following" in self._maps:
            with mmap.mmap(self._maps["following"], mmap.PAGESIZE) as following:
                following[: _U32.size] = _U32.pack(0)
        # In reverse order: an exit of a call without its entry would be a failed exec without argv.
        while self._links:
            os.close(self._links.pop())

    def close(self) -> None:
        """Stops capturing and frees all resources."""
        self.detach()
        folder = tracefs()
        if "following" in self._maps and folder is not None:
            kprobes.sweep(folder, of=self.loader)
        self._ring.close()
        self._losses.close()
        self._account_losses.close()
        while self._programs:
            os.close(self._programs.pop())
        while self._maps:
            os.close(self._maps.popitem()[1])

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class _Counters:
    """Counters of the probe, in mapped memory: older kernels refuse bpf() to an unprivileged process."""

    def __init__(self, map_fd: int, size: int) -> None:
        self._size = size
        self._memory = mmap.mmap(map_fd, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE, prot=mmap.PROT_READ)

    def read(self) -> bytes:
        """Returns their current values."""
        return self._memory[: self._size]

    def close(self) -> None:
        """Unmaps them."""
        self._memory.close()


def _load(options: ProbeOptions) -> tuple[dict[str, Any], Sequence[int]]:
    """In the child: returns the facts for the parent, and the descriptors."""
    privileges.become_root_again()  # only root can attach kprobes
    own_tracefs.mount_if_missing()  # in the child only: the recorder stays in its mount namespace
    try:
        loaded = loader.load(options)
    except loader.RefusedError as exc:
        return {"refused": exc.what}, ()
    except ProbeError as exc:
        return {"wrong": errors.to_json(exc)}, ()
    facts = {**loaded._asdict(), "maps": [*loaded.maps], "pid": os.getpid()}
    return facts, [*loaded.maps.values(), *chain.from_iterable(loaded.programs.values()), *loaded.links]
