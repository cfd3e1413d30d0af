"""Which hosts of a central database are retired: nothing is expected of them until they ship again."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from execaudit.central.tables import RETIRED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from execaudit.fleet.engine import Engine


def retired(engine: Engine, streams: Iterable[tuple[int, bytes, int]]) -> dict[bytes, int]:
    """Returns the names of the hosts that are retired, and when each was. Raises StoreError.

    `streams`: of all streams the number, the name of the host, and when it was heard of.
    """
    columns = ", ".join(f'"{name}"' for name in RETIRED.names)
    rows = engine.rows(f"SELECT {columns} FROM {engine.dialect.table(RETIRED.name)}", {})  # noqa: S608  # ours
    heard: dict[bytes, dict[int, int]] = defaultdict(dict)
    found: dict[bytes, int] = {}
    for stream, host, heard_ns, at_ns in rows:
        heard[host][stream] = heard_ns
        found[host] = max(at_ns, found.get(host, at_ns))
    for stream, host, contact_ns in streams:
        # By the host's clock, which may have been set back since.
        if host in found and heard[host].get(stream) != contact_ns:
            del found[host]
    return found
