"""`seal setup`: the verification key leaves the host once, and sealing begins with it at once."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

import pytest

from execaudit.enums import ChainReason
from execaudit.seal.key_file import KeyFile, LostKeyError, path_of
from execaudit.seal.keys import SealingKey, VerificationKey
from execaudit.store.writer import Store
from tests.commands import as_nobody, execaudit, on_terminal
from tests.histories import begin_run
from tests.nobody import public_folder
from tests.seal.histories import KEY, change, go_on, sealed_history

if TYPE_CHECKING:
    from pathlib import Path

    from tests.commands import Finished


def status(path: Path) -> dict[str, object]:
    """Returns what `seal status` says."""
    found: dict[str, object] = json.loads(execaudit("--db", path, "seal", "status", "--format=json").out)
    return found


def key_of(done: Finished) -> VerificationKey:
    """Returns the key that a command has printed."""
    assert done.status == 0, done.err
    (line,) = done.out.decode().splitlines()
    return VerificationKey.from_text(line)


def verified(path: Path, *keys: VerificationKey) -> tuple[int, dict[str, object]]:
    """Returns the exit status of `verify` with keys, and what it says."""
    options = []
    for number, key in enumerate(keys):
        file = path.with_name(f"{number}.key")
        file.write_text(key.to_text())
        options += ["--key", f"@{file}"]
    done = execaudit("--db", path, "verify", "--format=json", *options)
    return done.status, json.loads(done.out)


def test_the_key_vouches_for_what_is_recorded_from_then_on(tmp_path: Path) -> None:
    """Before the first recorder: it makes the history, with which a recorder goes on."""
    path = tmp_path / "h.db"
    key = key_of(execaudit("--db", path, "seal", "setup"))
    first = status(path)
    with Store(path) as store:
        begin_run(store)
        go_on(store, 3)
    code, found = verified(path, key)

    assert first["keyed"] is True
    assert first["epoch"] == 0
    assert (code, found["verified"], found["authentic"], found["execs"]) == (0, True, True, 9)


def test_a_history_without_a_key_gets_one(tmp_path: Path) -> None:
    """What was there stays unbroken; the key vouches for what comes, even if nothing does."""
    path = sealed_history(tmp_path / "h.db", 3, key=None)
    before = status(path)
    done = execaudit("--db", path, "seal", "setup")
    after = status(path)
    code, found = verified(path, key_of(done))

    assert (before["keyed"], after["keyed"], after["reason"]) == (False, True, ChainReason.SETUP.value)
    assert str(after["head"]).encode() in done.err
    assert (code, found["authentic"]) == (0, True)


def test_a_recorder_that_runs_uses_the_key_at_once(tmp_path: Path) -> None:
    """It need not be started again."""
    path = tmp_path / "h.db"
    with Store(path) as store:
        begin_run(store)
        go_on(store, 2)
        key = key_of(execaudit("--db", path, "seal", "setup"))
        go_on(store, 2, after=2)
        assert (seal := store.sealer.newest()) is not None
        assert seal.chain.reason == ChainReason.SETUP.value
        other = key_of(execaudit("--db", path, "seal", "setup", "--new-key"))
        go_on(store, 2, after=4)
        code, found = verified(path, key, other)

    assert (code, found["authentic"], found["execs"]) == (0, True, 18)
    assert [chain["keyed"] for chain in found["chains"]] == [False, True, True]  # type: ignore[attr-defined]  # JSON
    assert status(path)["reason"] == ChainReason.OTHER_KEY.value


def test_a_second_setup_is_refused(tmp_path: Path) -> None:
    """A new key by mistake would leave the old one's chain without its end."""
    path = sealed_history(tmp_path / "h.db", 1)
    before = path_of(path).read_bytes()
    done = execaudit("--db", path, "seal", "setup")

    assert (done.status, done.failed_in_one_line()) == (1, True)
    assert b"--new-key" in done.err
    assert path_of(path).read_bytes() == before


def test_a_new_key_leaves_nothing_of_the_old_one(tmp_path: Path) -> None:
    """Who still has the old file open finds no key in it."""
    path = sealed_history(tmp_path / "h.db", 1)
    with path_of(path).open("rb") as old:
        key = key_of(execaudit("--db", path, "seal", "setup", "--new-key"))
        assert set(old.read()) == {0}
    code, found = verified(path, KEY, key)

    assert (code, found["authentic"]) == (0, True)
    # Nobody whose key was given vouches for what the old one sealed.
    assert verified(path, key)[1]["authentic"] is False


def test_the_key_file_is_the_owners_alone(tmp_path: Path) -> None:
    """Its mode, whatever the umask is; and root gives it to whose database it is."""
    path = sealed_history(tmp_path / "h.db", 1, key=None)
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    execaudit("--db", path, "seal", "setup", umask=0)
    found = path_of(path).stat()

    assert stat.S_IMODE(found.st_mode) == 0o600
    assert (found.st_uid, found.st_gid) == (path.stat().st_uid, path.stat().st_gid)
    assert [*tmp_path.glob("*.new")] == []


def test_a_file_on_this_host_is_warned_of(tmp_path: Path) -> None:
    """Who keeps it there can forge seals; a pipe is not told from one that leads away."""
    with (tmp_path / "key").open("wb") as file:
        done = execaudit("--db", tmp_path / "h.db", "seal", "setup", stdout=file)

    assert b"warning: " in done.err
    assert VerificationKey.from_text((tmp_path / "key").read_text())
    assert b"warning: " not in execaudit("--db", tmp_path / "i.db", "seal", "setup").err


def test_a_terminal_shows_a_qr_code(tmp_path: Path) -> None:
    """Dark on a bright ground, whatever the terminal's colours; not with --no-qr; and the key as text."""
    env = {"PYTHONIOENCODING": "utf-8", "LC_ALL": "C.UTF-8"}
    shown = on_terminal("--db", tmp_path / "h.db", "seal", "setup", env=env).out.decode()
    plain = on_terminal("--db", tmp_path / "i.db", "seal", "setup", "--no-qr", env=env).out.decode()
    lines = [line for line in shown.splitlines() if "\x1b[97;40m" in line]

    assert VerificationKey.from_text(shown.splitlines()[0])
    assert len(lines) > 20
    assert len({len(line) for line in lines}) == 1
    assert len(plain.splitlines()) == 1


def test_without_its_package_a_line_says_what_to_install(tmp_path: Path) -> None:
    """The key is made all the same."""
    (tmp_path / "segno.py").write_text("raise ImportError")
    shown = on_terminal("--db", tmp_path / "h.db", "seal", "setup", env={"PYTHONPATH": str(tmp_path)})

    assert b"execaudit[qr]" in shown.err
    assert VerificationKey.from_text(shown.out.decode())


def test_who_may_not_write_is_told_in_one_line() -> None:
    """Before a key is shown that nobody has use for."""
    with public_folder() as folder:
        path = sealed_history(folder / "h.db", 1, key=None)
        path.chmod(0o644)
        done = as_nobody("--db", path, "seal", "setup")

        assert (done.status, done.failed_in_one_line()) == (1, True)
        assert not path_of(path).exists()


def test_a_key_that_cannot_be_shown_is_not_made(tmp_path: Path) -> None:
    """A history that nobody can verify would be worse than one without a key."""
    path = sealed_history(tmp_path / "h.db", 1, key=None)
    with open("/dev/full", "wb") as full:  # noqa: PTH123  # a device
        done = execaudit("--db", path, "seal", "setup", stdout=full)

    assert done.status == 1
    assert not path_of(path).exists()
    assert status(path)["keyed"] is False


def test_a_lost_key_is_said_loudly(tmp_path: Path) -> None:
    """By `status` and by `verify`, until there is a new one."""
    path = sealed_history(tmp_path / "h.db", 2)
    path_of(path).unlink()
    with Store(path) as store:
        begin_run(store)
    done = execaudit("--db", path, "seal", "status")
    code, found = verified(path, KEY)
    execaudit("--db", path, "seal", "setup")

    assert b"warning: the sealing key is gone" in done.err
    assert b"warning: " not in execaudit("--db", path, "seal", "status").err
    assert (code, found["authentic"]) == (4, False)
    assert status(path)["reason"] == ChainReason.SETUP.value


def test_status_of_nothing(tmp_path: Path) -> None:
    """Exit status 1, in text and JSON."""
    path = tmp_path / "h.db"
    Store(path).close()
    done = execaudit("--db", path, "seal", "status", "--format=json")

    assert done.status == 1
    assert json.loads(done.out)["head"] is None
    assert execaudit("--db", path, "seal", "status").status == 1


def test_a_new_key_waits_for_who_uses_the_old_one(tmp_path: Path) -> None:
    """And who waits for the old file then takes the new one."""
    path = tmp_path / "db"
    path.touch()
    file = KeyFile(path_of(path))
    file.make(SealingKey.new(KEY), owner=path.stat())
    other = VerificationKey(b"d" * 16, b"e" * 32)
    with file.locked() as handle:
        assert file.read(handle).chain == KEY.chain
    file.replace(SealingKey.new(other), owner=path.stat())
    with file.locked() as handle:
        assert file.read(handle).chain == other.chain
    path_of(path).unlink()
    with pytest.raises(LostKeyError), file.locked():
        pass
    file.replace(SealingKey.new(other), owner=path.stat())
    assert file.exists()


def test_a_recorder_goes_on_after_seals_that_make_no_sense(tmp_path: Path) -> None:
    """What comes is sealed, and what was changed is named."""
    path = sealed_history(tmp_path / "h.db", 4)
    change(path, "UPDATE seal SET entries = x'ff', streams = x'ff'")
    with Store(path) as store:
        begin_run(store)
        go_on(store, 4, after=4)
    _, found = verified(path, KEY)
    kinds = {(problem["kind"], problem["table"]) for problem in found["problems"]}  # type: ignore[attr-defined]  # JSON

    assert ("changed", "seal") in kinds
    assert not {("changed", "exec"), ("added", "exec"), ("forged", "seal")} & kinds
