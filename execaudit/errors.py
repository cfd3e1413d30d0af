"""The error family. Each class has its exit status; each error says what happened and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class ExecauditError(Exception):
    """The request failed. The text, "what happened: what to do", is one line."""

    exit_status = 1

    def __init__(self, what: str, *, fix: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        """What happened."""
        self.fix = fix
        """The next step of the user; None when there is none that helps."""

    def __str__(self) -> str:
        return self.what if self.fix is None else f"{self.what}: {self.fix}"


class ConfigError(ExecauditError):
    """A setting is wrong: wrong usage, as a wrong option is."""

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


def to_json(error: ExecauditError) -> dict[str, str | None]:
    """Returns the error as JSON values, for `from_json` in another process."""
    # The other process may lack a subclass that another module defines: then it raises its base class.
    kind = next(each for each in type(error).__mro__ if each.__module__ == __name__)
    return {"kind": kind.__name__, "what": error.what, "fix": error.fix}


def from_json(said: Mapping[str, str | None]) -> ExecauditError:
    """Returns the error that `to_json` described in another process."""
    kind = globals()[str(said["kind"])]
    error: ExecauditError = kind(said["what"], fix=said["fix"])
    return error
