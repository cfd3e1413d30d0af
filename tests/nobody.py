"""Call a function as the user nobody, in a fork: modules that are imported stay imported."""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOBODY = 65534

_T = TypeVar("_T")


@contextmanager
def public_folder() -> Iterator[Path]:
    """A folder that every user can enter and only this one can write to; pytest's own cannot be entered."""
    folder = Path(tempfile.mkdtemp(prefix="execaudit-public-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def as_nobody(function: Callable[[], _T]) -> _T:
    """Calls a function in a process of the user nobody. Returns its result, or raises its error."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read_end)
            _answer(function, write_end)
        finally:
            os._exit(0)  # only the parent goes on with the tests
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    returned, value = pickle.loads(answer)
    if not returned:
        raise value
    return value  # type: ignore[no-any-return]  # what the function returned


def _answer(function: Callable[[], object], write_end: int) -> None:
    try:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        answer = pickle.dumps((True, function()))
    except Exception as exc:  # noqa: BLE001  # raised again in the parent
        answer = pickle.dumps((False, exc))
    with os.fdopen(write_end, "wb") as pipe:
        pipe.write(answer)
