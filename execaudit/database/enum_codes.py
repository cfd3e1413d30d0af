"""The numbers that stand for closed sets in the database. Only ever append to them."""

from __future__ import annotations

from execaudit.enums import Kind, Truncated

KINDS = (Kind.EXEC, Kind.FAILED, Kind.SNAPSHOT)
TRUNCATIONS = (Truncated.LIMIT, Truncated.FAULT, Truncated.LOST, None)
"""The last: argv is whole, but differs from argc or argv_bytes, so these stand in argv_cut too. (Another
process that may write this one's memory can change the arguments during the exec.)"""
WHOLE = TRUNCATIONS.index(None)
