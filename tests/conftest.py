"""What holds for all tests."""

from __future__ import annotations

import contextlib

with contextlib.suppress(ImportError):  # the guests of tests/kernels run no such tests
    from hypothesis import settings

    # How long an example takes says more of the machine than of the code: bench/ measures.
    settings.register_profile("execaudit", deadline=None)
    settings.load_profile("execaudit")
