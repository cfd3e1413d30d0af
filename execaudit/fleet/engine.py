"""What reads a central database: statements of an engine, with the values of their parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from execaudit.fleet.dialects import Dialect

    Row = tuple[Any, ...]


class Select(NamedTuple):
    """The first rows of `exec`, which is `e`, in an order."""

    source: str
    """What follows FROM, up to the order."""
    order: str
    most: int

    def text(self, columns: Sequence[str]) -> str:
        """Returns the statement."""
        shown = ", ".join(f'e."{name}"' for name in columns)
        return f"SELECT {shown} FROM {self.source} ORDER BY {self.order} LIMIT {self.most}"  # noqa: S608  # ours


class Engine(Protocol):
    """An open connection. It only reads, and each statement stands for itself."""

    @property
    def dialect(self) -> Dialect:
        """Its SQL."""
        ...

    def rows(self, sql: str, parameters: Mapping[str, object]) -> list[Row]:
        """Returns the rows of a statement. Texts are bytes.

        Raises StoreError. A KeyboardInterrupt ends the statement on the server, too.
        """
        ...

    def page(
        self, select: Select, columns: Sequence[str], most_bytes: int, parameters: Mapping[str, object]
    ) -> list[Row]:
        """Returns these columns of the first rows, as far as their command lines have so many bytes.

        At least one row, if there is one.
        """
        ...

    def accounts(self, name: bytes) -> set[int | None]:
        """Returns the uids of users that have a name; None is among them for the user who logged in."""
        ...

    def schema(self) -> str:
        """Returns the revision of the schema."""
        ...

    def size(self) -> int:
        """Returns how many bytes the tables have on the server's disks."""
        ...

    def about_how_many(self) -> int:
        """Returns about how many execs there are."""
        ...
