"""What holds for all tests."""

from __future__ import annotations

import contextlib
import signal

# A shell starts what is in the background with SIGINT ignored, and the commands under test would
# inherit it and rightly go on; handled here it is the default there.
signal.signal(signal.SIGINT, signal.default_int_handler)

with contextlib.suppress(ImportError):  # the guests of tests/kernels run no such tests
    from hypothesis import settings

    # How long an example takes says more of the machine than of the code: bench/ measures.
    settings.register_profile("execaudit", deadline=None)
    settings.load_profile("execaudit")
