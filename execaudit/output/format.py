"""How the answer to a query can be written: words for options, which need nothing else to be imported."""

from __future__ import annotations

from enum import Enum


class Format(str, Enum):
    """How a query's answer is written."""

    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"
