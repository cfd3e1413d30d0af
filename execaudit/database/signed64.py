"""Unsigned 64-bit numbers in SQLite, whose integers are signed: two's complement. Pure."""

from __future__ import annotations

from typing import overload

_BEYOND = 1 << 64
_SIGN = 1 << 63


@overload
def signed(number: int) -> int: ...
@overload
def signed(number: int | None) -> int | None: ...
def signed(number: int | None) -> int | None:
    """Returns the value to store for a number from 0 to 2**64 - 1."""
    return number if number is None or number < _SIGN else number - _BEYOND


@overload
def unsigned(stored: int) -> int: ...
@overload
def unsigned(stored: int | None) -> int | None: ...
def unsigned(stored: int | None) -> int | None:
    """Returns the number for a stored value."""
    return stored if stored is None or stored >= 0 else stored + _BEYOND
