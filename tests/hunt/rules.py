"""Write small rules of our own into files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LINUX = "product: linux, category: process_creation"


def write_rule(  # noqa: PLR0913  # each a part of a rule
    path: Path, detection: str, *, title: str = "", level: str = "medium", source: str = LINUX, more: str = ""
) -> Path:
    """Writes a rule, whose detection is YAML of one line: `{Image: /bin/a}`. Returns the path."""
    if "condition" not in detection:
        detection = f"{{selection: {detection}, condition: selection}}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"title: '{title or path.stem}'\nid: 11111111-2222-4333-8444-{hash_of(path.stem):012x}\n"
        f"status: test\nlogsource: {{{source}}}\ndetection: {detection}\nlevel: {level}\n{more}",
        encoding="utf-8",
    )
    return path


def hash_of(text: str) -> int:
    """Returns a number for a text, the same each time."""
    return int.from_bytes(text.encode()[:6].ljust(6), "big")
