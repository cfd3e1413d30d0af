"""Find texts that must be in whatever a regular expression finds. Pure.

Only what means the same in every library is read; of any other expression nothing is known.
"""

from __future__ import annotations

import string

# What stands for itself outside of a set, without a backslash.
_PLAIN = frozenset(string.ascii_letters + string.digits + " _-/:=,;\"'@%&~!<>`#")
# Behind a backslash: a kind of character, or of place. Others may take what follows them.
_KINDS = frozenset("dDwWsSbBAZ")
_TIMES = "*?+"


class _UnknownError(Exception):
    """Something that is not read."""


def literals(regex: str) -> list[list[str]]:
    """Returns ways, of which one applies: all texts of it are in what is found. Empty: nothing is known."""
    try:
        ways = _Parser(regex).ways()
    except _UnknownError:
        return []
    return ways if all(ways) else []


class _Parser:
    def __init__(self, regex: str) -> None:
        self._regex, self._at = regex, 0

    def ways(self) -> list[list[str]]:
        """Returns the texts of each alternative."""
        found: list[list[str]] = [[]]
        text = ""
        while self._at < len(self._regex):
            char = self._next()
            if char == "|":
                found[-1].append(text)
                found.append([])
                text = ""
                continue
            one = self._one(char)
            times = self._times()
            if one is not None and not times:
                text += one
                continue
            # What may be there several times is there once, and then anything may follow.
            found[-1].append(text + one if one is not None and times == "+" else text)
            text = ""
        found[-1].append(text)
        return [[each for each in texts if each] for texts in found]

    def _next(self) -> str:
        if self._at >= len(self._regex):
            raise _UnknownError
        self._at += 1
        return self._regex[self._at - 1]

    def _one(self, char: str) -> str | None:
        """Reads what begins with a character. Returns the text that it stands for; None: it is not known."""
        if char in _PLAIN:
            return char
        if char == "\\":
            escaped = self._next()
            if escaped in _KINDS:
                return None
            if escaped.isalnum():
                raise _UnknownError
            return escaped
        if char == "[":
            self._skip_set()
        elif char == "(":
            self._skip_group()
        elif char not in ".^$":
            # Braces, and what is not ASCII: upper and lower case are not the same in each library.
            raise _UnknownError
        return None

    def _skip_set(self) -> None:
        first = True
        while (char := self._next()) != "]" or first:
            first = first and char == "^"
            if char == "[":
                raise _UnknownError
            if char == "\\" and self._next().isalnum() and self._regex[self._at - 1] not in _KINDS:
                raise _UnknownError

    def _skip_group(self) -> None:
        if self._regex[self._at : self._at + 1] == "?":
            self._at += 1
            if self._next() != ":":
                raise _UnknownError
        while (char := self._next()) != ")":
            if char not in "|*?+":
                self._one(char)

    def _times(self) -> str:
        """Reads how often the last one is there. Returns "" for once, "+" for at least once, else "*"."""
        said = ""
        while self._regex[self._at : self._at + 1] in _TIMES and self._at < len(self._regex):
            said += self._next()
        if not said:
            return ""
        return "+" if said[0] == "+" else "*"
