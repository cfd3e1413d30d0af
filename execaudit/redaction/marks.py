"""What stands for a secret: equal secrets have equal marks, and nobody without the key can tell which."""

from __future__ import annotations

import base64
import hmac
import re

from execaudit.event import MARK_BYTES

PREFIX = b"REDACTED:"
_CHARACTERS = MARK_BYTES - len(PREFIX)
_IS_MARK = re.compile(rb"REDACTED:[a-z2-7]{12}").fullmatch


def mark(secret: bytes, key: bytes) -> bytes:
    """Returns what stands for a secret: 60 bits of an HMAC, in characters that no shell treats specially."""
    digest = hmac.digest(key, secret, "sha256")
    return PREFIX + base64.b32encode(digest[:8])[:_CHARACTERS].lower()


def is_mark(text: bytes) -> bool:
    """Says whether a text has the form of a mark. Whoever runs a program can write one."""
    return _IS_MARK(text) is not None
