"""Values as texts, as the record shows them: for tests of texts, which take any field. Pure."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from execaudit.database.signed64 import unsigned
from execaudit.enums import GAINED_WORDS, errno_name
from execaudit.fields import Form
from execaudit.times import utc_text

if TYPE_CHECKING:
    from collections.abc import Callable

_MINOR_BITS = 20


def shown_text(form: Form, value: Any) -> bytes | None:  # noqa: ANN401  # an event's, of a field of this form
    """Returns the text for a value in an event, None for null."""
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, str):
        text = str(value.value) if isinstance(value, Enum) else value
        return text.encode("utf-8", "surrogateescape")
    shown = _SHOWN.get(form, str)(value)
    return None if shown is None else shown.encode()


def stored_text(form: str, value: int | None) -> bytes | None:
    """Returns the text for a number in the database, of a form of this name."""
    if value is None:
        return None
    of = Form[form]
    return shown_text(of, unsigned(value) if of is Form.UNSIGNED_64 else value)


def _device_text(device: int) -> str:
    return f"{device >> _MINOR_BITS}:{device & (1 << _MINOR_BITS) - 1}"


_SHOWN: dict[Form, Callable[[Any], str | None]] = {
    Form.DEVICE: _device_text,
    Form.TIME: utc_text,
    Form.ERRNO: errno_name,
    Form.GAINED: GAINED_WORDS.__getitem__,
}
