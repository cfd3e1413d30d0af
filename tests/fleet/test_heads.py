"""The seals that a host shipped prove later that its file is what it was."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from execaudit.seal.key_file import path_of
from execaudit.store.writer import Store
from tests.commands import execaudit
from tests.fleet.centre import Centre, make_central, ship
from tests.histories import begin_run, make_event
from tests.seal.histories import KEY, make_key

if TYPE_CHECKING:
    from pathlib import Path


def _record(path: Path, *seconds: float) -> None:
    with Store(path) as store:
        begin_run(store)
        for each in seconds:
            store.append([make_event(seconds=each)])


def test_what_was_put_back_after_it_was_shipped_is_told(tmp_path: Path, postgres_database: str) -> None:
    """Database and key file together, and recorded on since: the centre has heads of what is not there."""
    _put_back(tmp_path, postgres_database)


def test_clickhouse_has_them_too(tmp_path: Path, clickhouse_database: str) -> None:
    """As above."""
    _put_back(tmp_path, clickhouse_database)


def _put_back(tmp_path: Path, url: str) -> None:
    make_central(url)
    path, old, key = tmp_path / "history.db", tmp_path / "old", tmp_path / "key"
    key.write_text(KEY.to_text())
    make_key(path)
    _record(path, 1, 2)
    ship(path, url)
    old.mkdir()
    for each in (path, path_of(path)):
        shutil.copy(each, old / each.name)
    _record(path, 3, 4)
    ship(path, url)
    verify = (f"--db={path}", "verify", f"--key=@{key}", f"--against={url}")
    assert execaudit(*verify).status == 0

    for each in (path, path_of(path)):
        shutil.copy(old / each.name, each)
    put_back = execaudit(*verify)
    _record(path, 5, 6, 7, 8)
    gone_on = execaudit(*verify)

    assert (put_back.status, gone_on.status) == (4, 4)
    assert b"cut" in put_back.out
    assert b"forged" in gone_on.out


def test_a_history_that_was_never_shipped_is_told(tmp_path: Path, centre: Centre) -> None:
    """Made anew in the place of another, it has another identity."""
    url = centre.url
    path = tmp_path / "history.db"
    _record(path, 1)

    done = execaudit(f"--db={path}", "verify", f"--against={url}")

    assert done.status == 4
    assert b"has no head of this history" in done.err
