"""The flat record: arguments taken apart, holes shown, nothing invented."""

from __future__ import annotations

import json
from base64 import b64decode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from execaudit.enums import Ended, Gained, GapReason, Kind, Truncated, errno_name
from execaudit.event import End, Gap, Hole, Nanoseconds
from execaudit.exec_id import ExecKey, encode_id
from execaudit.output.record import (
    FIELDS,
    Arguments,
    Missing,
    command_line,
    gap_record,
    split_argv,
    to_record,
)
from tests.histories import changed, exec_of

EVENT = exec_of(
    kind=Kind.EXEC,
    host="web-1",
    boot_id="8f6a1c2e-1111-4222-8333-444455556666",
    time_ns=Nanoseconds(1_795_356_307_123_456_789),
    boot_ns=Nanoseconds(4_200_000_000_001),
    pid=4242,
    tid=4243,
    ppid=4200,
    uid=1000,
    euid=0,
    gid=100,
    egid=101,
    user="alice",
    comm=b"ls",
    filename=b"./ls",
    exe=b"/usr/bin/ls",
    cwd=b"/home/al ice",
    argv=b"ls\0-l\0my file\0",
    argc=3,
    argv_bytes=14,
    holes=(),
    truncated=None,
    errno=None,
    parent=ExecKey(0x8F6A1C2, 4_100_000_000_000, 4200),
    parent_comm=b"bash",
    auid=1000,
    session=3,
    login_user="alice",
    tty=b"pts/3",
    cgroup=f"/system.slice/docker-{'ab' * 32}.scope".encode(),
    interpreter=b"/bin/sh",
    inode=1_234_567,
    device=8 << 20 | 1,
    nlink=1,
    privileged=Gained.SETUID | Gained.CAPABILITIES,
    root=b"/srv/jail",
    mnt_ns=4_026_532_301,
    traced=4100,
)
ARGS = st.lists(st.binary().map(lambda raw: raw.replace(b"\0", b"")))


def test_record_is_as_documented() -> None:
    """An ordinary exec's record has the documented keys, order and values."""
    expected = {
        "id": EVENT.id,
        "parent_id": encode_id(ExecKey(0x8F6A1C2, 4_100_000_000_000, 4200)),
        "time": "2026-11-22T14:05:07.123456789Z",
        "host": "web-1",
        "boot_id": "8f6a1c2e-1111-4222-8333-444455556666",
        "kind": "exec",
        "pid": 4242,
        "tid": 4243,
        "ppid": 4200,
        "uid": 1000,
        "euid": 0,
        "gid": 100,
        "egid": 101,
        "auid": 1000,
        "session": 3,
        "user": "alice",
        "login_user": "alice",
        "tty": "pts/3",
        "comm": "ls",
        "parent_comm": "bash",
        "filename": "./ls",
        "interpreter": "/bin/sh",
        "exe": "/usr/bin/ls",
        "inode": "1234567",
        "device": "8:1",
        "nlink": 1,
        "privileged": "setuid,capabilities",
        "traced": 4100,
        "cwd": "/home/al ice",
        "root": "/srv/jail",
        "mnt_ns": 4_026_532_301,
        "argv": ["ls", "-l", "my file"],
        "argc": 3,
        "argv_bytes": 14,
        "command": "ls -l 'my file'",
        "truncated": None,
        "argv_missing": None,
        "redacted": None,
        "errno": None,
        "cgroup": f"/system.slice/docker-{'ab' * 32}.scope",
        "container_id": "ab" * 32,
        "ended": None,
        "exit_code": None,
        "exit_signal": None,
        "duration_ns": None,
        "replaced_by": None,
    }

    assert list(expected.items()) == list(to_record(EVENT).items())


NEXT = ExecKey(0x8F6A1C2, 4_300_000_000_000, 4242)


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (End(Ended.EXITED, code=0, duration_ns=5), ["exited", 0, None, 5, None]),
        (End(Ended.SIGNALED, signal=9, duration_ns=5), ["signaled", None, 9, 5, None]),
        (End(Ended.REPLACED, duration_ns=5, replaced_by=NEXT), ["replaced", None, None, 5, encode_id(NEXT)]),
        (End(Ended.RUNNING), ["running", None, None, None, None]),
        (End(Ended.UNKNOWN), ["unknown", None, None, None, None]),
        (None, [None] * 5),
    ],
)
def test_how_it_ended(end: End | None, expected: list[object]) -> None:
    """A record says how its program ended, and nothing that this way of ending does not have."""
    record = to_record(EVENT._replace(end=end))
    names = ("ended", "exit_code", "exit_signal", "duration_ns", "replaced_by")

    assert expected == [record[name] for name in names]


@pytest.mark.parametrize(
    ("gained", "expected"),
    [
        (None, None),
        (Gained(0), None),
        (Gained.SETUID, "setuid"),
        (Gained.SETGID | Gained.SETUID, "setuid,setgid"),
        (Gained(7), "setuid,setgid,capabilities"),
    ],
)
def test_what_the_file_gave(gained: Gained | None, expected: str | None) -> None:
    """Reasons in one order; nothing gained is null, as nothing known is."""
    assert expected == to_record(changed(EVENT, privileged=gained))["privileged"]


@pytest.mark.parametrize(
    ("number", "text"), [(8 << 20 | 1, "8:1"), (0, "0:0"), (4095 << 20 | 0xFFFFF, "4095:1048575")]
)
def test_a_device_is_two_numbers(number: int, text: str) -> None:
    """Major and minor, as mountinfo has them."""
    assert text == to_record(changed(EVENT, device=number))["device"]


def test_record_of_a_failed_and_cut_exec() -> None:
    """A failed exec with holes says its error, what is missing and where."""
    record = to_record(
        EVENT._replace(
            kind=Kind.FAILED,
            argv=b"sh\0head" + b"tail\0",
            holes=(Hole(7, 4_054_321), Hole(12, None)),
            truncated=Truncated.LIMIT,
            argv_bytes=None,
            errno=2,
        )
    )

    assert "failed" == record["kind"]
    assert ["sh", "head", "tail"] == record["argv"]
    assert [[2, 4_054_321], [3, None]] == record["argv_missing"]
    assert "limit" == record["truncated"]
    assert "ENOENT" == record["errno"]
    command = "sh head [...4054321 bytes missing...] tail [...unknown number of bytes missing...]"
    assert command == record["command"]


def test_unknown_is_null() -> None:
    """What nobody knows is null, never an empty text or 0."""
    names = (
        "ppid", "uid", "euid", "gid", "user", "comm", "filename", "exe", "cwd", "argc", "argv_bytes",
        "parent_comm", "auid", "session", "login_user", "tty", "cgroup", "interpreter", "inode", "device",
        "nlink", "privileged", "root", "mnt_ns", "traced",
    )  # fmt: skip
    record = to_record(changed(EVENT, parent=None, **dict.fromkeys(names)))

    assert dict.fromkeys(names) == {name: record[name] for name in names}
    assert (None, None) == (record["parent_id"], record["container_id"])


def test_fields_are_the_keys_in_order() -> None:
    """FIELDS names every key, and argv_base64, which need not be there, last."""
    assert FIELDS == tuple(to_record(EVENT._replace(argv=b"\xff\0")))
    assert FIELDS[:-1] == tuple(to_record(EVENT))


@given(ARGS)
@example([])
@example([b""])
@example([b"", b"", b"a", b""])
@example([b"\\xff"])
@example([b"\xff"])
def test_json_gives_the_exact_argv_back(args: list[bytes]) -> None:
    """argv, or argv_base64 where there is one, is the command line byte for byte."""
    argv = b"".join(arg + b"\0" for arg in args)
    record = json.loads(json.dumps(to_record(EVENT._replace(argv=argv))))

    if "argv_base64" in record:
        found = b64decode(record["argv_base64"])
    else:
        found = b"".join(arg.encode() + b"\0" for arg in record["argv"])
    assert argv == found
    assert len(args) == len(record["argv"])


@given(st.lists(st.text().map(lambda text: text.replace("\0", ""))))
def test_valid_utf8_needs_no_base64(args: list[str]) -> None:
    """argv_base64 is there only when it is needed."""
    record = to_record(EVENT._replace(argv="".join(arg + "\0" for arg in args).encode()))

    assert args == record["argv"]
    assert "argv_base64" not in record


def test_a_character_cut_by_a_hole_is_not_mended() -> None:
    """Two halves of a character that a hole separates are not valid, though together they were."""
    record = to_record(EVENT._replace(argv="é\0".encode(), holes=(Hole(1, 5),)))

    assert ["\\xc3", "\\xa9"] == record["argv"]
    assert "w6kA" == record["argv_base64"]


@st.composite
def cut_lines(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, int]]]:
    """Draws a whole command line and the parts of it that are missing."""
    args = draw(st.lists(st.text("ab", max_size=4)))
    line = "".join(arg + "\0" for arg in args).encode()
    ends = draw(st.lists(st.integers(0, len(line)), max_size=8))
    ends = sorted(ends[: len(ends) // 2 * 2])
    return line, [(start, end) for start, end in zip(ends[::2], ends[1::2], strict=True) if start < end]


@given(cut_lines())
def test_splitting_neither_loses_nor_invents(cut: tuple[bytes, list[tuple[int, int]]]) -> None:
    """Parts are just the runs of captured bytes between NULs and holes, each at its place."""
    line, cuts = cut
    gone = {at for start, end in cuts for at in range(start, end)}
    captured = bytes(byte for at, byte in enumerate(line) if at not in gone)
    holes = tuple(Hole(sum(at not in gone for at in range(start)), end - start) for start, end in cuts)

    parts, run = [], b""
    for at, byte in enumerate(line):
        if at in gone:
            parts += [run] if run else []
            run = b""
        elif byte:
            run += bytes([byte])
        else:
            # Known to be empty only if the NUL before it is there too.
            parts += [run] if run or at == 0 or (at - 1 not in gone) else []
            run = b""

    found = split_argv(captured, holes)
    assert tuple(parts) == found.parts
    assert len(gone) == sum(missing.size or 0 for missing in found.missing)
    places = [missing.before for missing in found.missing]
    assert places == sorted(set(places))
    assert bool(cuts) == bool(places)


@pytest.mark.parametrize(
    ("argv", "holes", "expected"),
    [
        (b"", (), Arguments((), ())),
        (b"\0", (), Arguments((b"",), ())),
        (b"a\0\0b\0", (), Arguments((b"a", b"", b"b"), ())),
        (b"a\0b", (), Arguments((b"a", b"b"), ())),
        (b"", (Hole(0, None),), Arguments((), (Missing(0, None),))),
        (b"abcd\0", (Hole(2, 7),), Arguments((b"ab", b"cd"), (Missing(1, 7),))),
        (b"ab\0cd\0", (Hole(3, 7),), Arguments((b"ab", b"cd"), (Missing(1, 7),))),
        (b"ab\0cd\0", (Hole(2, 7),), Arguments((b"ab", b"cd"), (Missing(1, 7),))),
        (b"ab\0", (Hole(0, 7),), Arguments((b"ab",), (Missing(0, 7),))),
        (b"ab\0", (Hole(3, 7),), Arguments((b"ab",), (Missing(1, 7),))),
        (b"ab\0", (Hole(2, 7),), Arguments((b"ab",), (Missing(1, 7),))),
        (b"ab\0\0", (Hole(3, 7),), Arguments((b"ab",), (Missing(1, 7),))),
        (b"ab\0\0\0", (Hole(3, 7),), Arguments((b"ab", b""), (Missing(1, 7),))),
        (b"ab\0", (Hole(1, 7), Hole(1, 2)), Arguments((b"a", b"b"), (Missing(1, 9),))),
        (b"ab\0", (Hole(1, 7), Hole(1, None)), Arguments((b"a", b"b"), (Missing(1, None),))),
        (b"a\0b\0", (Hole(1, 7), Hole(2, 2)), Arguments((b"a", b"b"), (Missing(1, 9),))),
    ],
)
def test_holes_end_arguments(argv: bytes, holes: tuple[Hole, ...], expected: Arguments) -> None:
    """A hole separates what is beside it and makes no empty argument, wherever it is."""
    assert expected == split_argv(argv, holes)


def test_the_marker_cannot_be_forged() -> None:
    """Arguments that spell the marker are in quotes, the marker itself is not."""
    forged = Arguments((b"[...5", b"bytes", b"missing...]", b"[...5 bytes missing...]"), (Missing(4, 1),))

    command = "'[...5' bytes 'missing...]' '[...5 bytes missing...]' [...1 byte missing...]"
    assert command == command_line(forged)


def test_a_program_name_cannot_look_like_a_setting() -> None:
    """argv[0] with an equals sign is in quotes, so that neither eyes nor bash take it for a variable."""
    assert "'A=b' C=d" == command_line(Arguments((b"A=b", b"C=d"), ()))
    assert "'A= b'" == command_line(Arguments((b"A= b",), ()))
    assert "[...2 bytes missing...] 'A=b'" == command_line(Arguments((b"A=b",), (Missing(0, 2),)))


@pytest.mark.parametrize(
    ("number", "name"), [(2, "ENOENT"), (11, "EAGAIN"), (35, "EDEADLK"), (95, "EOPNOTSUPP"), (524, "E524")]
)
def test_errors_have_the_names_of_the_manual(number: int, name: str) -> None:
    """An error number has the name that strace shows, or its number."""
    assert name == errno_name(number)


def test_a_gap_is_a_record_too() -> None:
    """A gap's record says when, where, why and how many, and that it is no exec."""
    gap = Gap("web-1", Nanoseconds(0), Nanoseconds(1_500_000_000), GapReason.RING_FULL, None, 4)

    assert {
        "kind": "gap",
        "from": "1970-01-01T00:00:00.000000000Z",
        "to": "1970-01-01T00:00:01.500000000Z",
        "host": "web-1",
        "reason": "ring_full",
        "count": None,
        "exits": 4,
        "uid": None,
    } == gap_record(gap)
