"""The verification key that an option names, for all commands that take one."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from execaudit.errors import StoreError
from execaudit.seal.keys import VerificationKey

_STDIN = "-"
_LONGEST_KEY = 10_000


def key_of(text: str) -> VerificationKey:
    """Returns the key that an option names. Raises StoreError."""
    if not text.startswith("@"):
        click.echo(
            "warning: a key in the command line is recorded with it; give --key @FILE, or @- for standard input",
            err=True,
        )
        return VerificationKey.from_text(text)
    name = text[1:]
    try:
        if name == _STDIN:
            raw = sys.stdin.buffer.readline(_LONGEST_KEY)
        else:
            with Path(name).open("rb") as file:
                raw = file.read(_LONGEST_KEY)
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else str(exc)
        raise StoreError(f"cannot read the key {name}: {why}", fix="name its file with --key @FILE") from exc
    return VerificationKey.from_text(raw.decode("ascii", "replace"))
