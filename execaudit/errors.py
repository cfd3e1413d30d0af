"""The error family. Each class knows its exit status; each message names the next step."""

from __future__ import annotations

_MISTAKES = ("no such table", "no such column", "has no column named", "syntax error")


class ExecauditError(Exception):
    """The request failed, for a reason that its text gives in one line."""

    exit_status = 1


class ConfigError(ExecauditError):
    """A setting is wrong: the same as a wrong option."""

    exit_status = 2


class FilterError(ExecauditError):
    """A filter's value cannot be understood: wrong usage."""

    exit_status = 2


class StoreError(ExecauditError):
    """The database cannot be opened, read or written."""


class FullStoreError(StoreError):
    """There is no room for the database to grow."""


class LockedStoreError(StoreError):
    """Another program holds the database."""


class DamagedStoreError(StoreError):
    """The database is damaged."""

    exit_status = 4


class ProbeError(ExecauditError):
    """The probe could not be loaded."""

    exit_status = 5


def is_mistake(reason: str) -> bool:
    """Says whether SQLite complains of a statement of ours, so that to try again is pointless.

    It has the same error class for that as for a full disk.
    """
    return "malformed" not in reason and any(words in reason for words in _MISTAKES)


def store_error(doing: str, reason: str) -> StoreError:
    """Returns the error for what SQLite said while `doing`, with the step that helps."""
    if "malformed" in reason or "Could not decode" in reason:
        return DamagedStoreError(
            f"{doing}: {reason}: keep a copy, then restore a backup or start a new database"
        )
    if "full" in reason:
        return FullStoreError(f"{doing}: {reason}: make room on the disk")
    if "locked" in reason:
        return LockedStoreError(
            f"{doing}: {reason}: another program holds the database; end it, then try again"
        )
    steps = {
        "not a database": "it is some other file; name the history with --db",
        "unable to open": "does the folder exist, and may you use it? name another file with --db",
        "readonly": "you may not write there; run it as root, or name another file with --db",
        "I/O error": "look for errors of the disk in the kernel's log (`dmesg`)",
    }
    step = next((step for word, step in steps.items() if word in reason), "see `execaudit doctor`")
    return StoreError(f"{doing}: {reason}: {step}")
