"""The migrations: they lead to the declared schema, whole or not at all."""

from __future__ import annotations

import ast
import contextlib
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from execaudit.database import schema
from execaudit.database.revision import REVISION
from execaudit.errors import StoreError
from execaudit.query.connection import open_history, revision_of
from execaudit.store import migrate
from execaudit.store.writer import Store
from execaudit.system import shipped
from tests.histories import make_event, make_gap, make_history

if TYPE_CHECKING:
    from pathlib import Path


def tables_of(connection: sqlite3.Connection) -> dict[str, str]:
    """Returns the statement that made each table and index, white space and quotes aside."""
    made = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return {
        name: re.sub(r"\s*,\s*", ", ", re.sub(r"[\s\"]+", " ", sql)).strip()
        for name, sql in made
        if name != "alembic_version"
    }


def test_the_chain_leads_to_the_declared_schema(tmp_path: Path) -> None:
    """Alembic finds nothing to change between a migrated database and the declared tables."""
    Store(tmp_path / "x.db").close()
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'x.db'}", poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)

        assert [] == compare_metadata(context, schema.metadata)


def test_the_chain_makes_the_same_tables_as_the_declaration(tmp_path: Path) -> None:
    """What Alembic does not compare (STRICT, WITHOUT ROWID, indexes) is the same as well."""
    Store(tmp_path / "migrated.db").close()
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'declared.db'}")
    schema.metadata.create_all(engine)
    engine.dispose()
    with (
        closing(sqlite3.connect(tmp_path / "migrated.db")) as migrated,
        closing(sqlite3.connect(tmp_path / "declared.db")) as declared,
    ):
        assert tables_of(declared) == tables_of(migrated)


def test_the_revision_that_readers_know_is_the_newest() -> None:
    """revision.py names the head of the chain, and the chain has one."""
    config = Config()
    config.set_main_option("script_location", str(shipped.folder("migrations")))

    assert [REVISION] == list(ScriptDirectory.from_config(config).get_heads())


def test_migrations_freeze_their_tables() -> None:
    """No migration imports the schema as it is today."""
    imported = [
        name.name if isinstance(node, ast.Import) else f"{node.module}.{name.name}"
        for file in (shipped.folder("migrations") / "versions").glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in node.names
    ]

    assert [] == [name for name in imported if name.startswith("execaudit")]


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was done before the failure is undone, tables included, and the next try succeeds."""
    path = tmp_path / "x.db"
    with monkeypatch.context() as broken:
        broken.setattr(
            migrate,
            "upgrade",
            lambda connection, _: (connection.execute(sa.text("CREATE TABLE a (b)")), 1 / 0),
        )
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            Store(path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        assert [] == connection.execute("SELECT name FROM sqlite_master").fetchall()

    Store(path).close()


def test_what_migrates_is_gone_afterwards(tmp_path: Path) -> None:
    """Alembic was never in the process that goes on, and is where there are threads: no fork then."""
    program = (
        "import sys, threading; from pathlib import Path; from execaudit.store.writer import Store;"
        "Store(Path(sys.argv[1])).close(); print('alembic' in sys.modules);"
        "asked = threading.Event(); waiting = threading.Thread(target=asked.wait); waiting.start();"
        "Store(Path(sys.argv[2])).close(); print('alembic' in sys.modules); asked.set()"
    )
    paths = [tmp_path / "one.db", tmp_path / "other.db"]
    done = subprocess.run([sys.executable, "-c", program, *paths], capture_output=True, text=True, check=True)

    assert "False\nTrue\n" == done.stdout
    assert [REVISION, REVISION] == [*map(revision_of, paths)]


def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    """A database that is current stays as it is, its identity included."""
    path = tmp_path / "x.db"
    Store(path).close()
    before = content(path)
    Store(path).close()

    assert before == content(path)


_FAILING = """
from alembic import op
import sqlalchemy as sa
revision = "9999"
down_revision = "HEAD"
def upgrade():
    op.create_table("half", sa.Column("id", sa.Integer, primary_key=True))
    op.add_column("run", sa.Column("half", sa.Integer))
    op.drop_index("ix_exec_pid", "exec")
    op.execute("DELETE FROM exec")
    op.execute("INSERT INTO nowhere VALUES (1)")
"""


def add_failing_migration(folder: Path, patched: pytest.MonkeyPatch) -> Path:
    """Puts one more migration at the end of a copy of the chain. Returns its file."""
    shutil.copytree(shipped.folder("migrations"), folder)
    patched.setattr(shipped, "folder", lambda _name: folder)
    patched.setattr(migrate, "REVISION", "9999")
    file = folder / "versions" / "9999_failing.py"
    file.write_text(_FAILING.replace("HEAD", REVISION))
    return file


def content(path: Path) -> list[str]:
    """Returns everything in a database, as statements."""
    with closing(sqlite3.connect(path)) as connection:
        return [*connection.iterdump()]


def test_a_migration_that_fails_in_its_midst_keeps_the_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables, columns, indexes and rows are as before, and the version that made them goes on."""
    path = make_history(tmp_path / "x.db", [make_event(b"a")], [make_gap(1, 2)])
    before = content(path)
    add_failing_migration(tmp_path / "migrations", monkeypatch)

    with pytest.raises(StoreError, match=rf"^cannot open {path}: no such table: nowhere: "):
        Store(path)
    assert before == content(path)
    assert revision_of(path) == REVISION
    assert not list(tmp_path.glob("x.db-*"))


def test_a_new_history_gets_the_whole_chain_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a later migration fails the earlier ones are undone, so that the next start begins anew."""
    path = tmp_path / "x.db"
    failing = add_failing_migration(tmp_path / "migrations", monkeypatch)
    with pytest.raises(StoreError, match="no such table: nowhere"):
        Store(path)
    assert revision_of(path) is None

    failing.unlink()
    Store(path).close()
    assert revision_of(path) == REVISION


def test_revisions_sort_as_they_run() -> None:
    """Readers compare them as texts to tell older from newer."""
    chain = [each.revision for each in ScriptDirectory(str(shipped.folder("migrations"))).walk_revisions()]

    assert chain == sorted(chain, reverse=True)


def test_each_history_has_an_identity_of_its_own(tmp_path: Path) -> None:
    """Two files are never taken for one, though nothing is in them yet."""
    identities = set()
    for name in ("one.db", "other.db"):
        make_history(tmp_path / name, [])
        with open_history(tmp_path / name) as connection:
            identities.add(connection.execute("SELECT value FROM meta WHERE key = 'stream_id'").fetchone()[0])

    assert [16, 16] == [len(identity) for identity in identities]
