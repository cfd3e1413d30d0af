"""The compiled functions, when what they are given or what they call does what it never should."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from execaudit import native
from execaudit.capture.assembler import Assembler, Machine
from execaudit.enums import Ended, Kind, Truncated
from execaudit.event import ExecEvent, Nanoseconds
from execaudit.exec_id import boot_prefix
from execaudit.output.json_lines import JsonLines
from execaudit.store.writer import Run, Store
from execaudit.times import utc_second
from tests.capture.test_ringbuf import Producer
from tests.histories import BOOT_ID, HOST, make_event
from tests.native.test_compiled import in_python
from tests.output.test_record import EVENT
from tests.store.recording import stored
from tests.wirebytes import EXEC, LAST, Facts, Head, first

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

assert native.fast is not None
fast = native.fast
_BOTH: tuple[Callable[[], contextlib.AbstractContextManager[None]], ...] = (contextlib.nullcontext, in_python)


class _Bytes(bytes):
    """What is nearly bytes."""


@pytest.mark.parametrize("argv", [_Bytes(b"a\0"), _Bytes(b"b" * 2000 + b"\0")], ids=["short", "long"])
def test_a_command_line_of_another_type_is_stored_as_in_python(tmp_path: Path, argv: bytes) -> None:
    """And it shares the row of equal bytes."""
    path = tmp_path / "h.db"
    events = [make_event(b"x", argv=each, argc=1, argv_bytes=len(each)) for each in (argv, bytes(argv))]
    with Store(path) as store:
        store.begin_run(Run(boot_id=BOOT_ID, host=HOST, version="0", started_ns=Nanoseconds(1)))
        for event in events:
            store.append([event])

    assert events == stored(path)


@pytest.mark.parametrize(
    "argv",
    [None, "text", 5, [], bytearray(b"x\0"), memoryview(b"x\0")],
    ids=["none", "text", "number", "list", "bytearray", "memoryview"],
)
def test_no_command_line_is_refused_as_in_python(tmp_path: Path, argv: object) -> None:
    """With `truncated`, nothing looks at it before it is stored."""
    event = make_event(b"x", argv=argv, truncated=Truncated.LIMIT)
    outcomes = []
    for number, context in enumerate(_BOTH):
        with context(), Store(tmp_path / f"{number}.db") as store:
            store.begin_run(Run(boot_id=BOOT_ID, host=HOST, version="0", started_ns=Nanoseconds(1)))
            try:
                store.check([event])
                outcomes.append("stored")
            except Exception as exc:  # noqa: BLE001  # whichever it is
                outcomes.append(f"{type(exc)} {exc}")
    assert outcomes[0] == outcomes[1]


def test_a_record_longer_than_the_window_stops_nothing() -> None:
    """The kernel makes none. If it did, its beginning counts as unreadable and the next ones are read."""
    outcomes = []
    for context in _BOTH:
        with context(), Producer() as producer:
            ring, read = producer.ring(), list[bytes]()
            at = producer.reserve(b"x" * 16)
            assert at is not None
            producer._write(at, (1 << 20).to_bytes(4, "little"))  # its length
            outcomes.append((ring.take(read, 4096), [len(each) for each in read]))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0] > 0


def _where(host: str, boot_id: str, kind: Kind) -> str:
    return f'"host":"{host}","boot_id":"{boot_id}","kind":"{kind.value}"'


def _lines(**others: Callable[..., object]) -> Any:  # noqa: ANN401  # the compiled class
    """Returns what makes lines, and calls some other functions than usual."""
    lines = JsonLines()
    called: dict[str, Any] = {
        "shared": lines.around,
        "where": _where,
        "second": utc_second,
        "error": str,
        **others,
    }
    return fast.Lines(
        ExecEvent, Kind.FAILED, {how: f'"{how.value}"' for how in Ended}, called["shared"], called["where"],
        called["second"], boot_prefix, called["error"], lines._line, 4,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "function"),
    [("shared", JsonLines().around), ("where", _where), ("second", utc_second), ("error", str)],
)
def test_a_line_that_is_made_meanwhile_changes_no_other(name: str, function: Callable[..., object]) -> None:
    """As by another thread: while a function in Python runs, any thread may."""
    event = EVENT._replace(errno=2)
    nested = [make_event(b"other", seconds=9, kind=Kind.FAILED, boot_id=f"12345678{BOOT_ID[8:]}", errno=3)]

    def meanwhile(*given: object) -> object:
        if nested:
            lines.line(nested.pop())
        return function(*given)

    lines = _lines(**{name: meanwhile})
    assert _lines().line(event) == lines.line(event)
    assert not nested


def test_execs_that_go_away_are_not_read() -> None:
    """A function that is called empties the list, or raises."""
    execs = [EVENT._replace(errno=number) for number in range(50)]

    def emptied(_errno: int) -> str:
        execs.clear()
        return "null"

    lines = _lines(error=emptied)
    block, at = lines.block(execs, 0, 1_000_000)
    assert at == 1
    assert block.count(b"\n") == 1

    lines = _lines(error={1: "null"}.__getitem__)
    execs = [EVENT._replace(errno=1), EVENT._replace(errno=2)]
    block, at = lines.block(execs, 0, 1_000_000)
    assert at == 1
    assert block.count(b"\n") == 1
    for begin in (-1, 2, 2**62):
        assert lines.block(execs, begin, 1_000_000) == (b"", begin)


@pytest.mark.parametrize(
    ("bits", "block"),
    [(bytearray(1600), 128), (bytearray(1600), -1), (bytearray(15), 0), (bytearray(1 << 20), 0)],
)
def test_bits_of_another_size_are_refused(bits: bytearray, block: int) -> None:
    """Nothing is written beside them."""
    before = bytes(bits)
    with pytest.raises(ValueError, match="bits or block"):
        fast.set_buckets(bits, block, b"some text")
    assert before == bits
    with pytest.raises(BufferError):
        fast.set_buckets(bytes(1600), 0, b"some text")


def _record(number: int) -> bytes:
    head = Head(boot_ns=1000 + number, total=2, argc=1, flags=LAST)
    return first(EXEC, head, Facts(parent=(5, 7), uid=number, comm=b"c%d" % number), b"a\0")


def test_records_that_go_away_are_not_read() -> None:
    """A function that is called empties the list."""
    records = [_record(number) for number in range(50)]
    kept = [*records]

    def user_of(_uid: int) -> None:
        records.clear()

    assembler = Assembler(Machine(HOST, BOOT_ID, user_of, lambda *_: None))
    decoder = assembler._decoder
    assert decoder is not None
    events: list[Any] = []

    assert decoder.events(records, 0, 0, events) == 1
    assert [kept[0][:8]] == [event.boot_ns.to_bytes(8, "little") for event in events]


@pytest.mark.parametrize("made", ["Decoder", "Lines", "Numbers", "Pages"])
def test_nothing_is_half_made(made: str) -> None:
    """Its methods take for granted what the constructor sets."""
    kind = getattr(fast, made)
    with pytest.raises(TypeError):
        kind.__new__(kind)
    if made == "Decoder":
        with pytest.raises(TypeError):
            kind((int, int, int), *[None] * 8)


def test_nobody_can_choose_the_second_hash() -> None:
    """Not even where Python's own key is known."""
    code = "from execaudit.store import interning; print(hash(interning._SECOND + b'x'))"
    known = {**os.environ, "PYTHONHASHSEED": "0"}
    said = [subprocess.check_output([sys.executable, "-c", code], env=known) for _ in range(2)]
    assert said[0] != said[1]
