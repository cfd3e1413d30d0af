"""How many examples a property test has: the profile decides (tests/conftest.py)."""

from __future__ import annotations

from hypothesis import settings

_USUAL = 100  # what hypothesis tries by itself


def examples(number: int) -> settings:
    """Returns the settings for `number` examples where others have 100: a profile has its share."""
    profile = settings.default
    assert profile is not None
    return settings(max_examples=max(1, number * profile.max_examples // _USUAL))
