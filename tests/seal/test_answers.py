"""What vouches for an answer: `stats`, `export` and `report` have the head, and with --verify the proof."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

from execaudit.cli.context import State
from execaudit.cli.run import proof
from execaudit.cli.run.proof_text import Proof
from execaudit.config import load
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.query.local_history import LocalHistory
from execaudit.store import sealing
from execaudit.store.writer import Store
from tests.commands import execaudit, on_terminal
from tests.histories import at, begin_run, make_event
from tests.seal.histories import KEY, change, changing, go_on, make_key, sealed_history, verified

if TYPE_CHECKING:
    from collections.abc import Sequence

    from execaudit.cli.run.proof_text import Vouched
    from tests.commands import Finished

BATCHES, SIZE = 20, 3
# The seconds of these batches come after all times of seals: then only numbers of execs lead to segments.
LATER = 3_000_000
UNRELATED = 30


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small history has several."""
    monkeypatch.setattr(sealing, "_MOST_ENTRIES", 4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A sealed history of several segments; each exec is a second after the one before."""
    return sealed_history(tmp_path / "h.db", BATCHES, size=SIZE)


@pytest.fixture
def key(tmp_path: Path) -> str:
    """The option for its key."""
    (tmp_path / "key").write_text(KEY.to_text() + "\n")
    return f"--key=@{tmp_path / 'key'}"


@pytest.fixture
def later(tmp_path: Path) -> Path:
    """The same, with times that are after those of its seals."""
    make_key(tmp_path / "later.db")
    with Store(tmp_path / "later.db") as store:
        begin_run(store)
        go_on(store, BATCHES, after=LATER)
        store.end_run(at(10_000_000))
    return tmp_path / "later.db"


def looked(
    path: Path, *, is_keyed: bool = True, since: int | None = None, marks: Sequence[int] = ()
) -> Vouched:
    """Returns what --verify finds of a range from a second of the history on."""
    context = click.Context(click.Command("stats"))
    state = context.ensure_object(State)
    state.db, state.config = str(path), load(Path(os.devnull))
    keys = (f"@{path.parent / 'key'}",) if is_keyed else ()
    wanted = Filter() if since is None else Filter(since_ns=at(since))
    with open_history(path) as connection:
        verifier = proof.Verifier(context, is_asked=True, keys=keys)
        (found,) = verifier.look(LocalHistory(connection), wanted, marks=marks)
    assert verifier.status == (0 if found.proof.is_fine else 4)
    return found


def stats(path: Path, *options: str, status: int = 0) -> dict[str, Any]:
    """Returns what `stats` says of seals."""
    done = execaudit("--db", path, "stats", "--format=json", *options)
    assert done.status == status, done.err
    (found,) = json.loads(done.out)["seals"]
    return dict(found)


def exported(path: Path, folder: Path, name: str, *options: str) -> tuple[bytes, Finished]:
    """Returns the file that an export makes, and how that ended."""
    done = execaudit("--db", path, "export", "-o", folder / name, *options)
    return (folder / name).read_bytes(), done


def test_an_answer_always_has_the_head(path: Path) -> None:
    """Nobody asked for more, and so nothing is said of what was not looked at."""
    found = stats(path)

    assert found["head"] == verified(path).head
    assert (found["host"], found["epoch"], found["keyed"]) == ("web1", BATCHES + 1, True)
    assert (found["proof"], found["execs"], found["problems"]) == ("not_looked_at", None, [])


def test_a_range_is_proved_with_the_key(path: Path, key: str) -> None:
    """And unbroken without it."""
    proved, unbroken = stats(path, "--verify", key), stats(path, "--verify")

    assert (proved["proof"], proved["execs"]) == ("proved", BATCHES * SIZE)
    assert (unbroken["proof"], unbroken["execs"]) == ("unbroken", BATCHES * SIZE)
    assert proved["head"] == unbroken["head"] == verified(path).head


def test_the_key_of_verify_in_the_configuration(path: Path, key: str, tmp_path: Path) -> None:
    """It need not be said again; --key beats it."""
    settings = tmp_path / "config.toml"
    settings.write_text(f'[verify]\nkey = "{key.removeprefix("--key=")}"\nstate = "{tmp_path}/state"\n')
    assert execaudit("--db", path, "--config", settings, "verify").status == 0
    found = stats(path, "--verify", "--config", str(settings))

    assert found["proof"] == "proved"
    assert found["verified"] is not None
    assert stats(path, "--config", str(settings))["verified"] == found["verified"]


def test_what_is_wrong_is_said_and_the_answer_is_still_written(path: Path, key: str, tmp_path: Path) -> None:
    """In words, and the status is 4."""
    change(path, "UPDATE exec SET pid = 7 WHERE id = 40")
    found = stats(path, "--verify", key, status=4)
    text = execaudit("--db", path, "stats", "--verify", key)
    lines, export = exported(path, tmp_path, "x.jsonl", "--verify", key)

    assert found["proof"] == "not_proved"
    assert [(each["kind"], each["table"]) for each in found["problems"]] == [("changed", "exec")]
    assert (text.status, export.status) == (4, 4)
    assert b"NOT PROVED: 1 problem" in text.out
    assert b"NOT PROVED: 1 problem" in export.err
    assert len(lines.splitlines()) > BATCHES * SIZE


@pytest.mark.usefixtures("key")
def test_a_range_is_verified_in_proportion(later: Path) -> None:
    """What is wrong before it is not seen, unless it led to the range."""
    change(later, "UPDATE exec SET pid = 7 WHERE id = 2")
    late = looked(later, since=LATER * SIZE + 50)

    assert late.proof is Proof.PROVED
    assert late.execs is not None
    assert 10 <= late.execs < BATCHES * SIZE
    assert looked(later).proof is Proof.NOT_PROVED


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("changed", [1, 2, UNRELATED])
def test_what_led_to_the_range_is_verified(tmp_path: Path, changed: int) -> None:
    """A parent from before the range is a part of the record, and so are its own parents."""
    path = tmp_path / "h.db"
    make_key(path)
    with Store(path) as store:
        begin_run(store)
        first = make_event(b"init", seconds=0)
        second = make_event(b"shell", seconds=1, parent=first.key)
        store.append([first])
        store.append([second])
        go_on(store, 30, after=LATER)
        store.append([make_event(b"late", seconds=LATER * SIZE + 200, parent=second.key)])
        store.end_run(at(10_000_000))
    assert looked(path, since=LATER * SIZE + 150).proof is Proof.PROVED
    change(path, "UPDATE exec SET tid = 9 WHERE id = ?", changed)

    # What is in a segment with an ancestor is verified with it; what is in another is not.
    expected = Proof.PROVED if changed == UNRELATED else Proof.NOT_PROVED
    assert looked(path, since=LATER * SIZE + 150).proof is expected


@pytest.mark.usefixtures("key")
def test_what_was_recorded_with_another_clock(later: Path) -> None:
    """Execs that are far from their seals in time are verified all the same."""
    change(later, "UPDATE exec SET pid = 7 WHERE id = 32")

    assert looked(later, since=LATER * SIZE + 30).proof is Proof.NOT_PROVED


@pytest.mark.usefixtures("key")
def test_what_was_sealed_after_the_range_is_a_part_of_it(path: Path) -> None:
    """There may be an end of one of its programs, a gap or a hit."""
    change(path, "DELETE FROM exec WHERE id = (SELECT max(id) FROM exec)")

    assert looked(path, since=30).problems


@pytest.mark.usefixtures("key")
def test_what_was_sealed_before_there_was_a_key_is_only_unbroken(tmp_path: Path) -> None:
    """Of a range with both as well; what came with the key is proved."""
    path = tmp_path / "h.db"
    sealed_history(path, 8, key=None)
    make_key(path)
    with Store(path) as store:
        begin_run(store)
        go_on(store, 8, after=LATER)
        store.end_run(at(10_000_000))

    assert looked(path).proof is Proof.UNBROKEN
    assert looked(path, since=LATER * SIZE).proof is Proof.PROVED


@pytest.mark.usefixtures("key")
def test_the_newest_recorder_lost_its_key(tmp_path: Path) -> None:
    """Then nothing is proved, whatever the older seals say."""
    path = sealed_history(tmp_path / "h.db", 8)
    (tmp_path / "h.db.seal").unlink()
    with Store(path) as store:
        begin_run(store)
        go_on(store, 3, after=8)
        store.end_run(at(10_000_000))
    found = looked(path)

    assert (found.proof, found.is_keyed) == (Proof.NOT_PROVED, False)


def test_a_history_that_is_not_sealed_says_so(path: Path) -> None:
    """One whose seals somebody took away, too."""
    with changing(path) as connection:
        connection.execute("DELETE FROM seal")
    found = stats(path)

    assert (found["proof"], found["head"], found["time"]) == ("not_sealed", None, None)
    assert b"\nnot sealed: " in execaudit("--db", path, "stats").out
    assert stats(path, "--verify", status=4)["proof"] == "not_sealed"


@pytest.mark.parametrize("options", [("--verify", "--key=@/nowhere"), ("--key=@/nowhere",)])
def test_a_key_that_cannot_be_used(path: Path, tmp_path: Path, options: Sequence[str]) -> None:
    """Nothing is written then."""
    done = execaudit("--db", path, "export", "-o", tmp_path / "x.csv", *options)

    assert done.status != 0
    assert b"Traceback" not in done.err
    assert not (tmp_path / "x.csv").exists()


def test_the_key_of_another_history(path: Path, tmp_path: Path, key: str) -> None:
    """As `verify` has it: 4, and one line."""
    other = sealed_history(tmp_path / "other.db", 2, key=None)
    done = execaudit("--db", other, "stats", "--verify", key)

    assert (done.status, done.failed_in_one_line()) == (4, True)
    del path


@pytest.mark.parametrize("fmt", ["csv", "parquet"])
def test_a_file_beside_has_the_seal(path: Path, key: str, tmp_path: Path, fmt: str) -> None:
    """Where the format itself has no place for it."""
    _, done = exported(path, tmp_path, f"x.{fmt}", "--verify", key)
    (found,) = json.loads((tmp_path / "x.seal.json").read_text())

    assert (done.status, found["kind"], found["proof"]) == (0, "sealed", "proved")
    assert b"\nproved: all is as it was sealed" in b"\n" + done.err


def test_parquet_has_it_in_its_metadata(path: Path, tmp_path: Path) -> None:
    """Under a name of its own."""
    parquet = pytest.importorskip("pyarrow.parquet")
    exported(path, tmp_path, "x.parquet")
    metadata = parquet.read_schema(tmp_path / "x.parquet").metadata

    assert json.loads(metadata[b"execaudit.seals"]) == json.loads((tmp_path / "x.seal.json").read_text())


def test_each_other_format_has_a_place(path: Path, tmp_path: Path) -> None:
    """JSON lines and documents at the end, a trace in what it says of itself."""
    line = json.loads(exported(path, tmp_path, "x.jsonl")[0].splitlines()[-1])
    ecs = json.loads(exported(path, tmp_path, "x.ecs.json")[0].splitlines()[-1])
    ocsf = json.loads(exported(path, tmp_path, "x.ocsf.json")[0].splitlines()[-1])
    trace = json.loads(exported(path, tmp_path, "x.trace")[0])

    assert line["kind"] == "sealed"
    assert ecs["execaudit"]["seal"]["head"] == line["head"]
    assert (ecs["event"]["action"], ecs["@timestamp"]) == ("sealed", line["time"])
    assert (ocsf["activity_name"], ocsf["unmapped"]["head"]) == ("Sealed", line["head"])
    assert json.loads(trace["otherData"]["seals"]) == [line]


@pytest.mark.parametrize("name", ["x.jsonl", "x.ecs.json"])
def test_an_import_passes_over_it(path: Path, tmp_path: Path, name: str) -> None:
    """It is no reject, also of a history that is not sealed."""
    with changing(path) as connection:
        connection.execute("DELETE FROM seal")
    exported(path, tmp_path, name)
    done = execaudit(
        "--db", tmp_path / "copy.db", "import", tmp_path / name, "--rejects", tmp_path / "rejects"
    )

    assert done.status == 0, done.err
    assert f"imported {BATCHES * SIZE}".encode() in done.out + done.err
    assert not (tmp_path / "rejects").exists() or not (tmp_path / "rejects").read_bytes()


def test_chosen_columns_have_no_place_for_it(path: Path, tmp_path: Path) -> None:
    """As for gaps; standard error says what was asked for."""
    lines, done = exported(path, tmp_path, "x.jsonl", "--columns", "pid", "--verify")

    assert {"pid"} == {name for line in lines.splitlines() for name in json.loads(line)}
    assert b"unbroken: all is as it was sealed" in done.err


def test_a_report_says_whether_it_is_proved(path: Path, key: str, tmp_path: Path) -> None:
    """In a section of its own, and on standard error; in its data too, which the hash is of."""
    done = execaudit("--db", path, "report", "-o", tmp_path / "r.html", "--verify", key)
    text = (tmp_path / "r.html").read_text()
    data = json.loads(next(line for line in text.splitlines() if line.startswith('{"format":1')))

    assert done.status == 0
    assert re.search(r"<li>Sealed until [-0-9:. ]+, head 0001020304050607-", text)
    assert "<li>Proved: all is as it was sealed" in text
    assert data["seals"][0]["proof"] == "proved"
    assert b"proved: all is as it was sealed" in done.err


def test_a_report_that_is_not_proved_begins_with_that(path: Path, tmp_path: Path) -> None:
    """And is written all the same."""
    change(path, "UPDATE exec SET pid = 7 WHERE id = 40")
    done = execaudit("--db", path, "report", "-o", tmp_path / "r.html", "--verify")
    text = (tmp_path / "r.html").read_text()

    assert done.status == 4
    assert '<p class="warning">This report is not proved' in text
    assert "<li>Changed: something in exec " in text


@pytest.mark.usefixtures("key")
def test_marked_execs_are_verified_wherever_they_are(later: Path) -> None:
    """They are in the report, whatever the range."""
    change(later, "UPDATE exec SET ppid = 9 WHERE id = 1")

    assert looked(later, since=LATER * SIZE + 50).proof is Proof.PROVED
    assert looked(later, since=LATER * SIZE + 50, marks=[1]).proof is Proof.NOT_PROVED


def test_a_terminal_shows_how_far_it_is(path: Path) -> None:
    """As `verify` does, on standard error."""
    assert b"Verifying" in on_terminal("--db", path, "stats", "--verify", "--no-pager", stderr=True).out
    assert b"Verifying" not in execaudit("--db", path, "stats", "--verify").err
