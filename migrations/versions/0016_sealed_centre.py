"""A central database has the seals of hosts, and what was deleted there. Nothing for a local history."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the tables; days have one more."""
    bind = op.get_bind()
    if bind.dialect.name != "postgresql":
        return
    # SQLAlchemy would take each % for the place of a value.
    driver = bind.connection.driver_connection
    if driver is None:
        raise AssertionError("an open connection has a driver's")
    schema = driver.execute("SELECT quote_ident(current_schema())").fetchone()[0]
    text = Path(__file__).with_name("0016_sealed_centre.sql").read_text(encoding="utf-8")
    for statement in text.split(";;\n"):
        driver.execute(statement.replace("{schema}", schema))
