"""Configure how the recorder uses memory, because it runs for months. Once, before there are threads."""

from __future__ import annotations

import gc
import importlib
import inspect
import sys
from types import ModuleType

from execaudit.system.libc import LIBC

# mallopt(3), malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
# Parts of long command lines are larger than this. So each has a mapping of its own, and its memory goes back
# to the system when it is freed, whatever was allocated after it. Without a fixed threshold, glibc raises it.
_OWN_MAPPING_BYTES = 16 * 1024
_FREE_AT_THE_END_BYTES = 128 * 1024
# Events have no cycles. With Python's own threshold of 700, the collector takes a tenth of the time of
# assembly; with 5 000 it still looks at each batch, which has 500 execs and five objects for each.
_LOOK_FOR_CYCLES_AT = 50_000

# Modules that others import if they are there, and work without: of TLS (asyncio and hashlib), to compress
# (shutil), and to colour tracebacks (structlog; `top` uses it). They take 9 MB in memory.
_LEFT_OUT = ("ssl", "_hashlib", "bz2", "lzma", "rich")


class _Cancelled(BaseException):
    """Stands for asyncio's CancelledError, which nothing raises here."""


def _no_task() -> None:
    """Does as asyncio.current_task where no task runs: logging asks, from Python 3.12 on."""
    raise RuntimeError("no running event loop")


# Modules that SQLAlchemy and structlog import and do not use: 3 MB in memory. With what they look up in them
# when they are imported, or while they handle an error: that must not import anything.
_NOT_YET: dict[str, dict[str, object]] = {
    "asyncio": {
        "iscoroutine": inspect.iscoroutine, "TimeoutError": TimeoutError, "CancelledError": _Cancelled,
        "current_task": _no_task,
    },
    "importlib.metadata": {},
}  # fmt: skip


class _Later(ModuleType):
    """Stands for a module until something else of it is used, as Alembic does; then it is that module.

    (importlib's LazyLoader does not help: in Python 3.11 each import of its module loads it.)
    """

    def __getattr__(self, name: str) -> object:
        # Who looks through all modules asks for the rest of these; __path__ is asked for to import from it.
        if name.startswith("__") and name != "__path__":
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        vars(self).update(vars(importlib.import_module(self.__name__)))
        return vars(self)[name]


def leave_out() -> None:
    """Keeps libraries from importing modules that nothing here uses. Call it before they are imported."""
    for name in _LEFT_OUT:
        # None: importing it raises ImportError (docs.python.org/3/reference/import.html#the-module-cache).
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # the documentation allows None
    for name, known in _NOT_YET.items():
        if name not in sys.modules:
            later = _Later(name)
            vars(later).update(known)
            sys.modules[name] = later
            package, _, last = name.rpartition(".")
            if package:
                setattr(sys.modules[package], last, later)


def configure() -> None:
    """Sets how malloc works from now on, and how often Python looks for cycles.

    There is one arena, because one thread allocates the wire records and another frees them: a second arena
    could not reuse memory that was freed into the first.
    """
    gc.collect()
    gc.freeze()  # the objects that exist now stay, so the collector need not look at them again
    gc.set_threshold(_LOOK_FOR_CYCLES_AT)
    if hasattr(LIBC, "mallopt"):  # glibc's
        LIBC.mallopt(_ARENA_MAX, 1)
        LIBC.mallopt(_MMAP_THRESHOLD, _OWN_MAPPING_BYTES)
        LIBC.mallopt(_TRIM_THRESHOLD, _FREE_AT_THE_END_BYTES)


def give_back() -> None:
    """Gives free pages back to the system, also those between pages in use; takes a millisecond."""
    if hasattr(LIBC, "malloc_trim"):
        LIBC.malloc_trim(0)
