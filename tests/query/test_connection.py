"""Opening a history: what goes wrong is one line with the next step, and nothing is changed."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.database.revision import REVISION
from execaudit.enums import Truncated
from execaudit.errors import DamagedStoreError, StoreError
from execaudit.event import Hole
from execaudit.query import find, summary
from execaudit.query.connection import open_history, revision_of
from execaudit.query.filter import Filter
from tests.examples import examples
from tests.histories import make_event, make_gap, make_history
from tests.nobody import as_nobody, public_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from execaudit.event import ExecEvent

CHECKOUT = Path(__file__).parents[2]


def read(path: Path) -> list[ExecEvent]:
    """Returns all execs, having asked for everything else too."""
    with open_history(path) as connection:
        summary.summary(connection)
        find.gaps(connection, Filter())
        find.count(connection, Filter(comms=(b"t*",)))
        return [found.event for found in find.find(connection, Filter())]


def set_revision(path: Path, revision: str) -> None:
    """Makes a history that another version would have made."""
    make_history(path, [make_event(b"a")])
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))


def make_other(path: Path, *statements: str) -> None:
    """Makes the database of some other program."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for sql in statements:
            connection.execute(sql)


PROBLEMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda _: None, "there is no history at {path}: start one with `execaudit record`"),
    "no folder": (lambda path: path.parent.rmdir(), "there is no history at {path}: start one with"),
    "folder is a file": (
        lambda path: path.parent.rename(path.parent.with_name("away")).with_name("folder").touch(),
        "there is no history at {path}: start one with `execaudit record`",
    ),
    "dangling": (lambda path: path.symlink_to("nowhere"), "there is no history at {path}: start one with"),
    "circle": (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links: name another"),
    "folder": (lambda path: path.mkdir(), "{path} is no file: name the history with --db"),
    "pipe": (os.mkfifo, "{path} is no file: name the history with --db"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "{path} is no file: name the history with --db"),
    "empty": (lambda path: path.touch(), "{path} is no execaudit history: name another file with --db"),
    "text": (
        lambda path: path.write_text("time,pid\n" * 1000),
        "cannot read {path}: file is not a database: it is some other file; name the history with --db",
    ),
    "no tables": (lambda path: make_other(path, "VACUUM"), "{path} is no execaudit history: name another"),
    "other tables": (
        lambda path: make_other(path, "CREATE TABLE exec (id)"),
        "{path} is no execaudit history: name another file with --db",
    ),
    "other migrations": (
        lambda path: make_other(
            path,
            "CREATE TABLE alembic_version (version_num TEXT)",
            "INSERT INTO alembic_version VALUES ('1975ea83b712')",
        ),
        "{path} is no execaudit history: name another file with --db",
    ),
    "older": (
        lambda path: set_revision(path, "0000"),
        "{path} has an older schema (0000): run `execaudit --db {path} db upgrade`",
    ),
    "newer": (
        lambda path: set_revision(path, "9999"),
        "{path} was made by a newer execaudit (schema 9999): install that version",
    ),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_what_is_no_history_is_said_in_one_line(tmp_path: Path, problem: str) -> None:
    """What is at the path instead of a history, and the next step, are in one line."""
    make, message = PROBLEMS[problem]
    path = tmp_path / "folder" / "history.db"
    path.parent.mkdir()
    make(path)

    with pytest.raises(StoreError) as caught:
        read(path)
    assert message.format(path=path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 1


def test_who_may_not_read_is_told_so() -> None:
    """A file or a folder that is not theirs is named to users, with what helps."""
    with public_folder() as folder:
        hidden = folder / "hidden"
        hidden.mkdir(mode=0o700)
        for path in (folder / "history.db", hidden / "history.db"):
            make_history(path, [make_event(b"a")])

        with pytest.raises(
            StoreError, match=r"^you may not read .*/history\.db: run this as root, or as a member"
        ):
            as_nobody(lambda: read(folder / "history.db"))
        with pytest.raises(StoreError, match=r"^you may not look at .*/hidden/history\.db: run this as root"):
            as_nobody(lambda: read(hidden / "history.db"))


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    """The connection refuses every change, so no question can harm the history."""
    path = make_history(tmp_path / "history.db", [make_event(b"a")])
    content = path.read_bytes()
    with pytest.raises(StoreError, match="readonly"), open_history(path) as connection:
        connection.execute("DELETE FROM exec")

    assert content == path.read_bytes()
    assert {"history.db", "history.db.lock"} == {file.name for file in tmp_path.iterdir()}


def test_our_own_mistakes_keep_their_traceback(tmp_path: Path) -> None:
    """Misuse of the database module is not made into a user's error."""
    path = make_history(tmp_path / "history.db", [])
    with pytest.raises(sqlite3.ProgrammingError), open_history(path) as connection:
        connection.execute("SELECT ?")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history of many pages."""
    made = [
        make_event(
            b"t%d" % number,
            b"x" * (number * 40),
            seconds=number,
            comm=b"t%d" % number,
            cwd=b"/%d" % number,
            holes=(Hole(1, 5),) if number % 3 else (),
            truncated=Truncated.LIMIT if number % 3 else None,
        )
        for number in range(60)
    ]
    gaps = [make_gap(number, number + 1) for number in range(5)]
    return make_history(tmp_path_factory.mktemp("sound") / "history.db", made, gaps)


def damaged(sound: Path, change: Callable[[bytearray], None]) -> Path:
    """Returns a changed copy."""
    content = bytearray(sound.read_bytes())
    change(content)
    copy = sound.with_name("damaged.db")
    copy.write_bytes(content)
    return copy


@examples(300)
@given(st.data())
def test_damage_is_never_a_traceback(sound: Path, data: st.DataObject) -> None:
    """However a file was overwritten or cut, it is read, or one error of ours says that it cannot be."""

    def change(content: bytearray) -> None:
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, 199) | st.integers(0, len(content) - 1))
            with_what = data.draw(st.sampled_from((b"\0", b"\xff", b"\x7f\0", b"\x80" * 30, bytes(4096))))
            content[at : at + len(with_what)] = with_what
        if data.draw(st.booleans()):
            del content[data.draw(st.integers(0, len(content))) :]

    with contextlib.suppress(StoreError):
        read(damaged(sound, change))


def test_a_damaged_name_is_damage(sound: Path) -> None:
    """A text that is no UTF-8, of the schema or of a row, has the status of damage."""
    host = b"web1"

    def spoil_schema(content: bytearray) -> None:
        at = content.index(b"CREATE TABLE argv")
        content[at : at + 3] = b"\xff\xff\xff"

    def spoil_host(content: bytearray) -> None:
        content[:] = content.replace(host, b"\xff" * 4)

    for spoil in (spoil_schema, spoil_host):
        with pytest.raises(DamagedStoreError, match=r"^[^\n]*keep a copy"):
            read(damaged(sound, spoil))


def test_a_cut_file_is_damaged(sound: Path) -> None:
    """A file whose second half is missing has the status of damage, and says what to do."""

    def cut(content: bytearray) -> None:
        del content[len(content) // 2 :]

    with pytest.raises(DamagedStoreError, match=r"malformed: keep a copy, then restore a backup") as caught:
        read(damaged(sound, cut))
    assert caught.value.exit_status == 4


def test_an_overwritten_table_is_damaged(sound: Path) -> None:
    """A page of other bytes has the status of damage."""
    with contextlib.closing(sqlite3.connect(sound)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'exec'").fetchone()

    def overwrite(content: bytearray) -> None:
        content[(page - 1) * 4096 : page * 4096] = b"\xaa" * 4096

    with pytest.raises(DamagedStoreError):
        read(damaged(sound, overwrite))


@pytest.mark.parametrize(
    "name",
    [
        "with space.db",
        "q?mode=rwc&x=1",
        "h#1",
        "100%25.db",
        b"\xff\xfe.db",
        "file:x",
        "é",
        "a'b\"c",
        "new\nline",
    ],
)
def test_any_file_name_is_taken_as_it_is(tmp_path: Path, sound: Path, name: str | bytes) -> None:
    """Names that mean something to URLs, shells or SQLite are names, as are those that are no UTF-8."""
    path = tmp_path / os.fsdecode(name)
    shutil.copy(sound, path)

    assert len(read(path)) == 60
    assert revision_of(path) == REVISION


def test_the_revision_of_any_database_is_told(tmp_path: Path) -> None:
    """`revision_of` reads older schemas and those of others, which `open_history` refuses."""
    older, other = tmp_path / "older.db", tmp_path / "other.db"
    set_revision(older, "0000")
    make_other(other, "CREATE TABLE alembic_version (version_num TEXT)")

    assert revision_of(older) == "0000"
    assert revision_of(other) is None


_QUERY = """
import sys
from execaudit.cli import execute
status = execute(["--config", "/dev/null", "--db", sys.argv[1], "query", "--comm", "t*", "--limit", "1"])
heavy = {"sqlalchemy", "alembic", "structlog"} & set(sys.modules)
sys.exit(f"{status} {heavy}" if status or heavy else 0)
"""


def test_reading_loads_no_library_that_writing_needs(sound: Path) -> None:
    """A query imports neither SQLAlchemy, Alembic nor structlog, which take longer than most answers."""
    done = subprocess.run(
        [sys.executable, "-c", _QUERY, sound], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"kind":"exec"') == 1
