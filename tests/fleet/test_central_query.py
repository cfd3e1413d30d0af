"""A central database gives the answers that the files of its hosts give."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.commands import execaudit
from tests.families import make_family
from tests.fleet.centre import make_central, ship

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fleet.servers import PostgresServer


# How large it is on the disk, and how it grows.
_SIZES = re.compile(r'"(max_)?bytes(_a_day)?":(null|[0-9]+)')


@pytest.fixture(scope="module")
def family(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A history, and the URL of where it was shipped to."""
    path = make_family(tmp_path_factory.mktemp("family") / "db").path
    url = make_central(postgres.url(postgres.new_database()))
    ship(path, url)
    return path, url


@pytest.mark.parametrize(
    "words",
    [
        ("query",),
        ("query", "--format", "table"),
        ("query", "--format", "csv"),
        ("query", "--reverse", "--limit", "3"),
        ("query", "--limit", "4"),
        ("query", "--count"),
        ("query", "--comm", "c*"),
        ("query", "--args", "gcc -c"),
        ("query", "--args-regex", "gcc|ls"),
        ("query", "--user", "alice", "--not-comm", "make"),
        ("query", "--where", "duration > 10s or exit_code != 0"),
        ("query", "--sort", "pid"),
        ("export", "--format", "csv"),
        ("export", "--format", "ecs"),
        ("show", "pid:910"),
        ("show", "pid:910", "--format", "json"),
        ("tree",),
        ("tree", "--pid", "910"),
        ("stats", "--format", "json"),
        ("stats", "--limit", "0", "--format", "json"),
        ("query", "--under", "pid:910"),
        ("query", "--not-under", "pid:910"),
        ("query", "--new", "--since", "@1795370923"),
    ],
    ids=" ".join,
)
def test_the_same_is_written(family: tuple[Path, str], words: tuple[str, ...]) -> None:
    """Each command, from the file and from the central database."""
    local, central = (execaudit("--db", where, *words) for where in family)

    assert (local.status, local.err) == (central.status, central.err)
    assert _SIZES.sub("", local.out.decode()) == _SIZES.sub("", central.out.decode())
