"""All about one exec, for people: the fields of the record, and what they want to know beside them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.output.json_lines import json_text
from execaudit.output.record import to_record
from execaudit.output.summary_line import local_text

if TYPE_CHECKING:
    from datetime import tzinfo

    from execaudit.event import ExecEvent


def shown_record(event: ExecEvent, outcome: str, zone: tzinfo | None = None) -> dict[str, str | None]:
    """Returns the values by their names, in order; not yet safe to show.

    `outcome` says how it ended. The local time is that of `zone`; None is the system's.
    """
    shown: dict[str, str | None] = {}
    for name, value in to_record(event).items():
        shown[name] = json_text(value) if isinstance(value, list) else None if value is None else str(value)
        if name == "time":
            shown["local time"] = local_text(event.time_ns, zone)
        if name == "replaced_by":
            shown["how it ended"] = outcome
    return shown
