"""Find an exec in SQL by the numbers of its id: the boot, the boot clock and the task. Pure.

There is no index of ids. The rows of `clock` for the boot turn the boot clock into wall clock, `seg` turns
that into a range of row ids, and the statement searches this range for the pid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.database.enum_codes import KINDS
from execaudit.enums import Kind

if TYPE_CHECKING:
    from execaudit.exec_id import ExecKey

_FAILED = KINDS.index(Kind.FAILED)
_OF_BOOT = "lower(substr(r.boot_id, 1, 7)) = :boot"
# If the clock was stepped within the boot, the range is as long as the step.
OFFSETS = (
    "SELECT min(k.offset_ns), max(k.offset_ns)"  # noqa: S608  # no value is in it
    f" FROM run AS r LEFT JOIN clock AS k ON k.run_id = r.id WHERE {_OF_BOOT}"
)
"""Finds the least and the largest offset of a boot's clocks; NULL if there are none."""
_IDS = (
    f"WITH offsets(low, high) AS ({OFFSETS}),"  # noqa: S608  # no value is in it
    " ids(low, high) AS (SELECT min(s.id_lo), max(s.id_hi) FROM offsets AS o, seg AS s"
    " WHERE s.ts_max >= :boot_ns + o.low AND s.ts_min <= :last_ns + o.high)"
)
_EXECS = (
    " FROM exec AS e LEFT JOIN clock AS k ON k.id = e.clock_id LEFT JOIN run AS r ON r.id = k.run_id WHERE "
)
_FROM = f"{_EXECS}e.id >= (SELECT low FROM ids) AND e.id <= (SELECT high FROM ids)"  # noqa: S608  # as above
_IS_IT = f" AND e.ts - k.offset_ns = :boot_ns AND {_OF_BOOT} AND "
_IS_EXEC = f"e.pid = :task AND e.kind <> {_FAILED} LIMIT 1"
_FIND = f"{_IDS} SELECT e.id{_FROM}{_IS_IT}"
FIND_EXEC = f"{_FIND}{_IS_EXEC}"
"""Finds a successful exec or a snapshot. Only these can be a parent or end."""
FIND_EXEC_WITHIN = f"SELECT e.id{_EXECS}e.id >= :low AND e.id <= :high{_IS_IT}{_IS_EXEC}"
"""Finds the same between two row ids."""
FIND_FAILED = f"{_FIND}coalesce(e.tid, e.pid) = :task AND e.kind = {_FAILED} LIMIT 1"
FIND_BETWEEN = (
    f"{_IDS} SELECT e.id, e.ts - k.offset_ns, CASE e.kind WHEN {_FAILED} THEN coalesce(e.tid, e.pid) ELSE e.pid END{_FROM}"
    f" AND e.ts - k.offset_ns BETWEEN :boot_ns AND :last_ns AND {_OF_BOOT} LIMIT :most"
)
"""Finds the execs of a boot between two moments of its clock: row ids, and the numbers of their ids."""


def parameters(key: ExecKey) -> dict[str, object]:
    """Returns the values of the parameters of FIND_EXEC and FIND_FAILED."""
    return {"boot": f"{key.boot:07x}", "boot_ns": key.boot_ns, "last_ns": key.boot_ns, "task": key.task}
