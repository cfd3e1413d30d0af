"""What an expression is in Python: a function of an exec and its parent. Pure, but for a limit in time.

It says of an exec what the SQL of `conditions` says of its row. Tests hold the two to each other.
"""

from __future__ import annotations

from base64 import b64encode
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from execaudit.arguments import command_line, joined, split_argv
from execaudit.enums import Kind
from execaudit.exec_id import encode_id
from execaudit.fields import BY_NAME, Form
from execaudit.fields import Part as Place
from execaudit.query import globs, text_tests
from execaudit.query.container import container_id, is_named
from execaudit.query.expression import (
    LINE,
    Agrees,
    And,
    Globs,
    HasText,
    Image,
    InContainer,
    InLine,
    IsNull,
    IsUser,
    LineMatches,
    Matches,
    Not,
    OneOf,
    Or,
    Part,
    Passes,
    Within,
)
from execaudit.query.shown_values import shown_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from execaudit.event import ExecEvent
    from execaudit.query.expression import Expression, Text
    from execaudit.query.text_tests import Passing

    Check = Callable[[ExecEvent, ExecEvent | None], bool]
    # What an exec has: a value, or None. And what an exec and its parent have.
    _Value = Callable[[ExecEvent], Any]
    TextOf = Callable[[ExecEvent, ExecEvent | None], bytes | None]

_PARTS: dict[Part, Callable[[bytes, bytes], bool]] = {
    Part.ANY: bytes.__contains__,
    Part.START: bytes.startswith,
    Part.END: bytes.endswith,
}


def compiled(node: Expression) -> Check:  # noqa: C901, PLR0911, PLR0912  # each kind of node once
    """Returns the function that says whether an expression is true of an exec, whose parent it is given.

    Raises TypeError for `Under`, which needs a history; FilterError for a regular expression that is none.
    The function raises TimeoutError if one takes too long.
    """
    if isinstance(node, And):
        return _all([compiled(part) for part in node.parts])
    if isinstance(node, Or):
        return _any([compiled(part) for part in node.parts])
    if isinstance(node, Not):
        inner = compiled(node.part)
        return lambda event, parent: not inner(event, parent)
    if isinstance(node, Passes):
        return _passes(node)
    if isinstance(node, Agrees):
        return _agrees(node)
    if isinstance(node, IsNull):
        return _is_null(node.field)
    if isinstance(node, OneOf):
        values = frozenset(node.values)
        return _has(node.field, lambda value: value in values)
    if isinstance(node, Within):
        low, end = node.low, node.end
        return _has(node.field, lambda value: (low is None or value >= low) and (end is None or value < end))
    if isinstance(node, HasText):
        has, text = _PARTS[node.part], node.text
        return _has(node.field, lambda value: has(value, text))
    if isinstance(node, Matches):
        return _has(node.field, _search(node.regex))
    if isinstance(node, Globs):
        return _has(node.field, globs.matching(node.globs))
    if isinstance(node, Image):
        return _is_image(node.globs)
    if isinstance(node, InLine):
        wanted = node.text
        return lambda event, _: wanted in joined(event.argv, event.holes)
    if isinstance(node, LineMatches):
        search = _search(node.regex)
        return lambda event, _: search(joined(event.argv, event.holes))
    if isinstance(node, IsUser):
        return _is_user(node)
    if isinstance(node, InContainer):
        return lambda event, _: is_named(container_id(event.origin.cgroup), node.text)
    raise TypeError(node)


def _all(checks: list[Check]) -> Check:
    if len(checks) == 1:
        return checks[0]

    def check(event: ExecEvent, parent: ExecEvent | None) -> bool:
        for each in checks:  # noqa: SIM110  # half as fast
            if not each(event, parent):
                return False
        return True

    return check


def _any(checks: list[Check]) -> Check:
    if len(checks) == 1:
        return checks[0]

    def check(event: ExecEvent, parent: ExecEvent | None) -> bool:
        for each in checks:  # noqa: SIM110  # half as fast
            if each(event, parent):
                return True
        return False

    return check


def _has(name: str, test: Callable[[Any], bool]) -> Check:
    """Returns what says whether the field's value passes a test; of `argv`, an argument."""
    if name == "argv":
        return lambda event, _: any(map(test, _arguments(event)))
    get = _value(name)

    def check(event: ExecEvent, _parent: ExecEvent | None) -> bool:
        value = get(event)
        return value is not None and test(value)

    return check


def _is_null(name: str) -> Check:
    if BY_NAME[name].null is None:
        return lambda _event, _parent: False
    get = _value(name)
    return lambda event, _: get(event) is None


def _passes(node: Passes) -> Check:
    test = text_tests.passing(node.test)
    if node.text.name == "argv":
        return _has("argv", test)
    get = text_of(node.text)

    def check(event: ExecEvent, parent: ExecEvent | None) -> bool:
        text = get(event, parent)
        return text is not None and test(text)

    return check


def _agrees(node: Agrees) -> Check:
    get, get_other, agree = text_of(node.text), text_of(node.other), text_tests.agreeing(node.part)

    def check(event: ExecEvent, parent: ExecEvent | None) -> bool:
        text, other = get(event, parent), get_other(event, parent)
        return text is not None and other is not None and agree(text, other)

    return check


def text_of(text: Text) -> TextOf:
    """Returns the function that gives a text of an exec, whose parent it is given; None for null."""
    if text.name == LINE:
        if text.of_parent:
            return lambda _, parent: None if parent is None else joined(parent.argv, parent.holes)
        return lambda event, _: joined(event.argv, event.holes)
    if text.name == "exe":
        if text.of_parent:
            return lambda _, parent: None if parent is None else parent.launch.exe
        return lambda event, _: event.launch.exe
    form, get = BY_NAME[text.name].form, _value(text.name)
    return lambda event, _: shown_text(form, get(event))


def _value(name: str) -> _Value:
    """Returns what gives a field's value as expressions have it: texts in bytes."""
    field = BY_NAME[name]
    if name in _COMPUTED:
        return _COMPUTED[name]
    get: _Value = attrgetter(f"{_PLACES[field.part]}{field.source}")
    if field.part is Place.END:
        inner = attrgetter(field.source)
        get = lambda event: None if event.end is None else inner(event.end)  # noqa: E731  # as attrgetter
    if field.form is Form.ID:
        return lambda event: None if (key := get(event)) is None else encode_id(key).encode()
    if field.form in (Form.TEXT, Form.NAME):
        return lambda event: None if (text := get(event)) is None else text.encode("utf-8", "surrogateescape")
    if field.form is Form.GAINED:
        return lambda event: get(event) or None
    return get


_PLACES = {Place.EXEC: "", Place.LAUNCH: "launch.", Place.ORIGIN: "origin.", Place.END: "end."}


def _arguments(event: ExecEvent) -> tuple[bytes, ...]:
    return split_argv(event.argv, event.holes).parts


def _command(event: ExecEvent) -> bytes:
    return command_line(split_argv(event.argv, event.holes)).encode()


def _base64(event: ExecEvent) -> bytes | None:
    try:
        b"\0".join(_arguments(event)).decode()
    except UnicodeDecodeError:
        return b64encode(event.argv)
    return None


def _container(event: ExecEvent) -> bytes | None:
    found = container_id(event.origin.cgroup)
    return None if found is None else found.encode("utf-8", "surrogateescape")


_COMPUTED: dict[str, _Value] = {
    "command": _command,
    "argv_missing": lambda event: event.holes or None,
    "redacted": lambda event: event.redacted or None,
    "argv_base64": _base64,
    "container_id": _container,
}


def _search(regex: bytes) -> Passing:
    from execaudit.query import timelimit  # noqa: PLC0415  # loads the library regex

    search = timelimit.searcher(regex.decode("utf-8", "surrogateescape"))
    return lambda text: search(text.decode("utf-8", "surrogateescape"))


def _is_image(given: tuple[bytes, ...]) -> Check:
    """Returns what says whether the image is meant: in a chroot also by the path that is seen there."""
    is_meant, was_asked = globs.matching(given), globs.matching(globs.as_asked(given))

    def check(event: ExecEvent, _parent: ExecEvent | None) -> bool:
        exe, root, filename = event.launch.exe, event.launch.root, event.launch.filename
        if exe is not None:
            if is_meant(exe):
                return True
            if root is not None and exe.startswith(root + b"/") and is_meant(exe[len(root) :]):
                return True
        return event.kind is Kind.FAILED and filename is not None and was_asked(filename)

    return check


def _is_user(node: IsUser) -> Check:
    if node.field == "user":
        who: Callable[[ExecEvent], tuple[str | None, int | None]] = attrgetter("launch.user", "launch.uid")
    else:
        who = attrgetter("origin.login_user", "origin.auid")

    def check(event: ExecEvent, _parent: ExecEvent | None) -> bool:
        name, uid = who(event)
        if node.name is None:
            return uid is not None and uid == node.uid
        if name is not None:
            return name == node.name
        return node.uid is not None and uid == node.uid

    return check
