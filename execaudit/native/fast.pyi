# The types of fast.pyx, for mypy. A test compares names and parameters with those of the compiled module.

from collections.abc import Callable
from typing import Any, TypeAlias

from execaudit.enums import Kind
from execaudit.event import ExecEvent, ExitEvent
from execaudit.exec_id import ExecKey
from execaudit.fields import Launch, Origin

# Of exec, and of argv_cut.
Rows: TypeAlias = tuple[list[tuple[object, ...]], list[tuple[object, ...]]]

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
    def event(self, record: bytes, wall_offset_ns: int) -> ExecEvent | ExitEvent | None: ...

class Lines:
    def __init__(
        self,
        event_type: type[ExecEvent],
        failed: Kind,
        shared: Callable[[Launch, Origin], tuple[str, str]],
        where: Callable[[str, str, Kind], str],
        second: Callable[[int], str],
        prefix: Callable[[str], int],
        most: int,
    ) -> None: ...
    def line(self, event: ExecEvent) -> str | None: ...

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
    argvs: dict[Any, int],
    clock: Callable[[int], int],
    find: Callable[[Any], int],
    new_comm: Callable[[Any], int],
    new_launch: Callable[[Launch], int],
    new_origin: Callable[[Origin], int],
    new_argv: Callable[[bytes], int],
    holes_text: Callable[[Any], str],
) -> Rows: ...
