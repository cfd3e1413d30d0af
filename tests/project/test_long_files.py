"""A file of more than 400 lines says on top why it is one file."""

from __future__ import annotations

from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
_MOST_LINES, _TOP = 400, 40


def test_a_long_file_has_its_reason_on_top() -> None:
    """Whether it is Python, Cython, C or shell."""
    sources = [
        path
        for folder in ("bench", "bpf", "execaudit", "migrations", "tests", "tools")
        for path in (CHECKOUT / folder).rglob("*")
        if path.suffix in {".c", ".h", ".py", ".pyx", ".sh"}
    ]
    long = {
        str(path.relative_to(CHECKOUT)): lines[:_TOP]
        for path in sources
        if len(lines := path.read_text(encoding="utf-8").splitlines()) > _MOST_LINES
    }

    assert len(long) < len(sources) / 50
    assert [] == [
        name for name, top in long.items() if not any("more than 400 lines" in line for line in top)
    ]
