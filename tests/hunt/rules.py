"""Write small rules of our own into files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from execaudit.query.expression import And, Expression, Like, Not, Or, Passes, Text, Wild
from tests.query.expression_model import rule_leaves

if TYPE_CHECKING:
    from pathlib import Path

_lines = st.builds(
    Passes,
    st.builds(Text, st.sampled_from(("line", "exe")), st.booleans()),
    st.builds(
        Like,
        st.lists(st.sampled_from((Wild.MANY, Wild.ONE, b"ab", b"A b", b"-L", b"b")), max_size=3).map(tuple),
        st.booleans(),
    ),
)
rule_expressions: st.SearchStrategy[Expression] = st.recursive(
    _lines | rule_leaves,
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(And, st.lists(inner, max_size=3).map(tuple))
        | st.builds(Or, st.lists(inner, max_size=3).map(tuple))
    ),
    max_leaves=5,
)
"""What a rule says."""
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
