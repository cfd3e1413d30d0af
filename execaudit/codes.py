"""The numbers that stand for closed sets in the database. Only ever append to them."""

from __future__ import annotations

from execaudit.event import Kind, Truncated

KINDS = (Kind.EXEC, Kind.FAILED, Kind.SNAPSHOT)
TRUNCATIONS = (Truncated.LIMIT, Truncated.FAULT, Truncated.LOST)
