"""What `execaudit doctor` says of seals."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

from execaudit.capture.doctor import Check
from execaudit.cli.run.seal_status import lost_key
from execaudit.enums import ChainReason
from execaudit.errors import ConfigError, StoreError
from execaudit.query.connection import open_history
from execaudit.seal import remembered
from execaudit.seal.key_file import path_of
from execaudit.seal.newest import newest

if TYPE_CHECKING:
    from collections.abc import Callable

    from execaudit.config import Settings
    from execaudit.seal.newest import Newest

_NAME = "seal"
_MODE = 0o600


def check(path: Path, settings: Settings, time_text: Callable[[int], str]) -> Check:
    """Is the history sealed, does a key vouch for it, and when was it verified last?"""
    try:
        with open_history(path) as connection:
            last = newest(connection)
    except StoreError as exc:
        return Check(_NAME, ok=False, detail=exc.what, fix=exc.fix)
    if last is None:
        return Check(_NAME, ok=True, detail="nothing is sealed yet: a recorder seals what it stores")
    wrong = _key(path, last, time_text)
    if wrong is not None:
        return wrong
    keyed = "with a key" if last.chain.is_keyed else "without a key (see `execaudit seal setup`)"
    verified = _verified(settings, time_text)
    return Check(_NAME, ok=True, detail=f"sealed until {time_text(last.at_ns)} {keyed}{verified}")


def _key(path: Path, last: Newest, time_text: Callable[[int], str]) -> Check | None:
    """Returns what is wrong with the sealing key; None: nothing."""
    file = path_of(path)
    if last.chain.reason == ChainReason.KEY_LOST.value:
        what, _, fix = lost_key(last.chain, time_text).removeprefix("warning: ").partition(": ")
        return Check(_NAME, ok=False, detail=what, fix=fix)
    try:
        found = file.lstat()
    except FileNotFoundError:
        return _lost(f"the sealing key {file} is gone") if last.chain.is_keyed else None
    except OSError as exc:
        return Check(_NAME, ok=False, detail=f"{file}: {exc.strerror}", fix="run it as root")
    if not stat.S_ISREG(found.st_mode):
        return _lost(f"the sealing key {file} is no file")
    detail = None
    if stat.S_IMODE(found.st_mode) != _MODE:
        detail = f"others may use the sealing key {file}: its mode is {stat.S_IMODE(found.st_mode):o}"
        fix = f"run `chmod 600 {file}`"
    elif found.st_uid != (owner := path.stat().st_uid):
        detail = f"the sealing key {file} belongs to uid {found.st_uid}, and the history to uid {owner}"
        fix = f"run `chown --reference={path} {file}`"
    return None if detail is None else Check(_NAME, ok=False, detail=detail, fix=fix)


def _lost(detail: str) -> Check:
    return Check(
        _NAME, ok=False, detail=detail, fix="find out why, then run `execaudit seal setup --new-key`"
    )


def _verified(settings: Settings, time_text: Callable[[int], str]) -> str:
    """Returns when the history was verified last, if `verify` is configured to remember that."""
    try:
        name = settings.text("verify", "state")
        known = None if name is None else remembered.load(Path(name))
    except (ConfigError, StoreError) as exc:
        return f"; when it was verified is not known: {exc.what}"
    if name is None:
        return ""
    return "; never verified" if known is None else f"; verified at {time_text(known.verified_ns)}"
