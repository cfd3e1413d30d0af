"""Recorders with limits set: what is kept is right, and what is not is accounted for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.live.recording import argv_of, recording
from tests.truth import lines
from tests.truth.refusals import REFUSALS
from tests.truth.starts import Start

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.recording import Row
    from tests.truth.starts import Attempt, Stage

_MOST = 1000
_PADDED = lines.line(b"program", *(lines.counting(1000) for _ in range(1000)), b"--payload")
_CASES = {
    "limit-padded": _PADDED,
    "limit-one-long": lines.line(lines.counting(100_000)),
    **{f"limit-{size}": lines.of_size(size) for size in (_MOST - 1, _MOST, _MOST + 1, _MOST + 2)},
}
_WHOLE = [name for name, line in _CASES.items() if len(line) <= _MOST]
_CUT = [name for name in _CASES if name not in _WHOLE]


def _by_start(rows: list[Row], stage: Stage) -> dict[str, Row]:
    images = {str(stage.programs.witness_named(name)): name for name in (*_CASES, "no-failed", "lost")}
    return {images[row["exe"]]: row for row in rows if row["kind"] == "exec" and row["exe"] in images}


@pytest.fixture(scope="module")
def limited(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Row], list[Row]]:
    """The cases, started and refused under `--max-argv 1000`: by name, and the refused ones in order."""
    refused: list[Attempt] = []
    with recording(tmp_path_factory.mktemp("limited"), "--max-argv", str(_MOST)) as recorded:
        for name, line in _CASES.items():
            stage.run(Start(name, line))
            refused.append(REFUSALS["no-file"]._replace(line=line).run(stage))
    rows = recorded.rows()
    pids = [attempt.pid for attempt in refused]
    failed = {row["pid"]: row for row in rows if row["kind"] == "failed"}
    return _by_start(rows, stage), [failed[pid] for pid in pids]


def _row(limited: tuple[dict[str, Row], list[Row]], name: str, kind: str) -> Row:
    return limited[0][name] if kind == "exec" else limited[1][list(_CASES).index(name)]


kinds = pytest.mark.parametrize("kind", ["exec", "failed"])


@kinds
@pytest.mark.parametrize("name", _WHOLE)
def test_argv_up_to_the_limit_is_whole(
    limited: tuple[dict[str, Row], list[Row]], name: str, kind: str
) -> None:
    """A command line of the limit's size, or a byte less, is not cut and not called so."""
    row = _row(limited, name, kind)

    assert _CASES[name] == argv_of(row)
    assert (row["truncated"], row["argv_missing"]) == (None, None)


@kinds
@pytest.mark.parametrize("name", _CUT)
def test_argv_over_the_limit_keeps_its_head_and_its_tail(
    limited: tuple[dict[str, Row], list[Row]], name: str, kind: str
) -> None:
    """Padding does not push a payload out of sight: both ends are kept, the totals are the true ones."""
    row = _row(limited, name, kind)
    line = _CASES[name]
    head, tail = line[: _MOST // 2], line[-(_MOST // 2) :]

    assert ("limit", line.count(b"\0"), len(line)) == (row["truncated"], row["argc"], row["argv_bytes"])
    assert [len(line) - _MOST] == [size for _, size in row["argv_missing"]]
    ((index, _),) = row["argv_missing"]
    assert head.removesuffix(b"\0") == "\0".join(row["argv"][:index]).encode()
    assert tail == "".join(part + "\0" for part in row["argv"][index:]).encode()


def test_without_failed_execs_only_they_are_missing(stage: Stage, tmp_path: Path) -> None:
    """`--no-failed` leaves out refused execs and nothing else."""
    with recording(tmp_path, "--no-failed") as recorded:
        refused = REFUSALS["no-file"].run(stage)
        stage.run(Start("no-failed", _PADDED))
    rows = recorded.rows()

    assert {"exec", "snapshot"} == {row["kind"] for row in rows}
    assert [row["kind"] for row in rows if row["pid"] == refused.pid] == ["exec"]
    assert argv_of(_by_start(rows, stage)["no-failed"]) == _PADDED


def test_argv_larger_than_the_ring_says_what_is_lost(stage: Stage, tmp_path: Path) -> None:
    """Of an argv too large for the ring buffer each byte is there, in its place, or counted as lost."""
    line = lines.of_size(2_000_000)
    with recording(tmp_path, "--ring-size", "65536") as recorded:
        stage.run(Start("lost", line))
    row = _by_start(recorded.rows(), stage)["lost"]

    assert ("lost", line.count(b"\0"), len(line)) == (row["truncated"], row["argc"], row["argv_bytes"])
    assert 0 < len(line) - sum(size for _, size in row["argv_missing"]) < len(line)
    assert line == _refilled(row, line)


def _refilled(row: Row, line: bytes) -> bytes:
    """Returns a command line whose holes are filled with what should be there."""
    parts, missing = list(row["argv"]), dict(row["argv_missing"])
    filled = b""
    for index in range(len(parts) + 1):
        if index in missing:
            filled += line[len(filled) : len(filled) + missing[index]]
            if index < len(parts) and line[len(filled) : len(filled) + 1] == b"\0":
                filled += b"\0"  # the end of an argument of which nothing is there
        if index < len(parts):
            filled += parts[index].encode()
            if index + 1 not in missing or line[len(filled) : len(filled) + 1] == b"\0":
                filled += b"\0"
    return filled
