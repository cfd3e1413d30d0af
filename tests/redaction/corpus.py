"""The command lines of with_secrets.txt and without_secrets.txt, as the kernel has them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent
_MARKED = re.compile("⟦(.*?)⟧".encode(), re.DOTALL)
_HELD_OUT = "held out"


class Line(NamedTuple):
    """A command line."""

    text: str
    """As somebody types it, with the secrets between ⟦ and ⟧."""
    argv: bytes
    places: tuple[tuple[int, int], ...]
    """Where the secrets begin and end."""
    preset: str
    is_held_out: bool
    """It was written after the rules."""


def lines(name: str) -> list[Line]:
    """Returns the lines of a file."""
    found = []
    preset, is_held_out = "", False
    for text in (FOLDER / name).read_text(encoding="utf-8").splitlines():
        if text.startswith("#"):
            title = text.lstrip("# ")
            if text.startswith("##"):
                preset = title.removeprefix(f"{_HELD_OUT}: ")
                is_held_out = title.startswith(_HELD_OUT)
        elif text:
            found.append(Line(text, *argv_of(text), preset, is_held_out))
    return found


def argv_of(text: str) -> tuple[bytes, tuple[tuple[int, int], ...]]:
    """Returns the arguments of a typed line, each with its NUL, and where the marked secrets are."""
    marked = b"".join(word.encode() + b"\0" for word in shlex.split(text))
    argv, places, at = b"", [], 0
    for match in _MARKED.finditer(marked):
        argv += marked[at : match.start()]
        places.append((len(argv), len(argv) + len(match[1])))
        argv += match[1]
        at = match.end()
    return argv + marked[at:], tuple(places)
