"""The words of a command line, and what those before a word say of it. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from execaudit.redaction.rules import OptionRule
    from execaudit.redaction.ruleset import Program

# A word of a shell: pieces that are bare, escaped or quoted; or what ends a command. The alternatives begin
# with different characters, so this takes linear time. `\"..\"` is how a script in quotes has quotes.
TOKEN = re.compile(
    rb"""(?:[^\s;|&()<>'"\\`]+|\\"[^"\\]*\\"|\\.|'[^']*'|"[^"\\]*(?:\\.[^"\\]*)*"|['"\\])+|[;|&()<>`\n]""",
    re.DOTALL,
)
ENDS_COMMAND = frozenset(b";|&()`\n")
has_words = re.compile(rb"[\s;|&()`]").search


class Word(NamedTuple):
    """An argument, or a word of a script without the quotes around it."""

    start: int
    text: bytes
    depth: int
    """In how many scripts it is."""

    @property
    def end(self) -> int:
        """Where it ends in argv."""
        return self.start + len(self.text)

    @property
    def is_option(self) -> bool:
        """Says whether it begins as an option does."""
        return self.text[:1] == b"-" and len(self.text) > 1


class Command:
    """What the words before say of the next one."""

    def __init__(self, *, is_prose: bool = False) -> None:
        self.program: Program | None = None
        self.operands: list[bytes] = []
        """The first words that are no options."""
        self.options: set[bytes] = set()
        """The long options, and the letters of the short ones."""
        self.pending: OptionRule | None = None
        """The next word is the value of this option."""
        self.is_name = False
        """The next word is a name, and no program."""
        self.is_script = False
        """The next word is a script."""
        self.is_remote = False
        """All words that follow are read by a shell."""
        self.is_prose = is_prose
        """Nobody knows that a shell reads these words."""

    def begin(self, program: Program | None) -> None:
        """Begins with a program, or with none."""
        self.program = program
        self.operands.clear()
        self.options.clear()
        self.pending = None
