"""The numbers that stand for members of enumerations in the database. Only append to these tuples."""

from __future__ import annotations

from execaudit.enums import Kind, Truncated

KINDS = (Kind.EXEC, Kind.FAILED, Kind.SNAPSHOT)
TRUNCATIONS = (Truncated.LIMIT, Truncated.FAULT, Truncated.LOST, None)
"""None, the last: argv is whole, but does not agree with argc or argv_bytes, so argv_cut has these as well.
(A process that may write the memory of another can change its arguments during the exec.)"""
WHOLE = TRUNCATIONS.index(None)
