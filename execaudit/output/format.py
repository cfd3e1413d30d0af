"""The formats of an answer. A module of its own, so that the options need not import the writers."""

from __future__ import annotations

from enum import Enum


class Format(str, Enum):
    """The format of an answer."""

    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    ECS = "ecs"
    OCSF = "ocsf"
    TRACE = "trace"


ANSWERED = (Format.TABLE, Format.JSONL, Format.CSV)
"""The formats of `query`."""
EXPORTED = (Format.CSV, Format.JSONL, Format.PARQUET, Format.ECS, Format.OCSF, Format.TRACE)
"""The formats of `export`."""
# The longer ones first.
_ENDINGS = {
    f".{fmt.value}{ending}": fmt
    for fmt in (Format.ECS, Format.OCSF, Format.TRACE)
    for ending in (".jsonl", ".ndjson", ".json", "")
} | {
    ".csv": Format.CSV,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".json": Format.JSONL,
    ".parquet": Format.PARQUET,
}


def format_of(name: str) -> Format | None:
    """Returns the format that the ending of a file's name stands for; None if it is no such ending."""
    return next((fmt for ending, fmt in _ENDINGS.items() if name.lower().endswith(ending)), None)
