"""`execaudit verify` with a central database: what hosts shipped is as they sealed it."""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from execaudit.event import Nanoseconds
from execaudit.seal.key_file import path_of
from execaudit.seal.keys import VerificationKey
from execaudit.store.writer import Run, Store
from tests.commands import execaudit
from tests.fleet.centre import Centre, make_central, ship
from tests.fleet.clickhouse_servers import CLUSTER
from tests.fleet.recording import execs, pruned
from tests.fleet.sealed_centre import found_in, kinds, record, record_more
from tests.histories import at, begin_run, make_event, make_exit
from tests.seal.histories import KEY, make_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fleet.clickhouse_servers import Shards


_DAY_NS = 86_400_000_000_000


class Asked(NamedTuple):
    """A central database to which a history was shipped."""

    url: str
    path: Path
    key: Path

    def verify(self, *words: str) -> tuple[int, list[dict[str, Any]]]:
        """Returns the exit status, and what was found in each history."""
        done = execaudit(f"--db={self.url}", "verify", "--format=json", *words)
        assert done.status in {0, 4}, done.err
        return done.status, [json.loads(line) for line in done.out.splitlines()]

    @property
    def with_key(self) -> str:
        """The option with the key."""
        return f"--key=@{self.key}"


@pytest.fixture
def asked(tmp_path: Path) -> Callable[[str], Asked]:
    """Returns what ships a sealed history to an empty database."""

    def shipped(url: str) -> Asked:
        make_central(url)
        path, key = tmp_path / "x.db", tmp_path / "key"
        key.write_text(KEY.to_text())
        make_key(path)
        record(path)
        ship(path, url)
        return Asked(url, path, key)

    return shipped


def _verified(found: dict[str, Any]) -> dict[str, Any]:
    return {
        name: found[name] for name in ("verified", "authentic", "execs", "unsealed", "unproved", "problems")
    }


def test_what_has_arrived_is_proved(asked: Callable[[str], Asked], postgres_database: str) -> None:
    """With a key and without; for people too. It has the host's head."""
    one = asked(postgres_database)
    head = json.loads(execaudit(f"--db={one.path}", "verify", "--format=json").out)["head"]
    _all_is_proved(one, head)
    text = execaudit(f"--db={one.url}", "verify", one.with_key)
    assert text.status == 0
    assert text.out.decode().splitlines()[1].startswith("  verified: 121 execs are as sealed")
    assert b"authentic: the key vouches for it" in text.out


def test_what_has_arrived_in_clickhouse_is_proved(
    asked: Callable[[str], Asked], clickhouse_database: str
) -> None:
    """As above."""
    one = asked(clickhouse_database)
    status, (found,) = one.verify(one.with_key)
    assert (status, found["execs"], found["authentic"], found["problems"]) == (0, 121, True, [])


def _all_is_proved(one: Asked, head: str) -> None:
    whole = {"verified": True, "execs": 121, "unsealed": 0, "unproved": 0, "problems": []}
    for words, is_authentic in (
        ((), None),
        ((one.with_key, f"--head={head}"), True),
    ):
        status, (found,) = one.verify(*words)
        assert _verified(found) == {**whole, "authentic": is_authentic}
        assert (status, found["head"], found["host"]) == (0, head, "web1")
    other = VerificationKey(bytes(16), bytes(32))
    done = execaudit(f"--db={one.url}", "verify", f"--key={other.to_text()}")
    assert done.status == 4
    assert b"which this key is for" in done.err


def test_what_the_owner_deletes_is_no_damage(asked: Callable[[str], Asked], postgres_database: str) -> None:
    """And nothing else: what is younger is still proved, and its removal found."""
    _owner_deletes(asked, postgres_database)


@pytest.mark.long_fleet
def test_what_the_owner_of_clickhouse_deletes_is_no_damage(
    asked: Callable[[str], Asked], clickhouse_database: str
) -> None:
    """As above."""
    _owner_deletes(asked, clickhouse_database)


def _owner_deletes(asked: Callable[[str], Asked], url: str) -> None:
    """Execs of three weeks ago, which was recorded now, as from a program that runs so long, and of today."""
    one = asked(url)
    with Store(one.path) as store:
        begin_run(store)
        now = Nanoseconds(time.time_ns())
        store.append(
            [
                make_event(
                    b"a",
                    b"%d" % n,
                    time_ns=Nanoseconds(now - n % 2 * 21 * _DAY_NS + n),
                    boot_ns=n,
                    pid=5000 + n,
                )
                for n in range(8)
            ]
        )
    ship(one.path, url)
    assert not found_in(url).problems
    assert execaudit(f"--db={url}", "db", "prune", "--older-than=20d").status == 0

    found = found_in(url)
    assert found.is_verified
    assert found.is_authentic
    # Those of `asked` are of a time that is still to come.
    assert [(each.reason, each.execs) for each in found.pruned] == [("centre", 4)]
    assert found.unproved == 4
    text = execaudit(f"--db={url}", "verify").out.decode()
    assert "pruned: 4 execs" in text
    assert "not proved: 4 rows" in text


def test_what_was_pruned_before_it_was_shipped_is_no_damage(tmp_path: Path, centre: Centre) -> None:
    """The pruning is sealed. What it left is proved by its first seals."""
    path = tmp_path / "x.db"
    make_key(path)
    record(path)
    pruned(path, 100, 170)
    ship(path, centre.url, batch=10)
    record_more(path)
    pruned(path, 100, 9500)
    ship(path, centre.url)

    found = found_in(centre.url)
    assert not found.problems
    assert found.is_authentic
    assert found.execs == centre.rows('SELECT count(*) FROM "exec"')[0][0] > 40
    # Nobody can say so of other rows.
    centre.rows('DELETE FROM "exec" WHERE "seq" = (SELECT max("seq") FROM "exec") RETURNING 1')
    assert ("missing", "exec") in kinds(found_in(centre.url))


def test_a_history_that_was_put_back_is_told(tmp_path: Path, centre: Centre) -> None:
    """What it was before, and what it is now, are both as they were sealed; but one is not in the other."""
    path, old = tmp_path / "x.db", tmp_path / "old"
    make_key(path)
    record(path)
    ship(path, centre.url)
    old.mkdir()
    for each in (path, path_of(path)):
        shutil.copy(each, old / each.name)
    record_more(path)
    ship(path, centre.url)
    assert not found_in(centre.url).problems
    for each in (path, path_of(path)):
        shutil.copy(old / each.name, each)
    with Store(path) as store:
        begin_run(store)
        store.append([make_event(seconds=9900 + n, pid=7000 + n) for n in range(70)])
        store.append((), (), [make_exit(each.key, 9990) for each in execs(2, 3)])
    ship(path, centre.url)

    found = found_in(centre.url)
    assert kinds(found) <= {("forged", "seal"), ("cut", "seal")}
    assert found.problems
    assert found.execs == centre.rows('SELECT count(*) FROM "exec"')[0][0]


def test_a_power_cut_is_no_damage(tmp_path: Path, centre: Centre) -> None:
    """The file lost what was shipped, the key went on, and the host was booted."""
    path, old = tmp_path / "x.db", tmp_path / "old.db"
    make_key(path)
    record(path)
    ship(path, centre.url)
    shutil.copy(path, old)
    with Store(path) as store:
        begin_run(store)
        store.append([make_event(seconds=9900 + n, pid=7000 + n) for n in range(3)])
    ship(path, centre.url)
    shutil.copy(old, path)
    with Store(path) as store:
        store.begin_run(
            Run(
                boot_id="99999999-2222-4333-8444-555555555555",
                host="web1",
                version="0",
                started_ns=at(20_000),
            )
        )
        store.append([make_event(seconds=20_000 + n, pid=8000 + n) for n in range(3)])
    ship(path, centre.url)

    found = found_in(centre.url)
    assert found.problems == []
    assert len(found.lost) == 1


def test_a_new_key_is_a_new_chain(tmp_path: Path, centre: Centre) -> None:
    """Each key vouches for its own; one alone does not for all."""
    path = tmp_path / "x.db"
    other = VerificationKey(bytes(range(1, 17)), bytes(range(1, 33)))
    make_key(path)
    record(path)
    path_of(path).unlink()
    make_key(path, other)
    record_more(path)
    ship(path, centre.url)
    files = []
    for name, key in (("one", KEY), ("two", other)):
        (tmp_path / name).write_text(key.to_text())
        files.append(f"--key=@{tmp_path / name}")

    both, one = execaudit(f"--db={centre.url}", "verify", *files), found_in(centre.url)
    assert both.status == 0
    assert b"authentic: the key vouches" in both.out
    assert (one.problems, one.is_authentic, one.is_verified) == ([], False, False)


def test_hosts_are_chosen_and_older_forwarders_named(tmp_path: Path, centre: Centre) -> None:
    """A file has no hosts; a host without seals is not verified."""
    path = tmp_path / "x.db"
    make_key(path)
    record(path)
    ship(path, centre.url)
    assert execaudit(f"--db={centre.url}", "verify", "--host=web*", "--since=1h").status == 0
    assert execaudit(f"--db={centre.url}", "verify", "--host=db*").failed_in_one_line()
    assert b"--host is of a central database" in execaudit(f"--db={path}", "verify", "--host=web1").err
    for table in ("seal", "seal_chain"):
        centre.rows(f'DELETE FROM "{table}" RETURNING 1')
    old = execaudit(f"--db={centre.url}", "verify")
    assert old.status == 4
    assert b"NOT VERIFIED: no seals were shipped" in old.out


@pytest.mark.long_fleet
def test_two_shards_are_verified_as_one(asked: Callable[[str], Asked], shards: Shards) -> None:
    """As the first test."""
    url = shards.first.url("sealed")
    assert execaudit(f"--db={url}", "db", "upgrade", f"--cluster={CLUSTER}").status == 0
    one = asked(url)
    _all_is_proved(one, json.loads(execaudit(f"--db={one.path}", "verify", "--format=json").out)["head"])
