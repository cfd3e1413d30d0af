"""`execaudit fleet status` over a real central database."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from execaudit.enums import GapReason
from execaudit.event import Gap, Nanoseconds
from execaudit.store.writer import Store
from tests.commands import execaudit
from tests.fleet.centre import Centre, make_central, ship
from tests.histories import at, begin_run, make_event, make_history

if TYPE_CHECKING:
    from pathlib import Path

_HOUR = 3600 * 1_000_000_000


@pytest.fixture
def centre(postgres_database: str) -> Centre:
    """An empty central database."""
    return Centre(make_central(postgres_database))


def _shipped(tmp_path: Path, centre: Centre, host: str, *, lost: int = 0) -> Path:
    """Ships the history of a host on which nobody records any more."""
    path = tmp_path / f"{host.encode().hex()}.db"
    with Store(path) as store:
        begin_run(store, host=host)
        now = Nanoseconds(time.time_ns())
        store.append(
            [make_event(b"a", b"1", host=host)],
            [Gap(host, Nanoseconds(now - _HOUR), now, GapReason.RING_FULL, lost, 0)] if lost else (),
        )
    ship(path, centre.url)
    return path


def _status(centre: Centre, *words: str) -> tuple[int, str, list[str]]:
    done = execaudit("--db", centre.url, "fleet", "status", *words)
    return done.status, done.out.decode(), done.err.decode().splitlines()


def test_nobody_has_shipped(centre: Centre) -> None:
    """That is no trouble of a host, but nothing is well."""
    status, out, err = _status(centre)

    assert (status, out.split()) == (
        1,
        ["HOST", "LAST", "HEARD", "OF", "BEHIND", "MISSED", "VERSION", "STATUS"],
    )
    assert err == ["no host has shipped anything yet: see `execaudit forward`"]


def test_each_kind_of_trouble_is_a_line(centre: Centre, tmp_path: Path) -> None:
    """It names the hosts, the status is 1, and all outputs say the same."""
    _shipped(tmp_path, centre, "web1")
    _shipped(tmp_path, centre, "web2", lost=7)
    centre.rows("UPDATE stream SET contact_ns = contact_ns - %s WHERE host = 'web1' RETURNING 1", _HOUR)
    page, metrics = tmp_path / "fleet.html", tmp_path / "fleet.prom"

    status, out, err = _status(centre, "-o", str(page), "--metrics", str(metrics))

    assert status == 1
    assert err == [
        "silent: web1: not heard of for 15min: look there at `systemctl status execaudit-forward`",
        "not_recorded: web1, web2: nobody records: look there with `execaudit doctor`",
        "missed: web2: gaps in the last 1d: `execaudit stats --host NAME` lists them",
    ]
    assert [line.split()[-2:] for line in out.splitlines()[1:]] == [
        ["silent,", "not_recorded"],
        ["not_recorded,", "missed"],
    ]
    for line in err:
        assert line in page.read_text()
    samples = [
        sample for each in text_string_to_metric_families(metrics.read_text()) for sample in each.samples
    ]
    assert 7 in [
        each.value
        for each in samples
        if (each.name, each.labels) == ("execaudit_fleet_missed_execs", {"host": "web2"})
    ]
    found = json.loads(_status(centre, "--format", "json")[1])
    assert found["troubles"] == [
        {"kind": "silent", "hosts": ["web1"]},
        {"kind": "not_recorded", "hosts": ["web1", "web2"]},
        {"kind": "missed", "hosts": ["web2"]},
    ]
    assert [(host["host"], host["missed"]) for host in found["hosts"]] == [("web1", 0), ("web2", 7)]


def test_what_is_no_trouble_any_more(centre: Centre, tmp_path: Path) -> None:
    """Limits are the caller's, and who is recorded is no trouble."""
    _shipped(tmp_path, centre, "web1")
    centre.rows("UPDATE stream SET contact_ns = contact_ns - %s, live_run = 1 RETURNING 1", _HOUR)

    assert _status(centre)[0] == 1
    assert _status(centre, "--silent-after", "2h")[::2] == (0, [])


def test_a_restart_of_a_recorder_is_no_trouble(centre: Centre, tmp_path: Path) -> None:
    """Nobody knows what was missed, and it is said when it lasts."""
    path = tmp_path / "history.db"
    with Store(path) as store:
        begin_run(store, host="web1")
        now = Nanoseconds(time.time_ns())
        gap = Gap("web1", Nanoseconds(now - _HOUR), now, GapReason.RECORDER_STOPPED, None, 0)
        store.append([make_event(b"a", b"1", host="web1")], [gap])
    ship(path, centre.url)
    centre.rows("UPDATE stream SET live_run = 1 RETURNING 1")

    assert _status(centre)[::2] == (0, [])


def test_a_name_cannot_write_on_the_terminal_or_the_page(centre: Centre, tmp_path: Path) -> None:
    """Whoever ships chooses the name of the host."""
    page = tmp_path / "fleet.html"
    _shipped(tmp_path, centre, "\x1b[2Jevil<script>alert(1)</script>")

    _, out, err = _status(centre, "-o", str(page))

    assert "\x1b" not in out + "".join(err) + page.read_text()
    assert "<script" not in page.read_text()
    assert "evil" in out


def test_a_name_of_any_bytes_is_written_everywhere(centre: Centre, tmp_path: Path) -> None:
    """A database may have what no text has."""
    _shipped(tmp_path, centre, "web1")
    centre.rows("UPDATE stream SET host = %s RETURNING 1", b"\xffweb")
    page, metrics = tmp_path / "fleet.html", tmp_path / "fleet.prom"

    status, out, _ = _status(centre, "-o", str(page), "--metrics", str(metrics))

    assert status == 1
    for text in (out, page.read_text(), metrics.read_text()):
        assert "xffweb" in text


def test_a_page_is_not_replaced_unasked(centre: Centre, tmp_path: Path) -> None:
    """As with export and report."""
    page = tmp_path / "fleet.html"
    page.write_text("mine")

    status, _, err = _status(centre, "-o", str(page))
    assert (status, len(err), page.read_text()) == (1, 1, "mine")
    _status(centre, "-o", str(page), "--force")
    assert page.read_text().startswith("<!doctype html>")


def test_clickhouse_is_asked_in_the_same_way(clickhouse_database: str, tmp_path: Path) -> None:
    """Made, shipped to and asked with the commands alone."""
    path = tmp_path / "history.db"
    with Store(path) as store:
        begin_run(store, host="web1")
        now = Nanoseconds(time.time_ns())
        gap = Gap("web1", Nanoseconds(now - _HOUR), now, GapReason.RING_FULL, 7, 0)
        store.append([make_event(b"a", b"1", host="web1")], [gap])
    for words in (
        ("--db", clickhouse_database, "db", "upgrade"),
        ("--db", str(path), "forward", "--once", "--to", clickhouse_database),
        ("--db", str(path), "forward", "--once", "--to", clickhouse_database),
    ):
        assert execaudit(*words).status == 0

    done = execaudit("--db", clickhouse_database, "fleet", "status", "--format", "json")

    assert done.status == 1
    (host,) = json.loads(done.out)["hosts"]
    assert (host["host"], host["behind"], host["missed"]) == ("web1", 0, 7)
    assert host["troubles"] == ["not_recorded", "missed"]
    asked = execaudit("--db", clickhouse_database, "query", "--format", "jsonl").out
    assert asked == execaudit("--db", str(path), "query", "--format", "jsonl").out


def test_what_was_imported_is_no_trouble(centre: Centre, tmp_path: Path) -> None:
    """Nobody records there, and nothing more is to come."""
    log = tmp_path / "execs.jsonl"
    recorded = make_history(tmp_path / "recorded.db", [make_event(b"a", b"1")])
    log.write_bytes(execaudit("--db", recorded, "query", "--format", "jsonl").out)
    path = tmp_path / "imported.db"
    assert execaudit("--db", path, "import", log).status == 0
    ship(path, centre.url)
    centre.rows("UPDATE stream SET contact_ns = contact_ns - %s RETURNING 1", _HOUR)

    status, out, err = _status(centre)

    assert (status, err) == (0, [])
    assert "imported" in out


def _forget(centre: Centre, host: str) -> tuple[int, str]:
    done = execaudit("--db", centre.url, "fleet", "forget", host)
    return done.status, done.err.decode()


def test_a_host_is_retired_until_it_ships_again(centre: Centre, tmp_path: Path) -> None:
    """It is no trouble, and its silence is told no more; what it shipped stays."""
    path = _shipped(tmp_path, centre, "web1")
    _shipped(tmp_path, centre, "web2")
    centre.rows("UPDATE stream SET contact_ns = contact_ns - %s RETURNING 1", _HOUR)
    page = tmp_path / "fleet.html"

    assert _forget(centre, "web") == (
        1,
        "execaudit: no host web has shipped here: give its whole name, as `execaudit fleet status` has it\n",
    )
    status, said = _forget(centre, "web1")
    assert (status, said.count("\n"), "web1 is retired" in said) == (0, 1, True)

    status, out, err = _status(centre, "-o", str(page))
    assert status == 1
    assert "web1" not in out + "".join(err) + page.read_text()
    assert "web2" in out
    found = json.loads(_status(centre, "--all", "--format", "json")[1])
    assert [(each["host"], each["retired"] is None, each["troubles"]) for each in found["hosts"]] == [
        ("web1", False, []),
        ("web2", True, ["silent", "not_recorded"]),
    ]
    assert "retired" in _status(centre, "--all")[1]

    # It is back with the first word from there, whatever its clock says.
    ship(path, centre.url)
    centre.rows("UPDATE stream SET contact_ns = 7 WHERE host = 'web1' RETURNING 1")
    assert ["silent: web1, web2:" in line for line in _status(centre)[2]] == [True, False]


def test_the_silence_of_a_retired_host_ends(centre: Centre, tmp_path: Path) -> None:
    """In later ranges. In earlier ones, and for who names it, nobody recorded it."""
    _shipped(tmp_path, centre, "web1")
    asked = ("--db", centre.url, "query", "--format", "table", "--since")
    before = execaudit(*asked, "now", silence=True)
    assert b"nobody has recorded since" in before.err
    assert _forget(centre, "web1")[0] == 0

    later, earlier, named = (
        execaudit(*asked, *words, silence=True)
        for words in (("now",), ("@1795371000",), ("now", "--host", "web1"))
    )

    assert later.err == b"0 execs\n"
    assert b"gap: nobody recorded web1 between" in earlier.err
    assert b"gap: nobody has recorded since" in named.err
    assert execaudit("--db", centre.url, "query").out


def test_hosts_of_clickhouse_are_retired(clickhouse_database: str, tmp_path: Path) -> None:
    """With the same command, by each name that a host had."""
    path = tmp_path / "history.db"
    with Store(path) as store:
        begin_run(store, host="old")
        store.append([make_event(b"a", b"1", host="old")])
        store.end_run(at(1))
        begin_run(store, host="new")
        store.append([make_event(b"a", b"2", host="new")])
    url = clickhouse_database
    assert execaudit("--db", url, "db", "upgrade").status == 0
    ship(path, url)
    asked = ("--db", url, "query", "--format", "table", "--since", "now")
    assert execaudit(*asked, silence=True).err.count(b"nobody has recorded since") == 2

    assert execaudit("--db", url, "fleet", "forget", "nowhere").failed_in_one_line()
    assert execaudit("--db", url, "fleet", "forget", "old").status == 0
    said = execaudit(*asked, silence=True).err
    assert (b"(old)" in said, b"(new)" in said) == (False, True)
    assert execaudit("--db", url, "fleet", "status").status == 1
    assert execaudit("--db", url, "fleet", "forget", "new").status == 0
    assert execaudit("--db", url, "fleet", "status").status == 0


def test_a_file_has_no_fleet(tmp_path: Path) -> None:
    """In one line, with the next step."""
    done = execaudit("--db", str(tmp_path / "history.db"), "fleet", "status")

    assert done.failed_in_one_line()
    assert "postgresql://" in done.err.decode()
