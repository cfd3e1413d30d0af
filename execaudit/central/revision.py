"""Whether a central database has this version's tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.database.revision import REVISION
from execaudit.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from execaudit.database.url import Central


def check_revision(location: Central, rows: Callable[[str], Sequence[Sequence[object]]]) -> None:
    """Raises StoreError unless a PostgreSQL database has this version's tables. `rows` asks it."""
    shown = str(location)
    if rows("SELECT to_regclass('alembic_version')")[0][0] is None:
        raise StoreError(
            f"{shown} is no central database", fix=f"make one with `execaudit --db {shown} db upgrade`"
        )
    found = rows("SELECT version_num FROM alembic_version")
    revision = str(found[0][0]) if found else ""
    if revision < REVISION:
        raise StoreError(
            f"{shown} has an older schema ({revision})", fix=f"run `execaudit --db {shown} db upgrade`"
        )
    if revision > REVISION:
        raise StoreError(
            f"{shown} was made by a newer execaudit (schema {revision})", fix="install that version"
        )
