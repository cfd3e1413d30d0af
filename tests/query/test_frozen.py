"""The classes of expressions are as frozen dataclasses are."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from execaudit.query import frozen

if TYPE_CHECKING:
    from collections.abc import Callable


def made(dataclass: Callable[..., Any]) -> tuple[Any, Any]:
    """Returns two classes."""

    @dataclass(frozen=True)
    class One:
        a: int
        b: tuple[int, ...]
        c: bool = False

    @dataclass(frozen=True)
    class Other:
        a: int
        b: tuple[int, ...]
        c: bool = False

    return One, Other


def seen(dataclass: Callable[..., Any]) -> list[object]:
    """Returns what can be seen of the classes."""
    one, other = made(dataclass)
    first = one(1, (2,))
    attempts: list[Callable[[], object]] = [
        one, lambda: one(1), lambda: one(1, 2, 3, 4), lambda: one(1, a=2, b=3), lambda: one(1, 2, d=4),
        lambda: setattr(first, "a", 2), lambda: setattr(first, "new", 2), lambda: delattr(first, "a"), lambda: hash(one(1, [])),
    ]  # fmt: skip
    refused = []
    for attempt in attempts:
        with pytest.raises((TypeError, AttributeError)) as caught:
            attempt()
        refused.append(isinstance(caught.value, TypeError))
    return [
        first == one(b=(2,), a=1), first == one(1, b=(2,), c=True), first == other(1, (2,)), first != other(1, (2,)), first == 1,
        len({first, one(1, (2,)), other(1, (2,))}), repr(first).rpartition(".")[2], one.__match_args__, first.a, first.c, refused,
    ]  # fmt: skip


def test_they_are_as_dataclasses() -> None:
    """Made by place, by name and with defaults; equal by values, and only to their own kind; immutable."""
    assert seen(dataclasses.dataclass) == seen(frozen.dataclass)
