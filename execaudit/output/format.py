"""The formats of an answer. A module of its own, so that the options need not import the writers."""

from __future__ import annotations

from enum import Enum


class Format(str, Enum):
    """The format of a query's answer."""

    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"
