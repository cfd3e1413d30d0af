"""A central database gives the answers that the files of its hosts give."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.commands import execaudit
from tests.families import make_family
from tests.fleet.centre import make_central, ship
from tests.histories import make_event, make_gap, make_history
from tests.hunt.rules import write_rule
from tests.reports import Page

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fleet.servers import PostgresServer


# How large it is on the disk, and how it grows.
# At the centre nobody knows whether a host has a sealing key.
_SIZES = re.compile(
    r'"(max_)?bytes(_a_day)?":(null|[0-9]+)|"keyed":(null|false),?|^((db|web)1 is )?sealed .*\n(not looked at.*\n)?',
    re.MULTILINE,
)


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


def test_stats_of_hosts_are_about_these_alone(postgres_database: str, tmp_path: Path) -> None:
    """Their times, their chart, their gaps, and who recorded them: as from their files."""
    url = make_central(postgres_database)
    paths = {}
    for host, hours in (("web1", 0), ("db1", 30)):
        events = [make_event(b"a", host=host, seconds=3600 * hours + n) for n in range(5)]
        gaps = [replace(make_gap(3600 * hours + 2, 3600 * hours + 3), host=host)]
        paths[host] = make_history(tmp_path / f"{host}.db", events, gaps)
        ship(paths[host], url)
    for host, path in paths.items():
        for words in (("stats", "--format", "json"), ("stats",)):
            local, central = (
                execaudit("--db", where, *words, "--host", name, silence=True)
                for where, name in ((path, host), (url, f"{host[:2]}*1"))
            )
            texts = [_SIZES.sub("", done.out.decode()).splitlines() for done in (local, central)]
            # How large it is, and how it grows.
            start = 0 if "json" in words else 3
            assert texts[0][start:] == texts[1][start:]
            assert local.err == central.err


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rules that hit something: by a text, by a program, by a parent, and by several of these."""
    folder = tmp_path_factory.mktemp("rules")
    write_rule(folder / "text.yml", "{CommandLine|contains: 'GCC -c'}")
    write_rule(folder / "program.yml", "{Image|endswith: ['/ls', '/make']}", level="high")
    write_rule(folder / "both.yml", "{Image|endswith: '/gcc', CommandLine|contains: ['x.c', 'b.c']}")
    (folder / "parents").mkdir()
    write_rule(folder / "parents" / "parent.yml", "{ParentImage|endswith: '/make'}")
    return folder


@pytest.mark.parametrize("where", ["parents", "text.yml", "program.yml", "both.yml", ""])
def test_the_same_is_hunted(family: tuple[Path, str], rules: Path, where: str) -> None:
    """The same hits in the same order, whether the engine chooses what is looked at or not."""
    for words in (
        ("--format", "jsonl"),
        ("--format", "table"),
        ("--reverse", "--limit", "2", "--format", "jsonl"),
    ):
        local, central = (execaudit("--db", place, "hunt", *words, rules / where) for place in family)

        assert (local.status, local.err) == (central.status, central.err)
        assert local.out == central.out
        assert local.out


def test_the_same_is_reported(family: tuple[Path, str], rules: Path, tmp_path: Path) -> None:
    """The data of the page, with hits of rules."""
    pages: list[Page] = []
    for place in family:
        file = tmp_path / f"{len(pages)}.html"
        done = execaudit("--db", place, "report", f"--hunt={rules}", "-o", file)
        assert done.status == 0, done.err
        pages.append(Page(file.read_text()))

    (local,), (central,) = (page.data["seals"] for page in pages)
    assert {**local, "keyed": None} == central
    assert {**pages[0].data, "seals": None} == {**pages[1].data, "seals": None}
    assert len(pages[0].data["hits"]) > 0
