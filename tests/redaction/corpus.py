"""The command lines of with_secrets.txt and without_secrets.txt, as the kernel has them."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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


@cache
def lines(name: str) -> tuple[Line, ...]:
    """Returns the lines of a file."""
    found: list[Line] = []
    preset, is_held_out = "", False
    for text in (FOLDER / name).read_text(encoding="utf-8").splitlines():
        if text.startswith("#"):
            title = text.lstrip("# ")
            if text.startswith("##"):
                preset = title.removeprefix(f"{_HELD_OUT}: ")
                is_held_out = title.startswith(_HELD_OUT)
        elif text:
            found.append(Line(text, *argv_of(text), preset, is_held_out))
    return tuple(found)


class Measured(NamedTuple):
    """How a preset does."""

    secrets: int
    """Lines with secrets that are for this preset."""
    found: int
    """Of these, with this preset and `general`."""
    wrong: int
    """Of all lines without secrets: those in which the preset finds some."""


def measured(preset: str, find: Callable[..., Sequence[tuple[int, int]]]) -> Measured:
    """Returns how a preset does. `find` returns places of a line, with presets."""
    chosen = {preset, "general"}
    of_preset = [line for line in lines("with_secrets.txt") if line.preset == preset]
    found = 0
    for line in of_preset:
        places = find(line, *sorted(chosen))
        found += all(any(start <= at and end <= last for start, last in places) for at, end in line.places)
    wrong = sum(bool(find(line, preset)) for line in lines("without_secrets.txt"))
    return Measured(len(of_preset), found, wrong)


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
