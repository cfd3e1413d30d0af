"""Set the number of examples of a property test. The profile changes it: see tests/conftest.py."""

from __future__ import annotations

from hypothesis import settings

_USUAL = 100  # what hypothesis tries by itself


def examples(number: int) -> settings:
    """Returns the settings for `number` examples where other tests have 100; a profile tries a share."""
    profile = settings.default
    assert profile is not None
    return settings(max_examples=max(1, number * profile.max_examples // _USUAL))
