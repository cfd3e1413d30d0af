# The types of fast.pyx, for mypy. A test compares names and parameters with those of the compiled module.

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from _typeshed import ReadableBuffer

from execaudit.enums import Ended, Kind
from execaudit.event import ExecEvent, ExitEvent
from execaudit.exec_id import ExecKey
from execaudit.fields import Launch, Origin

# The values for exec, and the rows of argv_cut.
Rows: TypeAlias = tuple[list[object], list[tuple[object, ...]]]

class Decoder:
    host: str

    def __init__(
        self,
        types: tuple[type[ExecEvent], type[ExitEvent], type[ExecKey]],
        kind: Kind,
        machine: object,
        boot: int,
        launches: dict[bytes, Launch],
        origins: dict[Any, Origin],
        launch: Callable[[bytes], Launch],
        origin: Callable[[Any], Origin],
        root: Callable[[int, int | None], ExecKey | None],
    ) -> None: ...
    def events(
        self, records: Iterable[bytes], first: int, wall_offset_ns: int, events: list[ExecEvent | ExitEvent]
    ) -> int: ...

class Lines:
    def __init__(
        self,
        event_type: type[ExecEvent],
        failed: Kind,
        ways: dict[Ended, str],
        shared: Callable[[Launch, Origin], tuple[str, str]],
        where: Callable[[str, str, Kind], str],
        second: Callable[[int], str],
        prefix: Callable[[str], int],
        error: Callable[[int], str],
        in_python: Callable[[ExecEvent], str],
        most: int,
    ) -> None: ...
    def line(self, event: ExecEvent) -> str: ...
    def block(self, events: Iterable[ExecEvent], first: int, enough: int) -> tuple[bytes, int]: ...

class Numbers:
    def __init__(self, count: int) -> None: ...
    def doubt(self) -> None: ...
    def find(self, raw: bytes, row: tuple[object, ...], read: Callable[[int], object]) -> int | None: ...
    def add(self, raw: bytes, number: int) -> None: ...

class Pages:
    def __init__(
        self,
        is_json: bool,
        raw: bool,
        failed: int,
        ways: Iterable[bytes],
        nothing: bytes,
        before: Iterable[tuple[bool, int, Callable[[Any], bytes]]],
        after: Iterable[tuple[bool, int, Callable[[Any], bytes]]],
        clock: Callable[[Any], tuple[int, tuple[bytes, ...]]],
        day: Callable[[int], bytes],
        error: Callable[[int], bytes],
        in_python: Callable[[Any, Any, Any], bytes],
        most: int,
    ) -> None: ...
    def text(self, rows: Iterable[tuple[Any, ...]], known: object, recording: object) -> bytes: ...

def take(
    window: ReadableBuffer, begin: int, sent: int, stop: int, offset: int, records: list[bytes]
) -> int: ...
def set_buckets(bits: bytearray, block: int, text: bytes) -> None: ...
def counted(text: str) -> dict[int, int] | None: ...
def exec_hashes(
    batch: list[ExecEvent],
    values: list[Any],
    run: int | None,
    cut_of: dict[Any, Any],
    launches: dict[Any, bytes],
    origins: dict[Any, bytes],
    launch_hash: Callable[[Launch], bytes],
    origin_hash: Callable[[Origin], bytes],
    line: Callable[[bytes, Any], bytes],
    empty: object,
) -> list[bytes]: ...
def sealed_execs(
    rows: list[Any],
    clocks: dict[Any, Any],
    launches: dict[Any, Any],
    origins: dict[Any, Any],
    lines: dict[Any, Any],
    comms: dict[Any, Any],
    odd: dict[Any, Any],
    in_python: Callable[[Any], bytes],
    empty: object,
) -> list[bytes]: ...
def learn(texts: object, value: bytes) -> int: ...
def values(row: tuple[object, ...]) -> bytes | None: ...
def weights(
    events: Iterable[ExecEvent],
    account_of: Callable[[ExecEvent], int | None],
    of_launch: Callable[[Launch], tuple[int, int]],
    of_origin: Callable[[Origin], tuple[int, int]],
    of_arguments: Callable[[bytes, int], int],
) -> dict[int | None, tuple[int, int, int, int]]: ...
def rows(
    batch: list[ExecEvent],
    first_id: int,
    ends: dict[Any, Any],
    boot: int,
    failed: Kind,
    kinds: dict[Kind, int],
    cut_codes: dict[Any, int],
    clocks: dict[int, int],
    execs: dict[Any, int],
    comms: dict[Any, int],
    launches: dict[Launch, int],
    origins: dict[Origin, int],
    lines: object,
    clock: Callable[[int], int],
    find: Callable[[Any], int],
    new_comm: Callable[[Any], int],
    new_launch: Callable[[Launch], int],
    new_origin: Callable[[Origin], int],
    as_json: Callable[[Any], str],
) -> Rows: ...
