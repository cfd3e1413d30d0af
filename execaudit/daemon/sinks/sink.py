"""What the recorder expects of a sink, and what most sinks answer."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from execaudit.daemon.backlog import Finished


class Sink(Protocol):
    """Takes what the recorder finished.

    The defaults are those of a sink that writes each batch at once, or raises.
    """

    name: str

    @abstractmethod
    def accept(self, batch: Finished) -> None:
        """Takes a batch, which may be empty. Raises when further batches are pointless."""

    def waits(self) -> bool:
        """Says whether there are batches that it could not write yet."""
        return False

    def is_busy(self) -> bool:
        """Says whether it wants to be called again soon, with an empty batch if there is no other."""
        return False

    def tidy(self) -> bool:
        """Does a few milliseconds of what can wait. Returns whether more of it is left."""
        return False

    def finish(self) -> None:
        """Takes no more batches. Returns when all is written; raises ExecauditError when that cannot be."""
        return

    def close(self) -> None:
        """Frees what it holds."""
        return
