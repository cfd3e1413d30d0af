"""What `doctor` says of seals: sealed or not, the key file, and when the history was verified."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from execaudit.seal.key_file import path_of
from execaudit.store.writer import Store
from tests.commands import POWERLESS, execaudit
from tests.histories import begin_run
from tests.seal.histories import sealed_history

if TYPE_CHECKING:
    from pathlib import Path


def check(path: Path, config: str = "") -> dict[str, Any]:
    """Returns the check of the seals, with settings."""
    settings = path.with_name("config.toml")
    settings.write_text(config)
    done = execaudit("--db", path, "--config", settings, "doctor", "--format=json", before=POWERLESS)
    (found,) = [each for each in json.loads(done.out)["checks"] if each["name"] == "seal"]
    return dict(found)


def test_sealed_with_a_key_and_without(tmp_path: Path) -> None:
    """Both are well; the second says what would be better."""
    keyed = check(sealed_history(tmp_path / "h.db", 2))
    plain = check(sealed_history(tmp_path / "i.db", 2, key=None))
    Store(tmp_path / "j.db").close()

    assert (keyed["ok"], plain["ok"]) == (True, True)
    assert keyed["detail"].endswith("with a key")
    assert "execaudit seal setup" in plain["detail"]
    assert check(tmp_path / "j.db")["detail"].startswith("nothing is sealed yet")


def test_when_it_was_verified(tmp_path: Path) -> None:
    """If the configuration has verify remember it."""
    path = sealed_history(tmp_path / "h.db", 200)
    state = tmp_path / "state"
    config = f'[verify]\nstate = "{state}"\n'
    before = check(path, config)
    done = execaudit("--db", path, "--config", tmp_path / "config.toml", "verify")
    after = check(path, config)
    state.write_text("nonsense")

    assert done.status == 0
    assert before["detail"].endswith("; never verified")
    assert "; verified at 20" in after["detail"]
    assert "was not written by" in check(path, config)["detail"]


@pytest.mark.parametrize("what", ["gone", "mode", "folder"])
def test_a_key_file_that_is_not_as_it_must_be(tmp_path: Path, what: str) -> None:
    """With what mends it."""
    path = sealed_history(tmp_path / "h.db", 2)
    file = path_of(path)
    if what == "mode":
        file.chmod(0o640)
    else:
        file.unlink()
        if what == "folder":
            file.mkdir()
    found = check(path)

    assert found["ok"] is False
    assert ("chmod 600" if what == "mode" else "seal setup --new-key") in found["fix"]


def test_a_lost_key_stays_a_failure(tmp_path: Path) -> None:
    """Also when a recorder has begun a chain without one."""
    path = sealed_history(tmp_path / "h.db", 2)
    path_of(path).unlink()
    with Store(path) as store:
        begin_run(store)
    found = check(path)

    assert found["ok"] is False
    assert "nobody vouches" in found["detail"]
