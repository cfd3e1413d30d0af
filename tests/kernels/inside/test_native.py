"""The compiled functions serve in the guest, so what its tests show is true of them."""

from __future__ import annotations

from execaudit import native


def test_compiled_functions_are_in_use() -> None:
    """They were copied with the checkout, and suit its sources."""
    assert native.fast is not None, native.why_not
