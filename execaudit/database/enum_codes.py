"""The numbers that stand for closed sets in the database. Only ever append to them."""

from __future__ import annotations

from execaudit.enums import Kind, Truncated

KINDS = (Kind.EXEC, Kind.FAILED, Kind.SNAPSHOT)
TRUNCATIONS = (Truncated.LIMIT, Truncated.FAULT, Truncated.LOST, None)
"""The last: argv is whole, but argc or argv_bytes is not what it has, so they stand in argv_cut too. (Whoever
may write the memory of a process can change its arguments while the exec goes on.)"""
WHOLE = TRUNCATIONS.index(None)
