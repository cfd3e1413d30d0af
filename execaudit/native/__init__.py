"""Compiled functions for what is done to each exec, where they were built.

`fast` is the module, made from fast.pyx. Where it was not built, or with EXECAUDIT_PURE=1, it is None, and
Python does all: each function has a reference in Python, beside its only caller. The module is loaded when
`fast` is first read.
"""

from __future__ import annotations

import importlib
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from execaudit.system import shipped

if TYPE_CHECKING:
    from collections.abc import Callable

    from execaudit.native.fast import Decoder as _Decoder
    from execaudit.native.fast import Lines as _Lines
    from execaudit.native.fast import Numbers as _Numbers
    from execaudit.native.fast import Pages as _Pages
    from execaudit.native.fast import Rows

_SOURCE = Path(__file__).with_name("fast.pyx")

# `__getattr__` below sets both at the first use.
fast: Compiled | None
why_not: str | None
"""Why `fast` is None, in a few words."""


class Compiled(Protocol):
    """The module `fast`, whose types are in fast.pyi: mypy has no type for "this module, or None"."""

    Decoder: type[_Decoder]
    Lines: type[_Lines]
    Numbers: type[_Numbers]
    Pages: type[_Pages]
    counted: Callable[[str], dict[int, int] | None]
    exec_hashes: Callable[..., list[bytes]]
    learn: Callable[..., int]
    rows: Callable[..., Rows]
    sealed_execs: Callable[..., list[bytes]]
    set_buckets: Callable[..., None]
    take: Callable[..., int]
    values: Callable[[tuple[object, ...]], bytes | None]
    weights: Callable[..., dict[int | None, tuple[int, int, int, int]]]


def __getattr__(name: str) -> object:
    """Loads the module at the first use: `--help` and most questions need none."""
    if name not in {"fast", "why_not"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, reason = _load()
    globals().update(fast=module, why_not=reason)
    return module if name == "fast" else reason


class _Loaded(NamedTuple):
    module: Compiled | None
    why_not: str | None = None


def _load() -> _Loaded:
    if os.environ.get("EXECAUDIT_PURE", "0") not in {"", "0"}:
        return _Loaded(None, "EXECAUDIT_PURE is set")
    try:
        module = importlib.import_module("execaudit.native.fast")
    except ModuleNotFoundError:
        return _Loaded(None, "not built for this Python")
    except ImportError as exc:
        return _Loaded(None, f"cannot be loaded: {exc}")
    if not _is_of_these_sources(getattr(module, "SOURCES", None)):
        return _Loaded(None, "built from other sources")
    return _Loaded(cast("Compiled", module))


def _is_of_these_sources(sums: tuple[int, int] | None) -> bool:
    """Says whether the module was made from the header and the source that are here.

    The layout of records is compiled into the module, and the probe is compiled from the header that is here
    now. In a checkout both files may have changed since. An installation has no source.
    """
    try:
        header = zlib.crc32((shipped.folder("bpf") / "execaudit.h").read_bytes())
        source = zlib.crc32(_SOURCE.read_bytes()) if _SOURCE.exists() else None
    except OSError:
        return False
    return sums is not None and sums[0] == header and source in (None, sums[1])
