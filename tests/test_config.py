"""The configuration file: what it says, or one line about what is wrong with it."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from execaudit.config import Settings, load, load_default, scalars
from execaudit.errors import ConfigError
from tests.nobody import as_nobody, public_folder


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Where a configuration can be."""
    return tmp_path / "config.toml"


def test_settings_are_what_the_file_says(config: Path) -> None:
    """The database and the tables of the commands are there, under their own names."""
    config.write_text('db = "/srv/é.db"\n[record]\nquiet = true\n[query]\ncomm = ["a*", "b"]\nlimit = 5\n')
    expected = Settings(
        config, "/srv/é.db", {"record": {"quiet": True}, "query": {"comm": ["a*", "b"], "limit": 5}}
    )

    assert expected == load(config)
    assert expected._replace(is_default=True) == load_default(config)


def test_an_empty_file_sets_nothing(config: Path) -> None:
    """A file of comments is a configuration."""
    config.write_text("# db = 'x'\n")

    assert Settings(config) == load(config)


@pytest.mark.parametrize("place", ["missing.toml", "no/folder.toml", "config.toml/inside"])
def test_only_the_default_may_be_missing(tmp_path: Path, config: Path, place: str) -> None:
    """A file that was named must be there; the one that nobody named need not."""
    config.touch()

    assert Settings(is_default=True) == load_default(tmp_path / place)
    with pytest.raises(
        ConfigError, match=rf"^cannot read {tmp_path / place}: [^\n]*: name another file with --config$"
    ):
        load(tmp_path / place)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"db = \xff", r"{path} is not UTF-8 text \(byte 5\): correct it"),
        (b"db", r"{path} is not TOML: .*: correct it"),
        (b"db = 1\ndb = 2", r"{path} is not TOML: .*: correct it"),
        (b"[query]\nlimit = " + b"9" * 5000, r"{path} is not TOML: .*: correct it"),
        (b"a = " + b"[" * 5000, r"{path} is not TOML: .*: correct it"),
        (b"db = 5", r"{path}: db must be a string: a path, or sqlite:///PATH"),
        (b"[db]", r"{path}: db must be a string: a path, or sqlite:///PATH"),
        (b"query = 5", r"{path}: query must be a table: \[query\]"),
        (b"[[record]]", r"{path}: record must be a table: \[record\]"),
        (b"[recrod]", r"{path}: unknown setting 'recrod' at the top: did you mean record\?"),
        (
            b"zzz = 1",
            r"{path}: unknown setting 'zzz' at the top: there are db, export, forward, hunt, json_log, metrics, query, record, redact, report, retention, seal, show, stats, store, top, tree, verify",
        ),
        (
            b"#" * 1_000_001,
            r"{path} is no configuration: it has more than 1000000 bytes: name another file with --config",
        ),
    ],
)
def test_a_mistake_is_named_in_one_line(config: Path, content: bytes, message: str) -> None:
    """What is wrong with the file is wrong usage, told with the file's name and in one line."""
    config.write_bytes(content)
    for read in (load, load_default):
        with pytest.raises(ConfigError, match=f"^{message.format(path=config)}$") as caught:
            read(config)
        assert "\n" not in str(caught.value)
        assert caught.value.exit_status == 2


def test_a_folder_or_a_device_is_no_configuration(tmp_path: Path) -> None:
    """What is no file of text ends with one line rather than never."""
    for path in (tmp_path, Path("/dev/zero")):
        with pytest.raises(ConfigError):
            load(path)


def test_a_file_of_others_is_said_to_be_unreadable() -> None:
    """Settings that exist and may not be read are an error, also at the default place."""
    with public_folder() as folder:
        path = folder / "config.toml"
        path.write_text("db = 'x'")
        path.chmod(0o600)
        for read in (load, load_default):
            with pytest.raises(ConfigError, match=rf"^cannot read {path}: {os.strerror(13)}"):
                as_nobody(partial(read, path))


def test_an_unknown_key_is_compared_with_the_known() -> None:
    """The nearest name is offered, and all of them when none is near."""
    settings = Settings(Path("/etc/x.toml"))
    settings.check_keys("in [query]", ["limit"], ["limit", "comm"])

    with pytest.raises(
        ConfigError, match=r"^/etc/x\.toml: unknown setting 'limt' in \[query\]: did you mean limit\?$"
    ):
        settings.check_keys("in [query]", ["limit", "limt"], ["limit", "comm"])
    with pytest.raises(ConfigError, match=r"there are comm, limit$"):
        settings.check_keys("in [query]", ["xyz"], ["limit", "comm"])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", ["a"]),
        (5, ["5"]),
        (["a", 5], ["a", "5"]),
        ([], []),
        (True, None),
        ([False], None),
        (1.5, None),
        ({"a": 1}, None),
        ([["a"]], None),
    ],
)
def test_values_are_as_options_give_them(value: object, expected: list[str] | None) -> None:
    """Texts, numbers and lists of them can be options; nothing else can."""
    assert expected == scalars(value)
