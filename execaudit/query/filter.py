"""Which execs are wanted: the options, and the expression that they come to. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit.enums import Kind
from execaudit.query import globs
from execaudit.query.expression import (
    And,
    Globs,
    HasText,
    Image,
    InContainer,
    InLine,
    IsNull,
    IsUser,
    LineMatches,
    New,
    Not,
    OneOf,
    Or,
    Part,
    Under,
    Within,
    any_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from execaudit.event import Nanoseconds
    from execaudit.query.expression import Expression

    # Makes an expression of an option's value.
    _Meaning = Callable[[Any], Expression]


class UserMatch(NamedTuple):
    """A user as a filter names one."""

    name: str | None
    """Matches the name that was recorded; None when a uid was asked for."""
    uid: int | None
    """Matches the uid: of all execs if it was asked for, else of those without a name."""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which execs. Fields combine with AND, the values of one with OR; empty or None: all."""

    since_ns: Nanoseconds | None = None
    """Wall clock, inclusive."""
    until_ns: Nanoseconds | None = None
    """Wall clock, exclusive."""
    pids: tuple[int, ...] = ()
    ppids: tuple[int, ...] = ()
    comms: tuple[bytes, ...] = ()
    """Globs."""
    exes: tuple[bytes, ...] = ()
    """Globs for the image; of a failed exec, for the caller's or for what was asked for."""
    filenames: tuple[bytes, ...] = ()
    """Globs for the path that was asked for."""
    cwds: tuple[bytes, ...] = ()
    """Globs."""
    args: tuple[bytes, ...] = ()
    """Substrings of the command line, its arguments joined by single spaces; none spans a hole."""
    args_regex: tuple[bytes, ...] = ()
    r"""Python regular expressions, searched in the same line as text; a hole is a `\0` there.

    A byte that is not UTF-8 is one character of U+DC80 to U+DCFF, as in Python's `surrogateescape`.
    """
    users: tuple[UserMatch, ...] = ()
    login_users: tuple[UserMatch, ...] = ()
    ttys: tuple[bytes, ...] = ()
    """Below /dev: `pts/3`."""
    cgroups: tuple[bytes, ...] = ()
    """Globs."""
    containers: tuple[str, ...] = ()
    """Ids, the first four digits of one or more, or names of machines."""
    hosts: tuple[str, ...] = ()
    """Globs; one without wildcards is a name, see globs.literal()."""
    under: tuple[int, ...] = ()
    """Row numbers of execs whose descendants are wanted; they themselves are not."""
    euids: tuple[int, ...] = ()
    interpreters: tuple[bytes, ...] = ()
    """Globs for the program that a script's first line names."""
    kinds: tuple[Kind, ...] = ()
    exit_codes: tuple[int, ...] = ()
    errnos: tuple[int, ...] = ()
    not_comms: tuple[bytes, ...] = ()
    """As `comms` and so on, but none of them."""
    not_exes: tuple[bytes, ...] = ()
    not_cwds: tuple[bytes, ...] = ()
    not_args: tuple[bytes, ...] = ()
    not_users: tuple[UserMatch, ...] = ()
    not_cgroups: tuple[bytes, ...] = ()
    not_containers: tuple[str, ...] = ()
    not_under: tuple[int, ...] = ()
    """They themselves are wanted."""
    failed: bool = False
    """Only failed execs."""
    ok: bool = False
    """Only programs that started, and if they ended, with exit status 0."""
    deleted: bool = False
    """Only programs whose file had no name when they ran."""
    privileged: bool = False
    """Only programs whose file gave them privileges."""
    new: Nanoseconds | None = None
    """Only programs that the history does not have before this time."""
    truncated: bool = False
    """Only execs whose argv is not whole."""
    where: Expression | None = None
    """More that is said of the execs."""
    limit: int | None = None
    """The newest so many."""
    reverse: bool = False
    """Newest first; otherwise in the order of recording."""

    def expression(self) -> And:
        """Returns what is said of each exec; the limit and the order say nothing of one."""
        said: list[Expression] = []
        if self.since_ns is not None or self.until_ns is not None:
            said.append(Within("time", self.since_ns, self.until_ns))
        # An option that was not given is empty, None or False.
        said += [make(value) for name, make in _MEANING.items() if (value := getattr(self, name))]
        return And(tuple(said))


def _of_hosts(hosts: tuple[str, ...]) -> Expression:
    wild = tuple(filter(globs.is_wild, hosts))
    names = tuple(host for host in hosts if host not in wild)
    said: list[Expression] = [OneOf("host", _encoded(names))] if names else []
    if wild:
        said.append(Globs("host", _encoded(wild)))
    return any_of(tuple(said))


def _encoded(names: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(name.encode("utf-8", "surrogateescape") for name in names)


def _one_of(field: str) -> _Meaning:
    return lambda values: OneOf(field, values)


def _any_glob(field: str) -> _Meaning:
    return lambda given: Globs(field, given)


def _any(make: _Meaning) -> _Meaning:
    return lambda values: any_of(tuple(map(make, values)))


def _none_of(make: _Meaning) -> _Meaning:
    return lambda values: Not(make(values))


_FAILED = OneOf("kind", (Kind.FAILED,))
_OK = And((Not(_FAILED), Not(Within("exit_code", 1, None)), IsNull("exit_signal")))
# A file whose name was deleted may have another one left. Of a failed exec, exe is the caller's.
_DELETED = And((Not(_FAILED), Or((OneOf("nlink", (0,)), HasText("exe", Part.END, b" (deleted)")))))
_MEANING: dict[str, _Meaning] = {
    "pids": _one_of("pid"),
    "ppids": _one_of("ppid"),
    "comms": _any_glob("comm"),
    "exes": Image,
    "filenames": _any_glob("filename"),
    "cwds": _any_glob("cwd"),
    "args": _any(InLine),
    "args_regex": _any(LineMatches),
    "users": _any(lambda match: IsUser("user", *match)),
    "login_users": _any(lambda match: IsUser("login_user", *match)),
    "ttys": _one_of("tty"),
    "cgroups": _any_glob("cgroup"),
    "containers": _any(InContainer),
    "hosts": _of_hosts,
    "under": Under,
    "euids": _one_of("euid"),
    "interpreters": _any_glob("interpreter"),
    "kinds": _one_of("kind"),
    "exit_codes": _one_of("exit_code"),
    "errnos": _one_of("errno"),
    "failed": lambda _: _FAILED,
    "ok": lambda _: _OK,
    "deleted": lambda _: _DELETED,
    "privileged": lambda _: Not(IsNull("privileged")),
    "new": New,
    "truncated": lambda _: Not(IsNull("truncated")),
    "where": lambda expression: expression,
}
"""What each option says of an exec."""
_MEANING |= {
    f"not_{name}": _none_of(_MEANING[name])
    for name in ("comms", "exes", "cwds", "args", "users", "cgroups", "containers", "under")
}
