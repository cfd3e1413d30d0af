"""What is sealed of rows, compiled and in Python: the same, whatever somebody wrote into the tables."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit import native
from execaudit.seal import codec
from execaudit.seal.rows import Execs, Rows
from tests.examples import examples
from tests.native.test_compiled import in_python

if TYPE_CHECKING:
    from collections.abc import Iterator

assert native.fast is not None
fast = native.fast

# Without types, as who edits the schema can have it.
_TABLES = {
    "exec": (
        "ts", "clock_id", "kind", "pid", "tid", "ppid", "uid", "comm_id", "launch_id", "origin_id", "argv_id", "errno",
        "truncated", "parent_id", "duration_ns", "status", "replaced_by",
    ),
    "clock": ("offset_ns", "run_id"),
    "argv": ("v",), "comm": ("v",), "path": ("v",), "user": ("v",),
    "launch": (
        "uid", "euid", "gid", "user_id", "comm_id", "filename_id", "exe_id", "cwd_id", "parent_comm_id",
        "interpreter_id", "inode", "device", "nlink", "privileged", "root_id", "mnt_ns", "traced", "egid",
    ),
    "origin": ("auid", "session", "login_user_id", "tty", "cgroup_id"),
    "seal_change": ("exec_id", "parent_was", "parent_now", "line_was", "line_now"),
}  # fmt: skip
_numbers = st.sampled_from([0, 1, 2, 3, 1000, -1, 2**62, 2**63 - 1, -(2**63), -(2**63) + 1])
_texts = st.sampled_from([b"", b"a\0", b"b" * 256, b"c" * 257, b"d" * 3000])
_anything = st.none() | _numbers | st.floats(allow_nan=False) | st.sampled_from(["", "a", "\udcff"])
_ids = st.integers(1, 3)
_MANY = 3
_UID, _COMM, _LAUNCH, _TRUNCATED = map(_TABLES["exec"].index, ("uid", "comm_id", "launch_id", "truncated"))


def _row(table: str, draw: st.DrawFn) -> list[object]:
    row: list[object] = []
    for column in _TABLES[table]:
        of_ids = column.endswith("_id") and column not in {"parent_id", "exec_id"}
        usual: st.SearchStrategy[object] = _numbers
        if of_ids:
            usual = _ids
        elif column in {"v", "line_was", "line_now", "tty"}:
            usual = _texts
        elif column in {"truncated", "errno"}:
            usual = st.none()
        odd = draw(st.integers(0, 40)) == 0
        row.append(draw((_anything | _texts) if odd else usual))
    return row


@st.composite
def _histories(draw: st.DrawFn) -> dict[str, list[list[object]]]:
    tables = {table: [_row(table, draw) for _ in range(_MANY)] for table in _TABLES}
    tables["exec"] += [_row("exec", draw) for _ in range(draw(st.integers(0, 12)))]
    if draw(st.booleans()):
        tables["seal_change"] = []
    for row in tables["exec"]:
        # Mostly it has what its launch has.
        number = row[_LAUNCH]
        if isinstance(number, int) and number in {1, 2, 3} and draw(st.integers(0, 9)):
            launch = tables["launch"][number - 1]
            row[_UID], row[_COMM] = launch[0], launch[4]
    return tables


@contextlib.contextmanager
def _opened(
    tables: dict[str, list[list[object]]], cuts: list[tuple[object, ...]]
) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        for table, columns in _TABLES.items():
            connection.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, {', '.join(columns)})")
            for row in tables[table]:
                values = [
                    each.encode("utf-8", "surrogateescape") if isinstance(each, str) else each for each in row
                ]
                marks = ["CAST(? AS TEXT)" if isinstance(each, str) else "?" for each in row]
                connection.execute(f"INSERT INTO {table} VALUES (NULL, {', '.join(marks)})", values)
        connection.execute(
            "CREATE TABLE argv_cut (exec_id INTEGER PRIMARY KEY, argc, argv_bytes, holes, redacted)"
        )
        connection.executemany("INSERT OR IGNORE INTO argv_cut VALUES (?, ?, ?, ?, ?)", cuts)
        yield connection


_values = _anything | _texts | st.text(max_size=3) | st.booleans()


@given(st.lists(_values, max_size=6))
def test_the_bytes_of_values_are_the_same(row: list[Any]) -> None:
    """Whatever they are; and what is no value is refused for the same reason."""
    outcomes: list[object] = []
    for context in (contextlib.nullcontext, in_python):
        with context():
            try:
                outcomes.append(codec.values(iter(row)))
            except (TypeError, codec.PackError) as exc:
                outcomes.append(str(exc))
    assert outcomes[0] == outcomes[1]


_cuts = st.lists(st.tuples(_ids, _numbers, _numbers, st.just("[]"), st.none()), max_size=1)


@examples(200)
@given(_histories(), _cuts)
def test_what_is_sealed_of_execs_is_the_same(
    tables: dict[str, list[list[object]]], cuts: list[tuple[object, ...]]
) -> None:
    """Hashes, and what does not agree with them."""
    found: list[Execs] = []
    for context in (contextlib.nullcontext, in_python):
        with context(), _opened(tables, cuts) as connection:
            rows = Rows(connection)
            found += [rows.execs(1, 1000), rows.execs(2, 3)]
    assert found[:2] == found[2:]


def test_an_ordinary_exec_needs_no_python() -> None:
    """Else nothing would be gained."""
    tables: dict[str, list[list[object]]] = {
        table: [[1] * len(columns)] * 2 for table, columns in _TABLES.items()
    }
    tables |= {table: [[b"x"], [b"c" * 300]] for table in ("argv", "comm", "path", "user")}
    for row in tables["exec"]:
        row[_TRUNCATED] = None
    tables["seal_change"] = []
    asked: list[object] = []
    with _opened(tables, []) as connection, pytest.MonkeyPatch.context() as patched:
        patched.setattr(Rows, "_exec", lambda _self, row, *_: asked.append(row))
        found = Rows(connection).execs(1, 2)

    assert [1, 2] == found.numbers
    assert not asked


_HASH = bytes(32)
_ROW = (1, 5, 1, 1, 7, None, 1, 0, 1, 1, 1, 1, None, None, None, None, None, None, b"a\0")


def _sealed(row: Any = _ROW, **known: Any) -> list[object]:  # noqa: ANN401  # what it must not take
    given_ = {
        "clocks": {1: (2, 1)}, "launches": {1: (_HASH, 0, b"a")}, "origins": {1: _HASH}, "lines": {}, "comms": {1: b"a"},
    } | known  # fmt: skip
    return [*fast.sealed_execs([row], *given_.values(), {}, lambda _: "python", codec.EMPTY_EXEC)]


def test_it_is_compiled_as_it_is_used() -> None:
    """The row of the tests below is an ordinary one."""
    assert [bytes] == [type(each) for each in _sealed()]


@pytest.mark.parametrize(
    "known",
    [
        {"launches": {1: (b"short", 0, b"a")}},
        {"launches": {1: (_HASH, 0)}},
        {"launches": {1: None}},
        {"origins": {1: None}},
        {"origins": {1: b"short"}},
        {"clocks": {1: (-(2**63), 1)}},
        {"clocks": {1: (2**63, 1)}},
        {"clocks": {1: 5}},
        {"row": (*_ROW[:-1], None), "lines": {1: 5}},
        {"row": (*_ROW[:-1], b"x" * 257)},
        {"row": (*_ROW[:-1], "text")},
        {"row": (*_ROW[:1], 2**64, *_ROW[2:])},
        {"row": (*_ROW[:1], -(2**63), *_ROW[2:])},
        {"row": (*_ROW[:4], None, *_ROW[5:])},
    ],
)
def test_what_is_not_ordinary_is_left_to_python(known: dict[str, Any]) -> None:
    """Nothing is read beyond what is there."""
    row = known.pop("row", _ROW)
    assert ["python"] == _sealed(row, **known)


@pytest.mark.parametrize("row", [None, (), _ROW[:-1], [*_ROW]])
def test_no_row_is_refused(row: object) -> None:
    """It has another number of columns."""
    with pytest.raises(TypeError):
        _sealed(row)
