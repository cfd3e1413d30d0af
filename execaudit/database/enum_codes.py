"""The numbers that stand for members of enumerations in the database. Only append to these tuples."""

from __future__ import annotations

from execaudit.enums import Kind, Truncated

KINDS = (Kind.EXEC, Kind.FAILED, Kind.SNAPSHOT)
TRUNCATIONS = (Truncated.LIMIT, Truncated.FAULT, Truncated.LOST, None)
"""None, the last: argv is whole, but argv_cut has a row for it: it does not agree with argc or argv_bytes (a
process that may write the memory of another can change its arguments during the exec), or it was redacted."""
WHOLE = TRUNCATIONS.index(None)
