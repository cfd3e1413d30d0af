"""The migrations: they lead to the declared schema, whole or not at all."""

from __future__ import annotations

import ast
import re
import sqlite3
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from execaudit import schema, store
from execaudit.revision import REVISION
from execaudit.store import Store, migrations_dir

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
    with sa.create_engine(f"sqlite:///{tmp_path / 'x.db'}").connect() as connection:
        context = MigrationContext.configure(connection)

        assert [] == compare_metadata(context, schema.metadata)


def test_the_chain_makes_the_same_tables_as_the_declaration(tmp_path: Path) -> None:
    """What Alembic does not compare (STRICT, WITHOUT ROWID, indexes) is the same as well."""
    Store(tmp_path / "migrated.db").close()
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'declared.db'}")
    schema.metadata.create_all(engine)
    engine.dispose()
    migrated, declared = (sqlite3.connect(tmp_path / name) for name in ("migrated.db", "declared.db"))

    assert tables_of(declared) == tables_of(migrated)
    migrated.close()
    declared.close()


def test_the_revision_that_readers_know_is_the_newest() -> None:
    """revision.py names the head of the chain, and the chain has one."""
    config = Config()
    config.set_main_option("script_location", str(migrations_dir()))

    assert [REVISION] == list(ScriptDirectory.from_config(config).get_heads())


def test_migrations_freeze_their_tables() -> None:
    """No migration imports the schema as it is today."""
    imported = [
        name.name if isinstance(node, ast.Import) else f"{node.module}.{name.name}"
        for file in (migrations_dir() / "versions").glob("*.py")
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
            store, "migrate", lambda connection: (connection.execute(sa.text("CREATE TABLE a (b)")), 1 / 0)
        )
        with pytest.raises(ZeroDivisionError):
            Store(path)
    with sqlite3.connect(path) as connection:
        assert [] == connection.execute("SELECT name FROM sqlite_master").fetchall()
    connection.close()

    Store(path).close()


def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    """A database that is current stays as it is, its identity included."""
    path = tmp_path / "x.db"
    Store(path).close()
    before = sqlite3.connect(path)
    stood = [*before.iterdump()]
    before.close()
    Store(path).close()
    after = sqlite3.connect(path)

    assert stood == [*after.iterdump()]
    after.close()
