"""Regular expressions of RE2, which take linear time whatever they are given."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, Protocol

from execaudit.errors import ConfigError, ExecauditError

try:
    import re2
except ImportError as exc:
    raise ExecauditError(
        f"redaction needs a package that is not installed ({exc.name})",
        fix="`pip install 'execaudit[redact]'`, or in a checkout `sudo make install EXTRAS=redact`",
    ) from exc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# What one pattern may take, compiled and while it is used.
_SMALL, _LARGE = 1 << 20, 16 << 20
# Of a name, of an option too.
NAME_BYTES = r"[\w.\[\]-]"


class Match(Protocol):
    """What is used of a match."""

    def start(self, group: int = 0) -> int:
        """Returns where it begins; -1 if the group matched nothing."""

    def end(self, group: int = 0) -> int:
        """Returns where it ends."""

    def group(self, group: int = 0) -> bytes:
        """Returns what it matched."""


class Pattern(Protocol):
    """What is used of a pattern."""

    @property
    def groups(self) -> int:
        """How many groups it has."""

    def search(self, text: bytes, pos: int | None = None) -> Match | None:
        """Returns the first match."""

    def match(self, text: bytes, pos: int | None = None) -> Match | None:
        """Returns the match that begins at a place."""

    def fullmatch(self, text: bytes) -> Match | None:
        """Returns the match of all of a text."""

    def finditer(self, text: bytes) -> Iterator[Match]:
        """Yields the matches."""


class WrongPatternError(ValueError):
    """RE2 does not take a pattern."""


def compiled(regex: str, *, large: bool = False, lines: bool = False, groups: bool = True) -> Pattern:
    """Returns a pattern for bytes. Raises WrongPatternError.

    With `lines`, a match never goes beyond a line, and ^ and $ are where one begins and ends.
    """
    options = re2.Options()
    # Each byte is a character: argv need not be UTF-8. A literal in UTF-8 has the bytes of argv.
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = _LARGE if large else _SMALL
    options.log_errors = False
    options.never_capture = not groups
    options.never_nl = lines
    try:
        source = (f"(?m:{regex})" if lines else regex).encode("utf-8")
        pattern: Pattern = re2.compile(source, options)
    except re2.error as exc:
        reason = exc.args[0] if exc.args else "too large"
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise WrongPatternError(text) from exc
    return pattern


def refuse(regex: str, why: str) -> NoReturn:
    """Raises ConfigError for a pattern of the configuration."""
    raise ConfigError(
        f"redaction cannot use the regular expression {regex!r}: {why}",
        fix="correct it: RE2 has no look-around and no backreferences",
    )


def escaped(text: str) -> str:
    """Returns a regular expression for exactly this text."""
    result: bytes = re2.escape(text.encode("utf-8"))
    return result.decode("utf-8")


def glob(text: str, letters: str = NAME_BYTES) -> str:
    """Returns a regular expression for a text in which `*` stands for some letters and `?` for one."""
    pieces = {"*": f"{letters}*", "?": letters}
    return "".join(pieces.get(char) or escaped(char) for char in text)


def union(regexes: Iterable[str]) -> str:
    """Returns a regular expression for any of these; one that matches nothing if there are none."""
    found: Sequence[str] = list(dict.fromkeys(regexes))
    return f"(?:{'|'.join(found)})" if found else r"(?:[^\x00-\xff])"
