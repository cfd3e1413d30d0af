"""Bad input: one line that names the next step, the right status, and nothing changed."""

from __future__ import annotations

import shlex
import shutil
import sqlite3
from typing import TYPE_CHECKING

import pytest

from tests.commands import execaudit, legible, snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HUGE = "9" * 5000
LONG = "x" * 5000

TIMES = (
    "''", "soon", "1", "-1h", "@", "@99999999999999999999", "2026-13-01", "25:00", "2026-11-22 14:05 CET", "9999-12-31", "1969-12-31",
)  # fmt: skip

# What is typed, the status, and a part of the line.
QUERY = [
    *((f"query --since {shlex.quote(text.strip(chr(39)))}", 2, "--since") for text in TIMES),
    ("query --since now --until 1h", 2, "--since is not before --until"),
    ("query --since @5 --until @5", 2, "--since is not before --until"),
    ("export --since @5 --until @4", 2, "--since is not before --until"),
    ("query --pid abc", 2, "--pid"),
    ("query --pid -1", 2, "--pid"),
    ("query --pid 4194305", 2, "--pid"),
    ("query --pid ''", 2, "--pid"),
    (f"query --ppid {HUGE}", 2, "--ppid"),
    ("query --user nosuchuser", 2, "nosuchuser"),
    ("query --user ''", 2, "--user"),
    ("query --user 4294967296", 2, "4294967295"),
    (f"query --user {HUGE}", 2, "--user"),
    ("query --args-regex '('", 2, "--args-regex"),
    ("query --args-regex '*'", 2, "nothing to repeat"),
    ("query --args-regex 'a{1,99999999999}'", 2, "--args-regex"),
    (f"query --format csv --args-regex '{'(' * 5000}'", 2, "--args-regex"),
    ("query --limit -1", 2, "--limit"),
    ("query --limit some", 2, "--limit"),
    (f"query --limit {HUGE}", 2, "--limit"),
    ("query --follow --reverse", 2, "exclude each other"),
    ("query --nosuch", 2, "--nosuch"),
    ("query --forma csv", 2, "Did you mean"),
    ("query --failed=yes", 2, "--failed"),
    ("query curl", 2, "unexpected extra argument"),
    ("query --format xml", 2, "'csv'"),
    ("query --format CSV", 2, "'csv'"),
    ("export --format table", 2, "'jsonl'"),
    ("export --host db1 -o nofolder/out.csv", 1, "nofolder/out.csv: No such file"),
    ("export --host db1 -o folder", 1, "folder: Is a directory"),
    ("export --host db1 -o ''", 1, "cannot write .: Is a directory: name another file"),
    (f"export --host db1 -o {LONG}", 1, "File name too long"),
    ("nosuch", 2, "nosuch"),
    ("quer", 2, "'quer' (see `execaudit --help`)"),
    ("db nosuch", 2, "nosuch"),
    ("db info extra", 2, "extra"),
    ("--nosuch query", 2, "--nosuch"),
    ("doctor --format xml", 2, "'json'"),
]
DATABASES = [
    ("--db missing.db query", 1, "there is no history at missing.db"),
    ("--db nofolder/x.db query", 1, "nofolder/x.db"),
    ("--db nofolder/x.db db upgrade", 1, "the folder nofolder does not exist"),
    ("--db nofolder/x.db record", 1, "the folder nofolder does not exist"),
    ("--db folder query", 1, "folder is no file"),
    ("--db folder db upgrade", 1, "folder is no file"),
    ("--db folder record", 1, "folder is no file"),
    ("--db text query", 1, "not a database"),
    ("--db text db info", 1, "not a database"),
    ("--db text db upgrade", 1, "not a database"),
    ("--db text record", 1, "not a database"),
    ("--db history.db/x query", 1, "history.db/x"),
    ("--db history.db/x db upgrade", 1, "history.db/x"),
    ("--db empty query", 1, "no execaudit history"),
    ("--db foreign.db query", 1, "no execaudit history"),
    ("--db foreign.db db upgrade", 1, "another program"),
    ("--db foreign.db record", 1, "another program"),
    ("--db half.db query", 4, "malformed"),
    ("--db half.db db upgrade", 4, "malformed"),
    ("--db half.db record", 4, "malformed"),
    ("--db null query", 1, "null is no file"),
    ("--db null db upgrade", 1, "null is no file"),
    ("--db null record", 1, "null is no file"),
    (f"--db {LONG} query", 1, "File name too long"),
    (f"--db {LONG} record", 1, "File name too long"),
    ("--db '' query", 2, "file name"),
    ("--db :memory: query", 2, "file name"),
    ("--db :memory: record", 2, "file name"),
    ("--db sqlite:// query", 2, "sqlite:///PATH"),
    ("--db sqlite:/// query", 2, "file name"),
    ("--db sqlite:///missing.db query", 1, "missing.db"),
    ("--db postgresql://a@127.0.0.1:1/db query", 1, "nobody listens at"),
    ("--db postgresql://a@127.0.0.1:1/db record", 2, "a history in a file"),
    ("--db", 2, "--db"),
]
SETTINGS = [
    ("--config missing.toml query", 2, "missing.toml"),
    ("--config folder query", 2, "folder: Is a directory"),
    ("--config nofolder/x.toml query", 2, "nofolder/x.toml"),
    ("--config '' query", 2, "--config"),
    ("--config text query", 2, "text is not TOML"),
    ("--config binary query", 2, "binary is not UTF-8"),
    ("--config history.db query", 2, "history.db is not"),
    ("--config /dev/zero query", 2, "bytes"),
    ("query --config missing.toml", 2, "missing.toml"),
    ("record --config missing.toml", 2, "missing.toml"),
    ("db --config x info", 2, "--config"),
]
RECORD = [
    ("record --max-argv -1", 2, "--max-argv"),
    (f"record --max-argv {HUGE}", 2, "--max-argv"),
    ("record --ring-size 3", 2, "--ring-size"),
    ("record --ring-size 5000", 2, "no power of two"),
    ("record --ring-size 2147483648", 2, "--ring-size"),
    ("record --ring-size 16M", 2, "--ring-size"),
    ("record --duration abc", 2, "--duration"),
    ("record --duration 0", 2, "--duration"),
    ("record --duration 30", 2, "try 90s"),
    ("record --duration -1s", 2, "--duration"),
    ("record --duration ''", 2, "--duration"),
    ("record --duration 999999999999w", 2, "292 years"),
    ("record --probe kernel", 2, "--probe"),
    ("record --nosuch", 2, "--nosuch"),
    ("record --json-log nofolder/x", 1, "the folder nofolder does not exist"),
    ("record --json-log folder", 1, "it is a folder"),
    ("record --json-log ''", 1, "--json-log"),
    ("record --json-log history.db", 2, "history.db is the database"),
    ("record --json-log link.db", 2, "link.db is the database"),
    ("record -- nosuchcommand", 127, "nosuchcommand"),
    ("record -- ./nosuchcommand a b", 127, "./nosuchcommand"),
    ("record nofolder/x", 127, "nofolder/x"),
    ("record -- ''", 127, "cannot run"),
    ("record -- ./text", 126, "./text"),
    ("record -- ./folder", 126, "./folder"),
    (f"record -- {LONG}", 127, "cannot run"),
]
CONFIGS = [
    ("nosuch = 1", "query", "unknown setting 'nosuch' at the top: there are db, export, forward, hunt, json_log, metrics, query, record"),
    ("quer = 1", "query", "did you mean query?"),
    ("query = 1", "query", "query must be a table: [query]"),
    ("[[query]]", "query", "query must be a table: [query]"),
    ("db = 7", "query", "db must be a string"),
    ("db = ''", "query", "file name"),
    ("db = ", "query", "is not TOML"),
    ("[query]\nlimt = 1", "query", "unknown setting 'limt' in [query]: did you mean limit?"),
    ("[query]\npids = 1", "query", "did you mean pid?"),
    ("[query]\nlimit = 'abc'", "query", "limit in [query]: 'abc'"),
    ("[query]\nlimit = -1", "query", "limit in [query]: -1"),
    ("[query]\nlimit = true", "query", "limit in [query] must be a string or a number"),
    ("[query]\nlimit = 1.5", "query", "limit in [query] must be a string or a number"),
    ("[query]\nlimit = [1, 2]", "query", "limit in [query] must be a string or a number"),
    ("[query]\nlimit = {a = 1}", "query", "limit in [query] must be a string or a number"),
    ("[query]\npid = [1, [2]]", "query", "pid in [query] must be a string or a number, or a list of these"),
    ("[query]\npid = ['x']", "query", "pid in [query]: 'x'"),
    ("[query]\nreverse = 'yes'", "query", "reverse in [query] must be true or false"),
    ("[query]\nreverse = 1", "query", "reverse in [query] must be true or false"),
    ("[query]\nsince = 5", "query", 'since in [query]: the time "5"'),
    ("[query]\nsince = 2026-11-22", "query", "since in [query] must be a string"),
    ("[query]\nformat = 'xml'", "query", "format in [query]: 'xml'"),
    ("[query]\ndb = 'x'", "query", "unknown setting 'db' in [query]"),
    ("db = 'history.db'\n[query]\nuser = 'nosuchuser'", "query", "nosuchuser"),
    ("[export]\noutput = 1\nraw = 1", "export", "raw in [export] must be true or false"),
    ("[record]\nduration = 30", "record", 'duration in [record]: the duration "30"'),
    ("[record]\nring_size = 5000", "record", "ring_size in [record]: 5000 is no power of two"),
    ("[record]\nring-size = 5000", "record", "ring_size in [record]: 5000 is no power of two"),
    ("[record]\nring_size = 4096\nring-size = 8192", "record", "ring_size in [record] stands there twice: keep ring_size, and remove ring-size"),
    ("[record]\nmax_args = 1", "record", "did you mean max_argv?"),
    ("[record]\nmax-args = 1", "record", "did you mean max_argv?"),
    ("[record]\ncmd = ['true']", "record", "unknown setting 'cmd' in [record]"),
    ('"\\u001b[31m" = 1', "query", r"unknown setting '\x1b[31m'"),
    ("x = " + "[" * 5000, "query", "is not TOML"),
]  # fmt: skip


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, history: Path) -> Path:
    """A folder with one of each kind of file that is not what was asked for."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "folder").mkdir()
    (folder / "text").write_text("this is\nno database\n")
    (folder / "binary").write_bytes(bytes(range(256)))
    (folder / "empty").touch()
    (folder / "null").symlink_to("/dev/null")
    (folder / "link.db").symlink_to("history.db")
    shutil.copyfile(history, folder / "history.db")
    (folder / "half.db").write_bytes(history.read_bytes()[: history.stat().st_size // 2])
    connection = sqlite3.connect(folder / "foreign.db")
    connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    return folder


@pytest.fixture
def unchanged(prepared: Path) -> Iterator[Path]:
    """The prepared folder, which is the same afterwards."""
    before = snapshot(prepared)
    yield prepared
    assert before == snapshot(prepared)


@pytest.mark.parametrize(("typed", "status", "said"), QUERY + DATABASES + SETTINGS + RECORD, ids=legible)
def test_bad_input(typed: str, status: int, said: str, unchanged: Path) -> None:
    """One line on stderr, nothing on stdout, the status, and no file made, changed or removed."""
    done = execaudit(*shlex.split(typed), folder=unchanged, env={"EXECAUDIT_DB": "history.db"})

    assert status == done.status, done.err
    assert done.failed_in_one_line(), done.err
    assert said in done.err.decode()


@pytest.mark.parametrize(("toml", "command", "said"), CONFIGS, ids=legible)
def test_bad_settings(toml: str, command: str, said: str, unchanged: Path, tmp_path: Path) -> None:
    """A setting that is wrong is refused as a wrong option is, and the file is named."""
    (tmp_path / "config.toml").write_text(toml)
    done = execaudit("--config", tmp_path / "config.toml", command, folder=unchanged)

    assert 2 == done.status, done.err
    assert done.failed_in_one_line(), done.err
    assert said in done.err.decode()


@pytest.mark.parametrize("url", ["postgresql://joe:secret@db/x", "mysql://joe:secret@db/x"])
def test_a_password_is_not_repeated(url: str) -> None:
    """What is refused may be a URL with a password: logs and screens do not get it."""
    done = execaudit("--db", url, "query")

    assert 2 == done.status
    assert b"secret" not in done.err
