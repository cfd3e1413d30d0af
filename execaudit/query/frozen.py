"""Small immutable classes that are made quickly: of a dataclass Python compiles code, half a millisecond."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_Class = TypeVar("_Class", bound=type)


def dataclass(*, frozen: bool) -> Callable[[_Class], _Class]:
    """Gives a class what dataclasses.dataclass(frozen=True) gives to one without bases, but no order."""
    if not frozen:
        raise AssertionError("these cannot be changed")
    return _completed


def _completed(kind: _Class) -> _Class:
    for name, method in _METHODS.items():
        setattr(kind, name, method)
    kind.__match_args__ = tuple(kind.__annotations__)  # type: ignore[misc, attr-defined]  # as of any class
    return kind


def _init(self: object, *values: object, **named: object) -> None:
    names: tuple[str, ...] = type(self).__match_args__  # type: ignore[attr-defined]  # see _completed
    if len(values) != len(names) or named:
        values = tuple(_all(type(self), names, values, named))
    self.__dict__.update(zip(names, values, strict=True))


def _all(
    kind: type, names: tuple[str, ...], values: tuple[object, ...], named: dict[str, object]
) -> Iterator[object]:
    """Yields the values of all names: given by place or by name, or the default."""
    if len(values) > len(names) or named.keys() & set(names[: len(values)]) or named.keys() - set(names):
        raise TypeError(f"{kind.__name__}() takes {', '.join(names)}, each once")
    yield from values
    for name in names[len(values) :]:
        if name not in named and name not in kind.__dict__:
            raise TypeError(f"{kind.__name__}() lacks {name}")
        yield named.get(name, kind.__dict__.get(name))


def _set(self: object, name: str, _value: object = None) -> None:
    raise AttributeError(f"{name} of {type(self).__name__} cannot be changed")


def _is_equal(self: object, other: object) -> bool:
    return type(self) is type(other) and self.__dict__ == other.__dict__


def _hash(self: object) -> int:
    return hash((type(self), *self.__dict__.values()))


def _text(self: object) -> str:
    values = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
    return f"{type(self).__qualname__}({values})"


_METHODS = {
    "__init__": _init,
    "__setattr__": _set,
    "__delattr__": _set,
    "__eq__": _is_equal,
    "__hash__": _hash,
    "__repr__": _text,
}
