"""Where a value comes from: command line beats environment beats file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.commands import execaudit
from tests.histories import make_event, make_history

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four histories, each with one exec, whose pid says which one it is."""
    folder = tmp_path_factory.mktemp("settings")
    for pid, name in enumerate(("before", "after", "environment", "file"), 1):
        make_history(folder / f"{name}.db", [make_event(b"x", pid=pid)])
    (folder / "file.toml").write_text(f"db = '{folder / 'file.db'}'")
    return folder


@pytest.mark.parametrize(
    ("typed", "env", "pid"),
    [
        ("--db before.db --config file.toml query", "environment.db", 1),
        ("--config file.toml query --db after.db", "environment.db", 2),
        ("--db before.db query --db after.db --config file.toml", "environment.db", 2),
        ("--config file.toml query", "environment.db", 3),
        ("--config file.toml query", "", 4),
        ("query --config file.toml", "", 4),
        ("query --config file.toml", "sqlite:///environment.db", 3),
        ("--db sqlite:///before.db query", "", 1),
        ("--config missing.toml query --config file.toml --db before.db", "", None),
    ],
)
def test_precedence_of_the_database(typed: str, env: str, pid: int | None, folder: Path) -> None:
    """--db wins, the later of two; then EXECAUDIT_DB unless it is empty, then the file."""
    done = execaudit(*typed.split(), folder=folder, env={"EXECAUDIT_DB": env})

    assert (2, b"") == (done.status, done.out) if pid is None else [pid] == done.pids()


@pytest.mark.parametrize(
    ("toml", "typed", "pids"),
    [
        ("limit = 2", "", [104, 200]),
        ("limit = '2'", "", [104, 200]),
        ("limit = 2", "--limit 1", [200]),
        ("limit = 0", "", []),
        ("reverse = true\nlimit = 2", "", [200, 104]),
        ("reverse = false\nlimit = 2", "", [104, 200]),
        ("user = 'alice'", "", [100, 101]),
        ("user = 1000", "", [100, 101]),
        ("user = 0\nlimit = 1", "", [200]),
        ("user = ['alice', 4242]", "", [100, 101, 102]),
        ("user = ['alice', 4242]", "--user root --limit 1", [200]),
        ("pid = 0", "", [0]),
        ("pid = [0, '1']", "", [1, 0]),
        ("failed = true", "", [101]),
        ("args_regex = ['^id$']", "", [200]),
        ("since = '2026-11-22T18:08:46Z'", "", [200]),
    ],
)
def test_options_in_the_file(toml: str, typed: str, pids: list[int], history: Path, tmp_path: Path) -> None:
    """A table has the options of its command, named and valued as they are typed."""
    (tmp_path / "config.toml").write_text(f"[query]\n{toml}\n[record]\nquiet = true\n")
    done = execaudit("--db", history, "--config", tmp_path / "config.toml", "query", *typed.split())

    assert (0, pids) == (done.status, done.pids()), done.err


def test_the_former_spelling_is_read_with_one_warning(history: Path, tmp_path: Path) -> None:
    """Until this version, keys had the hyphens of the options."""
    (config := tmp_path / "config.toml").write_text("[query]\nargs-regex = ['^id$']\nlogin-user = 'alice'\n")
    former = execaudit("--db", history, "--config", config, "query", "--login-user=0", "--login-user=1000")
    config.write_text("[query]\nargs_regex = ['^id$']\nlogin_user = 'alice'\n")
    today = execaudit("--db", history, "--config", config, "query", "--login-user=0", "--login-user=1000")

    assert (0, today.out) == (former.status, former.out)
    words = (
        f"{config}: former spelling in [query]: write args_regex for args-regex, login_user for login-user"
    )
    assert f"{words}\n".encode() + today.err == former.err
    assert b"spelling" not in today.err


def test_a_format_in_the_file(history: Path, tmp_path: Path) -> None:
    """Each command has its own table: that of another does not reach it."""
    (tmp_path / "config.toml").write_text("[query]\nformat = 'csv'\n[export]\nformat = 'jsonl'\n")
    query = execaudit("--db", history, "--config", tmp_path / "config.toml", "query", "--limit", "1")
    export = execaudit("--db", history, "--config", tmp_path / "config.toml", "export", "--limit", "1")

    assert query.out.startswith(b"id,parent_id,time,")
    assert [200] == export.pids()


@pytest.mark.parametrize("typed", ["--db after.db db info", "db --db after.db info", "db info --db after.db"])
def test_options_of_all_commands_stand_anywhere(typed: str, folder: Path) -> None:
    """Before, between and after the words of a command, --db is the same option."""
    [facts] = execaudit(*typed.split(), "--format", "json", folder=folder).rows()

    assert "after.db" == facts["path"]


def test_help_needs_no_settings(tmp_path: Path) -> None:
    """Help is shown whatever is wrong with the settings that come after it."""
    assert 0 == execaudit("query", "--help", "--config", tmp_path / "missing").status
