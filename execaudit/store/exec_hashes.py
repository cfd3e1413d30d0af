"""What is sealed of execs that are inserted: from the events, and not from what is read again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from execaudit import native
from execaudit.seal import codec
from execaudit.store.bulk_insert import NOTHING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from execaudit.event import ExecEvent

_WIDTH = 18
"""The columns of a row of exec, as Inserts writes them."""
_MOST_REMEMBERED = 20_000


class ExecHashes:
    """Makes the hashes, and remembers those of launches and origins by their numbers."""

    def __init__(self) -> None:
        self._launches: dict[int | None, bytes] = {}
        self._origins: dict[int | None, bytes] = {}

    def of(
        self, batch: list[ExecEvent], values: list[Any], run: int | None, cuts: Iterable[Sequence[Any]]
    ) -> list[bytes]:
        """Returns a hash for each exec, given the values of their rows, one row after the other.

        `cuts` are the rows of argv_cut.
        """
        for remembered in (self._launches, self._origins):
            if len(remembered) > _MOST_REMEMBERED:
                remembered.clear()
        given = (batch, values, run, {row[0]: row[1:] for row in cuts}, self._launches, self._origins)
        if native.fast is not None:
            return native.fast.exec_hashes(
                *given, codec.launch_hash, codec.origin_hash, codec.line, codec.EMPTY_EXEC
            )
        return exec_hashes(*given)


def exec_hashes(  # noqa: PLR0913, PLR0917  # what a hash is made of
    batch: list[ExecEvent],
    values: list[Any],
    run: int | None,
    cut_of: dict[Any, Sequence[Any]],
    launches: dict[int | None, bytes],
    origins: dict[int | None, bytes],
) -> list[bytes]:
    """Returns what is sealed of execs, given the values of their rows, one row after the other.

    `cut_of` has the rows of argv_cut without their numbers, by these. `launches` and `origins` have hashes
    of what is known, by number, and get the others.
    """
    made: list[bytes] = []
    columns = iter(values)
    for event, row in zip(batch, zip(*[columns] * _WIDTH, strict=True), strict=True):
        (
            number, ts, _, kind, pid, tid, ppid, _, _, launch_id, origin_id, _, errno, truncated, parent, duration,
            status, replaced_by,
        ) = row  # fmt: skip
        launch = launches.get(launch_id)
        if launch is None:
            launch = launches[launch_id] = codec.launch_hash(event.launch)
        origin = origins.get(origin_id)
        if origin is None:
            origin = origins[origin_id] = codec.origin_hash(event.origin)
        cut: Any = None if truncated == NOTHING else (truncated, *cut_of[number])
        numbers = codec.pack_exec(
            number, ts, event.boot_ns, run, kind, pid, pid if tid == NOTHING else tid,
            NOTHING if ppid is None else ppid, errno, NOTHING if parent is None else parent, duration, status,
            replaced_by,
        )  # fmt: skip
        made.append(codec.exec_hash(numbers, launch, origin, codec.line(event.argv, cut)))
    return made
