"""Random histories and filters, and a slow model in plain Python of what a filter finds."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import strategies as st

from execaudit.enums import Kind
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter, UserMatch
from execaudit.store import inserts, interning
from execaudit.store.writer import Store
from tests.events import Batch, events, lineages, with_ends
from tests.histories import begin_run
from tests.query.expression_model import descends, expressions, holds

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    from execaudit.event import ExecEvent

HOSTS = ("web1", "db1")
_WORDS = (b"", b"a", b"b", b"ab", b"a b", b" ", b"a ", b"\xff", b"-l", b"\n")
_NAMES = (
    b"", b"a", b"b", b"ab", b"a/b", b"A", b"\xff", b"\xfe", b"\xc0\x80", "é".encode(), "\ufffd".encode(),
    b"[", b"]", b"a]", b"!", b"^", b"-", b"*", b"a?", b"\\",
)  # fmt: skip
_PATTERN = (
    b"*", b"?", b"[a-z]", b"[!a]", b"[^a]", b"[]a]", b"[!]]", b"[[]", b"[", b"]", b"[z-a]", b"[!z-a]", b"[a-]",
    b"[a^]", b"[[^]", "[é]".encode(), b"[\xff]", b"[!\xff]", b"a", b"b", b"/", b"-", "é".encode(), b"\xff", b"\\",
)  # fmt: skip
_REGEXES = (
    b"^a", b"b$", b"a.b", rb"a\sb", b"^$", b"\xff", b"a|b$", b"^a b", b"(?i)A", b"(?m)^$", b" $", rb"\0", b".", b"",
)  # fmt: skip
_ID, _OTHER_ID = "ab" * 32, "abac" * 16
_CGROUPS: dict[bytes, str | None] = {
    b"/": None,
    b"/user.slice": None,
    b"/\xff": None,
    f"/system.slice/docker-{_ID}.scope".encode(): _ID,
    f"/docker/{_OTHER_ID}/init.scope".encode(): _OTHER_ID,
    b"/machine.slice/systemd-nspawn@abab.service/payload": "abab",
    b"/machine.slice/machine-a.scope": "a",
}
_few = st.integers(0, 3)


def similar_events(host: str) -> st.SearchStrategy[ExecEvent]:
    """Returns a strategy for execs with few different values."""
    return events(
        host=host,
        boot_clock=st.just(0),
        offsets=st.sampled_from((0, 5, 10)),
        tasks=_few,
        numbers=_few,
        texts=st.sampled_from(_NAMES),
        arguments=st.sampled_from(_WORDS),
        users=st.sampled_from((None, "a", "b", "\\xff")),
        cgroups=st.sampled_from(sorted(_CGROUPS)),
    )


histories = lineages({host: similar_events(host) for host in HOSTS})


def some(values: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    """Returns a strategy for the one or more values of an option."""
    return st.lists(values, min_size=1, max_size=3).map(tuple)


globs = st.lists(st.sampled_from(_PATTERN), max_size=4).map(b"".join)
moments = st.integers(0, 31) | st.just(2**63 - 1)
texts = st.lists(st.sampled_from((b"a", b"b", b" ", b"-l", b"\xff", b"\n")), max_size=4).map(b"".join)
FIELDS: dict[str, st.SearchStrategy[object]] = {
    "since_ns": moments,
    "until_ns": moments,
    "pids": some(_few),
    "ppids": some(_few),
    "comms": some(globs),
    "exes": some(globs),
    "filenames": some(globs),
    "cwds": some(globs),
    "args": some(texts),
    "args_regex": some(st.sampled_from(_REGEXES)),
    "users": some(
        st.builds(UserMatch, st.none(), _few)
        | st.builds(UserMatch, st.sampled_from(("a", "b", "\\xff", "c")), st.none() | _few)
    ),
    "login_users": some(
        st.builds(UserMatch, st.none(), _few)
        | st.builds(UserMatch, st.sampled_from(("a", "b", "\\xff", "c")), st.none() | _few)
    ),
    "ttys": some(st.sampled_from(_NAMES)),
    "cgroups": some(st.sampled_from((b"*", b"/", b"/*.scope", b"/?", b"/[!a-z]", b"*\xff", b"nowhere"))),
    "containers": some(st.sampled_from((_ID, _OTHER_ID, "abab", "aba", "abac", "a", "abab" * 17, ""))),
    "hosts": some(st.sampled_from((*HOSTS, "nowhere", "*", "w*", "?b1", "[dx]b1", "[[]web1", "web[*]", ""))),
    "under": some(st.integers(1, 9)),
    "failed": st.just(True),  # noqa: FBT003  # its value
    "truncated": st.just(True),  # noqa: FBT003
    "euids": some(_few),
    "interpreters": some(globs),
    "kinds": some(st.sampled_from(Kind)),
    "exit_codes": some(st.sampled_from((0, 1, 255))),
    "errnos": some(st.integers(1, 4)),
    "ok": st.just(True),  # noqa: FBT003
    "deleted": st.just(True),  # noqa: FBT003
    "privileged": st.just(True),  # noqa: FBT003
    "new": st.integers(1, 31),
    "where": expressions,
    "limit": st.integers(0, 6) | st.sampled_from((2**63, 2**70)),
    "reverse": st.just(True),  # noqa: FBT003
}
# What has an opposite: `not_comms` and so on.
NEGATED = ("comms", "exes", "cwds", "args", "users", "cgroups", "containers", "under")
FIELDS |= {f"not_{name}": FIELDS[name] for name in NEGATED}
alone = st.sampled_from(sorted(FIELDS)).flatmap(lambda name: FIELDS[name].map(lambda value: {name: value}))


def filter_of(chosen: list[dict[str, Any]]) -> Filter:
    """Returns a filter with these fields; if a field comes twice, the last one counts."""
    return Filter(**{name: value for each in chosen for name, value in each.items()})


wanted_filters = st.lists(alone, max_size=3).map(filter_of)


def reference(history: list[ExecEvent], wanted: Filter) -> list[ExecEvent]:
    """Returns the same execs as query.find, computed in another way."""
    found = [event for event in history if _passes(event, wanted, history)]
    if wanted.limit is not None:
        found = found[max(0, len(found) - wanted.limit) :]
    return found[::-1] if wanted.reverse else found


def _passes(event: ExecEvent, wanted: Filter, history: list[ExecEvent]) -> bool:
    """Says whether an exec passes the filter; what is negated, when it would not pass that alone."""
    opposites = (Filter(**{name: given}) for name in NEGATED if (given := getattr(wanted, f"not_{name}")))
    return (
        is_wanted(event, wanted)
        and (wanted.new is None or is_new(event, wanted.new, history))
        and (not wanted.under or descends(event, wanted.under, history))
        and (wanted.where is None or holds(wanted.where, event, history))
        and not any(_passes(event, opposite, history) for opposite in opposites)
    )


def is_wanted(event: ExecEvent, wanted: Filter) -> bool:
    """Says whether an exec passes the filter, apart from its limit."""
    line = searched_text(event)
    return all(
        (
            wanted.since_ns is None or wanted.since_ns <= event.time_ns,
            wanted.until_ns is None or event.time_ns < wanted.until_ns,
            not wanted.pids or event.pid in wanted.pids,
            not wanted.ppids or event.ppid in wanted.ppids,
            not wanted.comms or any(glob_matches(glob, event.launch.comm) for glob in wanted.comms),
            not wanted.exes or any(is_image(glob, event) for glob in wanted.exes),
            not wanted.filenames
            or any(glob_matches(glob, event.launch.filename) for glob in wanted.filenames),
            not wanted.cwds or any(glob_matches(glob, event.launch.cwd) for glob in wanted.cwds),
            not wanted.args or any(text in line for text in wanted.args),
            not wanted.args_regex or any(is_found(text, line) for text in wanted.args_regex),
            not wanted.users
            or any(is_user(event.launch.user, event.launch.uid, match) for match in wanted.users),
            not wanted.login_users
            or any(
                is_user(event.origin.login_user, event.origin.auid, match) for match in wanted.login_users
            ),
            not wanted.ttys or event.origin.tty in wanted.ttys,
            not wanted.cgroups or any(glob_matches(glob, event.origin.cgroup) for glob in wanted.cgroups),
            not wanted.containers or any(is_in(event.origin.cgroup, text) for text in wanted.containers),
            not wanted.hosts
            or any(glob_matches(glob.encode(), event.host.encode()) for glob in wanted.hosts),
            not wanted.failed or event.kind is Kind.FAILED,
            not wanted.euids or event.launch.euid in wanted.euids,
            not wanted.interpreters
            or any(glob_matches(glob, event.launch.interpreter) for glob in wanted.interpreters),
            not wanted.kinds or event.kind in wanted.kinds,
            not wanted.exit_codes or (event.end is not None and event.end.code in wanted.exit_codes),
            not wanted.errnos or event.errno in wanted.errnos,
            not wanted.ok or (event.end is not None and event.end.code in {None, 0} and not event.end.signal),
            not wanted.deleted or is_deleted(event),
            not wanted.privileged or bool(event.launch.privileged),
            not wanted.truncated or event.truncated is not None,
        )
    )


def is_new(event: ExecEvent, since_ns: int, history: list[ExecEvent]) -> bool:
    """Says whether a program started that no exec of the history ran before."""
    exe = event.launch.exe
    before = (other.launch.exe for other in history if other.time_ns < since_ns)
    return event.kind is not Kind.FAILED and exe is not None and exe not in before


def is_deleted(event: ExecEvent) -> bool:
    """Says whether a program that started had a file without a name."""
    exe = event.launch.exe or b""
    return event.kind is not Kind.FAILED and (event.launch.nlink == 0 or exe.endswith(b" (deleted)"))


def is_image(glob: bytes, event: ExecEvent) -> bool:
    """Says whether a glob matches the image's path, its path inside a chroot, or a failed exec's filename."""
    paths = [event.launch.exe]
    if (
        event.launch.root is not None
        and event.launch.exe is not None
        and event.launch.exe.startswith(event.launch.root + b"/")
    ):
        paths.append(event.launch.exe[len(event.launch.root) :])
    if event.kind is Kind.FAILED:
        paths.append(event.launch.filename)
        if glob.startswith(b"*/") and glob_matches(glob[2:], event.launch.filename):
            return True
    return any(glob_matches(glob, path) for path in paths)


def is_found(expression: bytes, line: bytes) -> bool:
    """Says whether Python's own `re` finds the expression in the decoded text."""
    text, searched = (raw.decode("utf-8", "surrogateescape") for raw in (expression, line))
    return re.search(text, searched, re.DOTALL) is not None


def is_user(name: str | None, uid: int | None, match: UserMatch) -> bool:
    """Says whether an exec belongs to the user."""
    if match.name is None:
        return uid == match.uid
    if name is None:
        return match.uid is not None and uid == match.uid
    return name == match.name


def is_in(cgroup: bytes | None, text: str) -> bool:
    """Says whether a cgroup is in the container that a text names."""
    container = None if cgroup is None else _CGROUPS[cgroup]
    if container in {_ID, _OTHER_ID}:
        return len(text) >= 4 and str(container)[: len(text)] == text
    return container == text


def searched_text(event: ExecEvent) -> bytes:
    """Returns the text in which filters search."""
    text = bytearray(event.argv)
    if text.endswith(b"\0") and len(text) not in {hole.at for hole in event.holes}:
        del text[-1]
    text = bytearray(text.replace(b"\0", b" "))
    for hole in reversed(event.holes):
        text[hole.at : hole.at] = b"\0"
    return bytes(text)


def glob_matches(glob: bytes, value: bytes | None) -> bool:
    """Says whether a glob matches as in a shell; a byte that is not UTF-8 is one character."""
    return value is not None and _matches(
        glob.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape")
    )


def _matches(glob: str, text: str) -> bool:
    if not glob:
        return not text
    if glob[0] == "*":
        return any(_matches(glob[1:], text[start:]) for start in range(len(text) + 1))
    inverted = glob[1:2] in {"!", "^"}
    first = 2 if inverted else 1
    end = glob.find("]", first + 1) if glob[0] == "[" else -1
    if end == -1:
        return bool(text) and glob[0] in {"?", text[0]} and _matches(glob[1:], text[1:])
    return (
        bool(text) and _in_set(glob[first:end], text[0]) != inverted and _matches(glob[end + 1 :], text[1:])
    )


def _in_set(members: str, char: str) -> bool:
    ranges = re.findall(r"(.)-(.)|(.)", members, re.DOTALL)
    return any(char == one if one else low <= char <= high for low, high, one in ranges)


class Stored(NamedTuple):
    """A history and its events, in the order of recording."""

    connection: sqlite3.Connection
    events: list[ExecEvent]


@contextlib.contextmanager
def stored(folder: Path, batches: list[Batch]) -> Iterator[Stored]:
    """Stores batches, each in a run of its own, with a store that remembers little. Opens the history."""
    path = folder / "history.db"
    with pytest.MonkeyPatch.context() as patched, Store(path) as opened:
        patched.setattr(interning, "_MEGABYTE", 1000)
        patched.setattr(inserts, "BATCH_EVENTS", 4)
        for batch in batches:
            begin_run(opened, batch.host)
            opened.append(batch.events, (), batch.exits)
    with open_history(path) as connection:
        yield Stored(connection, with_ends(batches))


def in_batch(*events: ExecEvent) -> list[Batch]:
    """Returns one batch with these events."""
    return [Batch("web1", list(events), [])]


def found(connection: sqlite3.Connection, wanted: Filter, after: int | None = None) -> list[ExecEvent]:
    """Returns the execs that are wanted."""
    return [each.event for each in find.find(connection, wanted, after=after)]
