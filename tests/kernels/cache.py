"""Keep files that take long to make, until their inputs change."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHECKOUT = Path(__file__).parents[2]
CACHE = CHECKOUT / ".cache/kernels"


class MakingFailed(Exception):  # noqa: N818  # it says what happened
    """Something cannot be made here; the message is for the person who started the tests."""


def kept(name: str, inputs: object, make: Callable[[Path, Path], None]) -> Path:
    """Returns the folder `name`. `make` fills it, once for the same inputs.

    `make` also gets a second folder, which is removed afterwards. The source of its module is an input as
    well.
    """
    folder = CACHE / name
    code = Path(sys.modules[make.__module__].__file__ or "").read_bytes()
    wanted = hashlib.sha256(code + repr(inputs).encode()).hexdigest()
    stamp = folder / "made-of"
    with _one_at_a_time():
        if not stamp.exists() or stamp.read_text() != wanted:
            sys.stderr.write(f"making .cache/kernels/{name}\n")
            half, scratch = (folder.with_name(f"{name}.{suffix}") for suffix in ("half", "scratch"))
            for old in (folder, half, scratch):  # an interrupted run leaves the last two
                if old.exists():
                    shutil.rmtree(old)
            half.mkdir()
            scratch.mkdir()
            make(half, scratch)
            shutil.rmtree(scratch)
            (half / stamp.name).write_text(wanted)
            half.rename(folder)
    return folder


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Lets two runs in one checkout wait for each other."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
