"""`verify`: what it says, for people and for programs, and how it ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from execaudit.seal.key_file import path_of
from execaudit.seal.keys import VerificationKey
from execaudit.store import sealing
from execaudit.store.writer import Store
from tests.commands import EXECAUDIT, execaudit, on_terminal
from tests.histories import at, begin_run, make_event, make_exit, make_gap
from tests.seal.histories import KEY, change, changing, go_on, sealed_history

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FORGOTTEN = VerificationKey(b"x" * 16, b"y" * 32)


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small history has several."""
    monkeypatch.setattr(sealing, "_MOST_ENTRIES", 4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A sealed history of several segments."""
    return sealed_history(tmp_path / "h.db", 20)


@pytest.fixture
def key(tmp_path: Path) -> str:
    """The option for its key."""
    (tmp_path / "key").write_text(KEY.to_text() + "\n")
    return f"--key=@{tmp_path / 'key'}"


def verify(path: Path, *options: str, status: int = 0, **how: Any) -> dict[str, Any]:  # noqa: ANN401  # Popen's
    """Returns what `verify` says as JSON."""
    done = execaudit("--db", path, "verify", "--format=json", *options, **how)
    assert done.status == status, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def head_of(path: Path) -> str:
    """Returns the head of a history."""
    return str(json.loads(execaudit("--db", path, "seal", "status", "--format=json").out)["head"])


def test_a_history_as_it_was_sealed(path: Path, key: str) -> None:
    """All that is promised to programs is there."""
    found = verify(path, key)

    assert found["verified"] is True
    assert found["authentic"] is True
    assert found["execs"] == 60
    assert found["head"] == head_of(path)
    assert found["sealed_until"].endswith("Z")
    assert (found["problems"], found["pruned"]) == ([], [])


def test_people_are_told_the_same(path: Path, key: str) -> None:
    """In lines on standard output."""
    text = execaudit("--db", path, "verify", key).out.decode()

    assert text.startswith("verified: 60 execs are as sealed, until ")
    assert "authentic: the key vouches for it" in text
    assert f"head: {head_of(path)}" in text


def test_without_a_key_it_is_only_unbroken(path: Path, tmp_path: Path) -> None:
    """Whether there is none, or it was not given."""
    without = sealed_history(tmp_path / "i.db", 3, key=None)

    assert verify(path)["authentic"] is None
    assert verify(without)["authentic"] is None
    assert b"give the verification key" in execaudit("--db", path, "verify").out
    assert b"there is no key" in execaudit("--db", without, "verify").out


def test_a_changed_row_is_placed(path: Path, key: str) -> None:
    """Table, rows and times; and from when on nothing can be trusted."""
    change(path, "UPDATE exec SET pid = 7 WHERE id = 31")
    (problem,) = verify(path, key, status=4)["problems"]
    done = execaudit("--db", path, "verify", key)

    assert (problem["kind"], problem["table"]) == ("changed", "exec")
    assert problem["first"] <= 31 <= problem["last"]
    assert problem["from"] < problem["to"]
    assert done.status == 4
    assert done.out.startswith(b"NOT VERIFIED, until ")
    assert b"what was sealed before" in done.out
    assert b"changed: something in exec " in done.out


@pytest.mark.parametrize(
    ("sql", "table"),
    [
        ("DELETE FROM argv_used", "argv_used"),
        ("UPDATE argv_used SET ids = x'4901000000'", "argv_used"),
        ("UPDATE argv_used SET ids = x'00'", "argv_used"),
        ("UPDATE argv_used SET ids = CAST(ids || substr(ids, -4) AS BLOB)", "argv_used"),
        ("UPDATE argv_used SET ids = CAST(ids || x'ffffff7f' AS BLOB)", "argv_used"),
        ("UPDATE meta SET value = CAST(2 AS BLOB) WHERE key = 'argv_used'", "meta"),
        ("UPDATE meta SET value = CAST(0 AS BLOB) WHERE key = 'argv_used'", "meta"),
        ("UPDATE meta SET value = CAST(1 AS BLOB) WHERE key = 'argv_grams'", "meta"),
        ("DELETE FROM meta WHERE key = 'argv_used'", "meta"),
    ],
)
def test_what_leads_to_command_lines_is_checked(tmp_path: Path, sql: str, table: str) -> None:
    """A search that leaves lines out would hide them as well as a deletion."""
    path = tmp_path / "h.db"
    with Store(path) as store:
        begin_run(store)
        store.append([make_event(b"run", b"%d" % number, pid=1 + number) for number in range(5000)])
        while store.index():
            pass
    assert verify(path)["problems"] == []
    change(path, sql)

    assert table in {problem["table"] for problem in verify(path, status=4)["problems"]}


def hide_from_index(path: Path, index: str, number: int) -> None:
    """Takes a row out of an index, as who knows SQLite's format can."""
    with changing(path) as connection:
        (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (index,)).fetchone()
        connection.execute(f"DROP INDEX {index}")
        connection.execute(f"{sql} WHERE id <> {number}")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", (sql, index))


@pytest.mark.parametrize("options", [(), ("--since=@1",), ("--state=STATE",)])
def test_an_index_that_hides_a_row_is_found(path: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    """SQLite believes its index: a question by pid does not find the exec."""
    hide_from_index(path, "ix_exec_pid", 31)
    given = [option.replace("STATE", str(tmp_path / "state")) for option in options]
    found = verify(path, *given, status=4)

    assert execaudit("--db", path, "query", "--pid=31").rows() == []
    assert {(problem["kind"], problem["table"]) for problem in found["problems"]} == {("changed", "exec")}


@pytest.mark.parametrize("options", [(), ("--since=@1",), ("--since=now",)])
def test_an_index_that_hides_an_end_is_found(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Else a program that ended would be shown as one that runs. Also in the newest segment."""
    path = tmp_path / "h.db"
    with Store(path) as store:
        begin_run(store)
        events = [make_event(b"run", seconds=number, pid=1 + number) for number in range(8)]
        for event in events:
            store.append([event])
            store.append([], (), [make_exit(event.key, 20)])
    with changing(path) as connection:
        (last,) = connection.execute("SELECT max(id) FROM exit").fetchone()
    assert verify(path, *options)["problems"] == []
    hide_from_index(path, "ix_exit_exec", last)

    assert {each["table"] for each in verify(path, *options, status=4)["problems"]} == {"exit"}


@pytest.mark.parametrize(
    ("sql", "kind", "table"),
    [
        ("UPDATE exec SET pid = pid + 1", "changed", "exec"),
        ("UPDATE exec SET uid = uid + 1", "changed", "exec"),
        ("UPDATE seg SET ts_max = ts_min - 1", "changed", "seg"),
        ("INSERT INTO argv_cut SELECT id, 1, 1, '[]', NULL FROM exec", "changed", "argv_cut"),
    ],
)
def test_what_was_changed_as_a_whole_is_one_problem(path: Path, sql: str, kind: str, table: str) -> None:
    """Each row is: so any number of rows takes as much memory, and as many lines."""
    change(path, sql)
    (problem,) = verify(path, status=4)["problems"]

    assert (problem["kind"], problem["table"]) == (kind, table)
    assert (problem["first"], problem["last"]) == (1, 60)


def test_a_history_that_nobody_can_read_is_a_failure(tmp_path: Path) -> None:
    """Of the question, not of the history: 1, not 4."""
    done = execaudit("--db", tmp_path / "none.db", "verify")

    assert (done.status, done.failed_in_one_line()) == (1, True)


@pytest.mark.parametrize("name", ["none", "wrong", "binary", "folder"])
def test_a_key_that_cannot_be_read(path: Path, tmp_path: Path, name: str) -> None:
    """A line says which, and not what is in it."""
    (tmp_path / "wrong").write_text("EXECAUDIT-VERIFY-1-SECRET\n")
    (tmp_path / "binary").write_bytes(b"EXECAUDIT-VERIFY-1-SECRET\xff\0")
    (tmp_path / "folder").mkdir()
    done = execaudit("--db", path, "verify", f"--key=@{tmp_path / name}")

    assert (done.status, done.failed_in_one_line()) == (1, True)
    assert b"SECRET" not in done.err


def test_a_key_of_another_history(path: Path, tmp_path: Path) -> None:
    """Nothing shows that it is not this history that was replaced."""
    (tmp_path / "key").write_text(FORGOTTEN.to_text())
    done = execaudit("--db", path, "verify", f"--key=@{tmp_path / 'key'}")

    assert (done.status, done.failed_in_one_line()) == (4, True)


def test_a_chain_without_its_key_is_told_what_to_give(path: Path, key: str) -> None:
    """The first key does not vouch for what a second one sealed."""
    assert execaudit("--db", path, "seal", "setup", "--new-key").status == 0
    done = execaudit("--db", path, "verify", key)

    assert done.status == 4
    assert b"no key that was given vouches for all of it: give the key of each chain (--key)" in done.out


def test_a_key_in_the_command_line_is_warned_of(path: Path) -> None:
    """It would be recorded with it."""
    done = execaudit("--db", path, "verify", f"--key={KEY.to_text()}")

    assert done.status == 0
    assert done.err.startswith(b"warning: a key in the command line is recorded")


def test_a_key_from_standard_input(path: Path, key: str) -> None:
    """So that it need not be stored where the history is."""
    with open(key.partition("@")[2], "rb") as file:  # noqa: PTH123  # as a shell does
        assert verify(path, "--key=@-", stdin=file)["authentic"] is True


def test_a_wrong_key_with_the_right_name(path: Path, tmp_path: Path) -> None:
    """Then the codes do not fit: somebody else sealed it."""
    (tmp_path / "key").write_text(KEY._replace(root=b"z" * 32).to_text())
    found = verify(path, f"--key=@{tmp_path / 'key'}", status=4)

    assert found["authentic"] is False
    assert {problem["kind"] for problem in found["problems"]} == {"forged"}


def test_a_head_is_in_the_history(path: Path, key: str) -> None:
    """One that was noted earlier, and the newest; also where only the last is looked at."""
    first = head_of(path)
    with Store(path) as store:
        begin_run(store)
        go_on(store, 20, after=20)
    heads = [f"--head={each}" for each in (first, head_of(path))]

    assert verify(path, key, *heads)["problems"] == []
    assert verify(path, "--since=now", *heads)["problems"] == []


def test_a_history_that_was_put_back_lacks_a_head(path: Path, key: str) -> None:
    """Seals and key file together, which fit."""
    kept = {each: each.read_bytes() for each in (path, path_of(path))}
    with Store(path) as store:
        begin_run(store)
        go_on(store, 2, after=20)
    later = head_of(path)
    for each, content in kept.items():
        each.write_bytes(content)
    with Store(path) as store:
        begin_run(store)
        go_on(store, 4, after=30)

    assert verify(path, key)["verified"] is True
    assert [each["kind"] for each in verify(path, key, f"--head={later}", status=4)["problems"]] == ["forged"]
    of_future = f"{later.split('-')[0]}-999-{later.split('-')[2]}"
    assert [each["kind"] for each in verify(path, f"--head={of_future}", status=4)["problems"]] == ["cut"]


@pytest.mark.parametrize("head", ["", "x", "a-1-b", f"{'a' * 16}-{'9' * 5000}-{'b' * 64}"])
def test_no_head(path: Path, head: str) -> None:
    """A line says so."""
    done = execaudit("--db", path, "verify", f"--head={head}")

    assert (done.status, done.failed_in_one_line()) == (1, True)


def test_it_goes_on_where_it_had_verified(path: Path, key: str, tmp_path: Path) -> None:
    """With --state, only what came since is read."""
    state = f"--state={tmp_path / 'state'}"
    whole = verify(path, key, state)["execs"]
    again = verify(path, key, state)["execs"]
    with Store(path) as store:
        begin_run(store)
        go_on(store, 10, after=20)
    more = verify(path, key, state)["execs"]

    assert whole == 60
    assert again <= 12
    assert 30 <= more <= 42
    assert verify(path, key)["execs"] == 90


def replace_all(path: Path) -> None:
    """Makes another history there, which is sealed too."""
    path.unlink()
    path_of(path).unlink()
    sealed_history(path, 20, key=None)


@pytest.mark.parametrize(
    ("attack", "kind"),
    [
        (lambda path: change(path, "DELETE FROM seal WHERE id > 2"), "cut"),
        (lambda path: change(path, "UPDATE seal SET hash = zeroblob(32)"), "forged"),
        (replace_all, "forged"),
    ],
)
def test_what_was_verified_must_still_be_there(
    path: Path, tmp_path: Path, attack: Callable[[Path], object], kind: str
) -> None:
    """Cut off, changed, or replaced by another history. The state stays as it was."""
    state = tmp_path / "state"
    verify(path, f"--state={state}")
    before = state.read_bytes()
    attack(path)
    found = verify(path, f"--state={state}", status=4)

    assert found["problems"][0]["kind"] == kind
    assert found["problems"][0]["table"] == "seal"
    assert state.read_bytes() == before


def test_what_was_verified_without_a_key_is_verified_again_with_one(
    path: Path, key: str, tmp_path: Path
) -> None:
    """It was only unbroken."""
    state = f"--state={tmp_path / 'state'}"

    assert verify(path, state)["execs"] == 60
    assert verify(path, key, state)["execs"] == 60
    assert verify(path, key, state)["execs"] < 60
    assert verify(path, state)["execs"] < 60


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "null", '{"segment": true}', "[" * 9999, "\xff" * 20_000]
)
def test_a_state_that_is_none(path: Path, tmp_path: Path, content: str) -> None:
    """A line says so, and the file stays."""
    state = tmp_path / "state"
    state.write_text(content)
    done = execaudit("--db", path, "verify", f"--state={state}")

    assert (done.status, done.failed_in_one_line()) == (1, True)
    assert state.read_text() == content


def test_since_reads_only_what_was_sealed_from_then_on(path: Path) -> None:
    """A bad row before is not seen, one after is."""
    change(path, "UPDATE exec SET pid = 7 WHERE id = 2")

    assert verify(path, "--since=now")["execs"] < 60
    assert verify(path, "--since=@1", status=4)["problems"]


def test_gaps_are_told(tmp_path: Path) -> None:
    """As records and as lines."""
    path = tmp_path / "h.db"
    with Store(path) as store:
        begin_run(store)
        store.append([], [make_gap(1, 2)])
        store.end_run(at(3))
    (gap, after) = verify(path)["gaps"]

    assert (gap["reason"], gap["count"]) == ("ring_full", 7)
    assert after["to"] is None
    assert b"gap: 7 execs missed" in execaudit("--db", path, "verify").err


def test_a_terminal_shows_how_far_it_is(path: Path) -> None:
    """A bar on standard error, and not in what is piped."""
    assert b"Verifying" in on_terminal("--db", path, "verify", stderr=True).out
    assert b"Verifying" not in execaudit("--db", path, "verify").err


def test_the_result_is_the_same_on_any_number_of_processors(path: Path) -> None:
    """Also with one, and more than there are parts."""
    change(path, "UPDATE exec SET pid = 7 WHERE id IN (2, 31)")
    alone = verify(path, status=4, before=("taskset", "--cpu-list", "0", *EXECAUDIT))

    assert alone == verify(path, status=4)
    assert len(alone["problems"]) == 2
