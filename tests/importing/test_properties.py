"""What another program writes as audit logs is read back, and no byte of a log does harm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import auditlog
from execaudit.enums import Kind, Truncated
from execaudit.event import ExecEvent, Nanoseconds
from execaudit.importing import items
from execaudit.importing.audit_log import AuditReader
from execaudit.importing.importer import Importer
from execaudit.importing.items import Item, Reject, Taken, made_boot
from execaudit.importing.lineage import Lineage
from execaudit.importing.rejects import Rejects
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.store.writer import Store
from tests.events import events, texts
from tests.examples import examples
from tests.histories import START, changed
from tests.importing.audit_logs import machines, session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECOND = 10**9


def read(lines: list[bytes]) -> list[Item]:
    """Returns what a reader finds."""
    reader = AuditReader("web1")
    found = [item for number, line in enumerate(lines, 1) for item in reader.feed(number, line)]
    return found + reader.finish()


def execs(found: list[Item]) -> list[ExecEvent]:
    """Returns the execs of what a reader found."""
    return [item.event for item in found if isinstance(item, Taken) and item.event is not None]


logged = st.builds(
    lambda event, at, pid: event._replace(
        kind=Kind.FAILED if event.kind is Kind.FAILED else Kind.EXEC,
        time_ns=Nanoseconds(START * SECOND + at * 1_000_000),
        pid=pid,
        # The kernel writes the name as it is, because its own names have neither quotes nor blanks.
        origin=event.origin._replace(tty=None if event.origin.tty is None else b"pts/0"),
    ),
    events(arguments=texts.filter(len)),
    st.integers(0, 10**6),
    st.integers(1, items.LAST_TASK),
)
"""Execs whose arguments are all there, as the kernel logs them."""


@given(st.lists(logged.filter(lambda event: event.truncated is None), max_size=4), st.randoms())
def test_a_log_is_read_back(made: list[ExecEvent], random: object) -> None:
    """Whatever the order of the records of events that are open at once, each argument is there."""
    lines = [
        line.rstrip(b"\n") for serial, event in enumerate(made) for line in auditlog.records(event, serial)
    ]
    random.shuffle(lines)  # type: ignore[attr-defined]  # hypothesis's Random
    found = {event.time_ns % 1_000_000: event for event in execs(read(lines))}

    assert set(range(len(made))) == set(found)
    for serial, event in enumerate(made):
        has = found[serial]
        assert (event.kind, event.pid, event.time_ns + serial) == (has.kind, has.pid, has.time_ns)
        assert event.errno == has.errno or event.kind is Kind.EXEC
        assert (event.launch.comm or None, event.launch.cwd or None) == (has.launch.comm, has.launch.cwd)
        assert (event.launch.exe or None) == has.launch.exe
        if event.kind is Kind.EXEC and event.argv:
            assert (event.argv, event.argc, ()) == (has.argv, has.argc, has.holes)


def test_a_last_piece_that_may_be_missing_is_said_to_be() -> None:
    """Only the record with the length says how many there are."""
    at = b"msg=audit(1700000000.000:7)"
    (event,) = execs(
        read(
            [
                b"type=SYSCALL %s: arch=c000003e syscall=59 success=yes exit=0 pid=9" % at,
                b"type=EXECVE %s: argc=1" % at,
                b"type=EXECVE %s: a0[0]=0101" % at,
            ]
        )
    )

    assert (b"\1\1\0", Truncated.LOST) == (event.argv, event.truncated)


@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=4), st.integers(1, 400), st.data())
def test_split_arguments_are_joined(arguments: list[bytes], size: int, data: st.DataObject) -> None:
    """In pieces of any size, with records that are lost: then it is said where something is missing."""
    arguments = [argument.replace(b"\0", b"") for argument in arguments]
    at = b"msg=audit(1700000000.000:7)"
    records = [b"type=EXECVE %s: argc=%d" % (at, len(arguments))]
    for number, argument in enumerate(arguments):
        text = argument.hex().upper().encode()
        records.append(b"type=EXECVE %s: a%d_len=%d" % (at, number, len(text)))
        pieces = [text[start : start + 2 * size] for start in range(0, len(text), 2 * size)] or [b'""']
        records += [
            b"type=EXECVE %s: a%d[%d]=%s" % (at, number, piece, value) for piece, value in enumerate(pieces)
        ]
    kept = data.draw(st.lists(st.booleans(), min_size=len(records), max_size=len(records)))
    call = b"type=SYSCALL %s: arch=c000003e syscall=59 success=yes exit=0 pid=9" % at
    (whole,) = execs(read([call, *records]))
    left = [record for record, is_kept in zip(records, kept, strict=True) if is_kept]
    (event,) = execs(read([call, *left]))

    assert (b"".join(argument + b"\0" for argument in arguments), ()) == (whole.argv, whole.holes)
    assert event.truncated is (None if event.argv == whole.argv and not event.holes else Truncated.LOST)
    if not all(kept[:1]) or any(b"[" in record for record in set(records) - set(left)):
        assert event.holes


_words = st.sampled_from(
    [line.encode() for line in (session() + machines()).split("\n")]
    + [b"type=EOE msg=audit(1791217198.000:900): ", b"type=EXECVE msg=audit(1791217198.000:900): argc=99999999999999999999",
       b"type=EXECVE msg=audit(1791217198.000:900): argc=4294967295 a4294967295=41 a1[9999999999]=41 a9999999999_len=9"]
)  # fmt: skip


@st.composite
def hostile(draw: st.DrawFn) -> bytes:
    """Draws a line of a log in which something was changed."""
    line = bytearray(draw(_words))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(line)))
        line[at : at + draw(st.integers(0, 9))] = draw(
            st.binary(max_size=4)
            | st.sampled_from([b"=", b'"', b" a0=", b"9" * 25, b"-1", b"\x1d", b"[", b")"])
        )
    return bytes(line)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Importer, Rejects]]:
    """An import into a history."""
    path, rejects = tmp_path_factory.mktemp("store") / "history.db", Rejects(None)
    with Store(path) as store:
        yield path, Importer(store, rejects), rejects


@examples(150)
@given(lines=st.lists(hostile() | st.binary(max_size=40), max_size=30))
def test_no_line_does_harm(opened: tuple[Path, Importer, Rejects], lines: list[bytes]) -> None:
    """Each is taken, or left out with a reason; what is taken is stored, and can be read."""
    path, importer, rejects = opened
    before = importer.imported + rejects.counts.total()
    found = read(lines)
    importer.take("x", found)
    importer.flush()
    with open_history(path, follow=True) as connection:
        ids = [found.event.id for found in find.find(connection, Filter())]

    assert importer.imported == len(ids) == len(set(ids))
    assert importer.imported + rejects.counts.total() - before == sum(
        item.number if isinstance(item, items.Other) else 1 for item in found
    )
    for item in found:
        assert not isinstance(item, Reject) or 1 <= item.line <= len(lines)


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_made_ids_are_no_recorded_ones(one: int, other: int) -> None:
    """Their boot clocks are of 18 years and more, fit into an id, and tell moments apart."""
    boots = [made_boot("audit", "web1", at) for at in (one, other)]
    clocks = [boot.boot_ns(at) for boot, at in zip(boots, (one, other), strict=True)]

    assert all(2**59 <= clock < 2**60 for clock in clocks)
    assert (one == other) == ((boots[0], clocks[0]) == (boots[1], clocks[1]))
    assert made_boot("audit", "web2", one).boot_id != boots[0].boot_id


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 5), st.integers(0, 3)), max_size=20))
def test_lineage_has_no_circle(moves: list[tuple[int, int, int]]) -> None:
    """Whatever the pids and times, what led to an exec was earlier, and of the pid or the parent's."""
    lineage = Lineage(lambda *_: None)
    at = 10**6
    event = execs(read([line.encode() for line in session().split("\n")]))[0]
    for pid, ppid, step in moves:
        at += step - 1
        boot_ns = Nanoseconds(2**59 + at * SECOND)
        placed = lineage.placed(changed(event, pid=pid, ppid=ppid, boot_ns=boot_ns))
        if placed.parent is not None:
            assert placed.parent.boot_ns < boot_ns
            assert placed.parent.task == (pid if placed.replaces else placed.parent.task)
            assert placed.parent.task in (pid, ppid)
