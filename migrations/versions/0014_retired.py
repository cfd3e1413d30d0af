"""What a central database in PostgreSQL notes beside what hosts ship. Nothing for a local history.

Which hosts were taken out of service, on which days a stream's execs are, and which names users had.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Changes the tables of 0013."""
    bind = op.get_bind()
    if bind.dialect.name != "postgresql":
        return
    # SQLAlchemy would take each % for the place of a value.
    driver = bind.connection.driver_connection
    if driver is None:
        raise AssertionError("an open connection has a driver's")
    schema = driver.execute("SELECT quote_ident(current_schema())").fetchone()[0]
    for name in ("0014_retired.sql", "0014_days.sql"):
        text = Path(__file__).with_name(name).read_text(encoding="utf-8")
        for statement in text.split(";;\n"):
            driver.execute(statement.replace("{schema}", schema))
