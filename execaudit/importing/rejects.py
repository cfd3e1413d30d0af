"""What an import left out: counted by reason, and kept in a file."""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import IO, TYPE_CHECKING

from execaudit.errors import ExecauditError
from execaudit.escaping import exact

if TYPE_CHECKING:
    from pathlib import Path

    from execaudit.importing.items import Reject

# Command lines hold secrets.
_MODE = 0o600
# Reasons are the program's own, but for names of fields.
_MOST_REASONS, _MORE = 100, "other reasons"


class Rejects:
    """Counts what is left out, and writes rejects as lines of JSON if there is a file for them."""

    def __init__(self, path: Path | None) -> None:
        """Makes the file. Raises ExecauditError."""
        self.counts: Counter[str] = Counter()
        self.rejected = 0
        self._file: IO[str] | None = None
        if path is None:
            return
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        except FileExistsError as exc:
            raise ExecauditError(
                f"{path} is there already", fix="remove it, or name another file with --rejects"
            ) from exc
        except OSError as exc:
            raise ExecauditError(
                f"cannot write {path}: {exc.strerror}", fix="name another file with --rejects"
            ) from exc
        self._file = os.fdopen(handle, "w", encoding="ascii")

    def add(self, name: str, reject: Reject) -> None:
        """Takes a reject of a file."""
        self.rejected += 1
        self.count(reject.reason)
        if self._file is not None:
            kept = {
                "file": exact(os.fsencode(name)),
                "line": reject.line,
                "reason": reject.reason,
                "text": exact(reject.text),
            }
            self._file.write(json.dumps(kept) + "\n")

    def count(self, reason: str, number: int = 1) -> None:
        """Counts what is left out and is not wrong."""
        if reason not in self.counts and len(self.counts) >= _MOST_REASONS:
            reason = _MORE
        self.counts[reason] += number

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
