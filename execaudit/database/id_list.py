"""Pass row ids to SQL as one parameter, which the statement reads with json_each(:name). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def json_ids(ids: Iterable[int]) -> str:
    """Returns ids as a JSON list, in the same order."""
    return f"[{','.join(map(str, ids))}]"
