"""Run the migrations on the connection that execaudit.store.migrate hands over."""

from __future__ import annotations

from alembic import context

from execaudit.database.schema import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit(
        "run `execaudit --db PATH db upgrade`: it opens the database and locks out a second writer"
    )

# The caller owns the transaction, so a migration that fails changes nothing. 0004 alone commits midway; the
# next start goes on where it was.
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=True,  # SQLite cannot alter most things in place
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
