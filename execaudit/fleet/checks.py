"""Check in Python what an engine could not decide of an exec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from execaudit.enums import Kind
from execaudit.query import matcher
from execaudit.query.expression import Agrees, And, LineMatches, Matches, New, Not, Or, Passes, Under, every

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from execaudit.event import ExecEvent
    from execaudit.query.expression import Expression
    from execaudit.query.rows import Found

    Check = Callable[[Found, ExecEvent | None], bool]


class Facts(Protocol):
    """What is known of the whole history."""

    def descendants_of(self, roots: tuple[int, ...]) -> Container[int]:
        """Returns the numbers of all descendants of execs, without these."""
        ...

    def new_since(self, since_ns: int) -> Container[bytes]:
        """Returns the paths of the programs that are nowhere in the history before a time."""
        ...


def check_of(node: Expression, facts: Facts) -> Check:
    """Returns the function that says whether an expression is true of an exec, whose parent it is given.

    Raises FilterError. The function raises SlowExpressionError.
    """
    if isinstance(node, (And, Or)):
        checks = [check_of(part, facts) for part in node.parts]
        if isinstance(node, And):
            return lambda found, parent: all(check(found, parent) for check in checks)
        return lambda found, parent: any(check(found, parent) for check in checks)
    if isinstance(node, Not):
        inner = check_of(node.part, facts)
        return lambda found, parent: not inner(found, parent)
    if isinstance(node, Under):
        below = facts.descendants_of(node.roots)
        return lambda found, _parent: found.number in below
    if isinstance(node, New):
        new = facts.new_since(node.since_ns)
        # Of a failed exec, exe is the caller's.
        return lambda found, _parent: found.event.kind is not Kind.FAILED and found.event.launch.exe in new
    return _of_leaf(node)


def _of_leaf(node: Expression) -> Check:
    passes = matcher.compiled(node)

    def check(found: Found, parent: ExecEvent | None) -> bool:
        try:
            return passes(found.event, parent)
        except TimeoutError as exc:
            from execaudit.query import timelimit  # noqa: PLC0415  # it is loaded already

            regex, option, what = _named(node)
            raise timelimit.too_slow(regex, found.event.id, option=option, what=what) from exc

    return check


def _named(node: Expression) -> tuple[str, str, str]:
    """Returns the regular expression of a node, the option that has it, and what it is looked for in."""
    if isinstance(node, LineMatches):
        return node.regex.decode("utf-8", "surrogateescape"), "--args-regex", "the command line"
    if isinstance(node, Matches):
        return node.regex.decode("utf-8", "surrogateescape"), "--where: matches", "a text"
    return repr(node.test if isinstance(node, Passes) else node), "re", "a text"


def is_about_parents(node: Expression) -> bool:
    """Says whether an expression speaks of the exec that led to one."""
    return any(
        (isinstance(each, Passes) and each.text.of_parent)
        or (isinstance(each, Agrees) and (each.text.of_parent or each.other.of_parent))
        for each in every(node)
    )
