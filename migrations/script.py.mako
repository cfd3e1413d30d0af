"""${message}"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Tables are frozen here as they stood: never import execaudit.schema."""
    ${upgrades if upgrades else "raise AssertionError('write it')"}
