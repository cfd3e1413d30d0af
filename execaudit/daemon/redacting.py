"""Replace secrets in the arguments of execs, before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from execaudit.arguments import to_redactions
from execaudit.daemon import redaction_key
from execaudit.enums import Truncated
from execaudit.event import Hole

if TYPE_CHECKING:
    from pathlib import Path

    from execaudit.event import ExecEvent
    from execaudit.redaction.redactor import Redactor
    from execaudit.redaction.rules import RedactSettings

log = structlog.get_logger()


class Redacting:
    """Redacts what is recorded into a history. Without settings it does nothing."""

    def __init__(self, database: Path) -> None:
        self._key_file = redaction_key.path_of(database)
        self._key: bytes | None = None
        self._redactor: Redactor | None = None
        self._has_failed = False

    @property
    def is_on(self) -> bool:
        """Says whether there are rules."""
        return self._redactor is not None

    def use(self, wanted: RedactSettings | None) -> None:
        """Follows these rules from now on. For any thread. Raises ExecauditError, then nothing changes."""
        if wanted is None:
            self._redactor = None
            return
        # RE2 and the rules take memory that other recorders do not need.
        from execaudit.redaction.redactor import Redactor  # noqa: PLC0415
        from execaudit.redaction.ruleset import compile_rules  # noqa: PLC0415

        rules = compile_rules(wanted)
        if self._key is None:
            self._key = redaction_key.load(self._key_file)
        self._redactor = Redactor(rules, self._key)

    def redacted(self, events: list[ExecEvent]) -> list[ExecEvent]:
        """Returns execs without the secrets of their arguments."""
        redactor = self._redactor
        if redactor is None:
            return events
        return [self._one(redactor, event) for event in events]

    def _one(self, redactor: Redactor, event: ExecEvent) -> ExecEvent:
        try:
            return _without_secrets(redactor, event)
        except Exception as exc:  # noqa: BLE001  # a bug: nothing is written that could have a secret
            if not self._has_failed:
                self._has_failed = True
                # Not its text, which may have one too.
                log.error(
                    "redaction_failed", reason=type(exc).__name__, todo="arguments are left out: report it"
                )
            return event._replace(argv=b"", holes=(Hole(0, None),), truncated=Truncated.LOST)


def _without_secrets(redactor: Redactor, event: ExecEvent) -> ExecEvent:
    from execaudit.redaction.redactor import shifted  # noqa: PLC0415  # loaded by now

    found = redactor.redact(event.argv)
    if found is None:
        return event
    argv, moves = found
    # A secret with a hole in it is one mark, and the hole comes after it.
    holes: dict[int, int | None] = {}
    for at, missing in event.holes:
        place = shifted(at, moves)
        before = holes.get(place, 0)
        holes[place] = None if before is None or missing is None else before + missing
    kept = tuple(Hole(at, missing) for at, missing in holes.items())
    total = event.argv_bytes
    return event._replace(
        argv=argv,
        holes=kept,
        # The length of a secret is not told.
        argv_bytes=None if total is None else total + len(argv) - len(event.argv),
        redacted=to_redactions(argv, kept, [move.new_at for move in moves]),
    )
