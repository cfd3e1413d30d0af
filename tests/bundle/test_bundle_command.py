"""`export --bundle` and `verify FILE`, as people and programs use them."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from execaudit.bundle import layout
from tests.bundle.bundles import files_of, lines_of, put_together, rich_history, with_lines
from tests.commands import as_nobody, execaudit, on_terminal
from tests.nobody import public_folder
from tests.seal.histories import KEY, changing

if TYPE_CHECKING:
    from pathlib import Path

    from tests.commands import Finished


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed history with records of each kind."""
    return rich_history(tmp_path_factory.mktemp("history") / "h.db")


@pytest.fixture
def bundle(history: Path, tmp_path: Path) -> Path:
    """A bundle of all of it."""
    done = export(history, tmp_path / "b.zip")
    assert done.status == 0, done.err
    return tmp_path / "b.zip"


@pytest.fixture
def key(tmp_path: Path) -> str:
    """The option for its key."""
    (tmp_path / "key").write_text(KEY.to_text())
    return f"--key=@{tmp_path / 'key'}"


def export(history: Path, bundle: Path, *options: str | Path) -> Finished:
    """Writes a bundle."""
    return execaudit("--db", history, "export", "--bundle", bundle, *options)


def verify(bundle: Path, *options: str, status: int = 0) -> dict[str, Any]:
    """Returns what `verify` says as JSON."""
    done = execaudit("verify", bundle, "--format=json", *options)
    assert done.status == status, (done.out, done.err)
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_programs_are_told_as_of_a_history(history: Path, bundle: Path, key: str) -> None:
    """With the same names, and more."""
    found = verify(bundle, key)
    of_history = json.loads(execaudit("--db", history, "verify", "--format=json", key).out)

    assert of_history.keys() <= found.keys()
    assert found["head"] == of_history["head"]
    assert found["sealed_until"] == of_history["sealed_until"]
    assert (found["verified"], found["authentic"]) == (True, True)
    assert (found["execs"], found["records"], len(found["gaps"])) == (49, 49, 6)
    assert (found["by_key"], found["by_head"]) == (55, None)
    assert found["problems"] == []


def test_what_who_made_it_says_is_there(bundle: Path, history: Path) -> None:
    """The query as it was given and understood, versions, the host; and no secret of it."""
    said = verify(bundle)["said"]
    machine_id = b""
    try:
        with open("/etc/machine-id", "rb") as file:  # noqa: PTH123  # as anybody does
            machine_id = file.read().strip()
    except FileNotFoundError:
        pass

    assert said["query"]["arguments"][-2] == "--bundle"
    assert said["query"]["until"].endswith("Z")
    assert said["host"]["boot_ids"] == ["11111111-2222-4333-8444-555555555555"]
    assert said["not_recorded"][-1]["to"] is None
    assert str(history) in said["query"]["arguments"]
    assert not machine_id or machine_id.decode() not in json.dumps(said)


def test_people_are_told(bundle: Path, key: str) -> None:
    """In lines: what is proved, by whom, and what is not."""
    text = execaudit("verify", bundle, key).out.decode()
    without = execaudit("verify", bundle).out.decode()

    assert text.startswith("verified: 49 records are as sealed, until ")
    assert "authentic: the key vouches for all records and gaps" in text
    assert "not proved: that nothing was left out that matched" in text
    assert "who made it says: execaudit " in text
    assert "not authentic, only unbroken: give the verification key (--key), or a head" in without
    assert b"gap: 7 execs missed" in execaudit("verify", bundle, key).err


def test_a_head_that_was_noted(bundle: Path, history: Path) -> None:
    """As `seal status` printed it."""
    head = json.loads(execaudit("--db", history, "seal", "status", "--format=json").out)["head"]

    assert verify(bundle, f"--head={head}")["by_head"] == 55
    assert b"the head vouches for 55 of 55" in execaudit("verify", bundle, f"--head={head}").out
    assert execaudit("verify", bundle, "--head=x").status == 1


def test_a_change_is_said_and_placed(bundle: Path, tmp_path: Path, key: str) -> None:
    """By the line of the record, in words and as JSON; with status 4."""
    files = files_of(bundle.read_bytes())
    lines = lines_of(files, layout.RECORDS)
    forged = put_together(
        tmp_path / "forged.zip",
        with_lines(files, layout.RECORDS, [lines[0], {**lines[1], "user": "nobody"}, *lines[2:]]),
    )
    done = execaudit("verify", forged, key)
    found = verify(forged, key, status=4)

    assert done.status == 4
    assert b"NOT VERIFIED, until " in done.out
    assert b"changed: records.jsonl 2 is not as it was sealed" in done.out
    assert found["problems"][0] == {
        "kind": "changed", "table": "records.jsonl", "first": 2, "last": 2, "from": None, "to": None,
    }  # fmt: skip
    assert (found["verified"], found["execs"], found["records"]) == (False, 48, 49)


def test_it_needs_neither_history_nor_root(bundle: Path) -> None:
    """Any user verifies it, anywhere; --db is not looked at."""
    with public_folder() as folder:
        shutil.copy(bundle, folder / "b.zip")
        (folder / "b.zip").chmod(0o644)
        done = as_nobody("--db=/nowhere", "verify", folder / "b.zip")

    assert done.status == 0, done.err


@pytest.mark.parametrize(
    "options",
    [["--format=csv"], ["-o", "x"], ["--columns=pid"], ["--raw"], ["--bom"], ["--reverse"], ["--verify"]],
)
def test_other_forms_exclude_it(history: Path, tmp_path: Path, options: list[str]) -> None:
    """A bundle has its own."""
    done = export(history, tmp_path / "b.zip", *options)

    assert done.status == 2
    assert b"--bundle has a form of its own" in done.err
    assert not (tmp_path / "b.zip").exists()


@pytest.mark.parametrize(
    "options", [["--since=today"], ["--state=x"], ["--against=postgresql://h/d"], ["--tsa=x"]]
)
def test_what_is_for_histories(bundle: Path, options: list[str]) -> None:
    """A bundle is none."""
    assert execaudit("verify", bundle, *options).status == 2


def test_sparse_is_for_bundles(history: Path, tmp_path: Path) -> None:
    """Alone it means nothing."""
    assert execaudit("--db", history, "export", "--sparse").status == 2
    assert export(history, tmp_path / "b.zip", "--sparse").status == 0


def test_a_central_database_has_no_bundles(tmp_path: Path) -> None:
    """One line says so."""
    done = execaudit("--db=postgresql://h/d", "export", "--bundle", tmp_path / "b.zip")

    assert done.status == 2
    assert done.failed_in_one_line()


def test_a_file_that_is_there_stays(history: Path, tmp_path: Path) -> None:
    """Unless --force is given."""
    path = tmp_path / "b.zip"
    path.write_bytes(b"mine")

    assert (export(history, path).status, path.read_bytes()) == (1, b"mine")
    assert export(history, path, "--force").status == 0
    assert verify(path)["verified"]
    assert [each.name for each in tmp_path.iterdir()] == ["b.zip"]


def test_a_pipe_is_no_place_for_it(history: Path) -> None:
    """What is in it is found from its end."""
    done = execaudit("--db", history, "export", "--bundle", "/dev/stdout")

    assert (done.status, done.failed_in_one_line()) == (1, True)


def test_a_history_without_seals(tmp_path: Path) -> None:
    """Its records can be bundled, and that proves nothing: 4, as of such a history."""
    path = rich_history(tmp_path / "h.db", None)
    with changing(path) as connection:
        for table in ("seal", "seal_chain", "seal_act", "seal_gone"):
            connection.execute(f"DELETE FROM {table}")
    done = export(path, tmp_path / "b.zip")

    assert done.status == 0
    assert b"nothing is sealed here: the bundle proves nothing" in done.err
    assert execaudit("verify", tmp_path / "b.zip").out.startswith(
        b"NOT VERIFIED: nothing is sealed in this bundle"
    )
    assert verify(tmp_path / "b.zip", status=4)["verified"] is False


def test_terminals_show_how_far_it_is(history: Path, bundle: Path, tmp_path: Path) -> None:
    """A bar for each part."""
    shown = on_terminal("--db", history, "export", "--bundle", tmp_path / "c.zip", stderr=True).out

    assert b"Writing" in shown
    assert b"Proving" in shown
    assert b"Verifying" in on_terminal("verify", bundle, stderr=True).out
