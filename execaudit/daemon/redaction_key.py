"""The key of redaction's marks: a file beside the database, which readers of the history cannot read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from execaudit.errors import ExecauditError
from execaudit.system.safe_open import open_safely

KEY_BYTES = 32


def path_of(database: Path) -> Path:
    """Returns where the key of a history is."""
    return Path(f"{database}.redaction-key")


def load(path: Path) -> bytes:
    """Returns the key of the file; makes both if there is no file. Raises ExecauditError.

    Nobody but its owner may read it: who has the key can guess short secrets by their marks.
    """
    try:
        descriptor = open_safely(path, os.O_RDWR, 0o600, trust_folder=True)
        with os.fdopen(descriptor, "r+b") as file:
            if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
                raise ExecauditError(f"others may read {path}", fix=f"chmod 600 {path}")
            key = file.read(KEY_BYTES + 1)
            if not key:
                # An empty file: it is new, or a recorder was killed here.
                key = os.urandom(KEY_BYTES)
                file.write(key)
                file.flush()
                os.fsync(descriptor)
    except OSError as exc:
        raise ExecauditError(
            f"cannot read or make {path}: {exc.strerror}", fix="marks need a key there, or no [redact]"
        ) from exc
    if len(key) != KEY_BYTES:
        raise ExecauditError(
            f"{path} is no key",
            fix="remove it: a new one is made, and equal secrets get other marks than before",
        )
    return key
