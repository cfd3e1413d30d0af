"""The columns for the fields of a Launch and an Origin, from the table of fields. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.fields import Form

if TYPE_CHECKING:
    from execaudit.fields import Field

_DICTIONARIES = {Form.NAME: "user", Form.COMM: "comm", Form.PATH: "path"}
BLOB_FORMS = frozenset({Form.BYTES})
"""The forms whose columns hold bytes; all others hold a number."""


def dictionary_of(field: Field) -> str | None:
    """Returns the dictionary table that holds a field's values; None: the column holds them itself."""
    return _DICTIONARIES.get(field.form)


def column_of(field: Field) -> str:
    """Returns the name of a field's column."""
    return f"{field.name}_id" if field.form in _DICTIONARIES else field.name
