"""What holds for all tests."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.installing import make

if TYPE_CHECKING:
    from pathlib import Path

# A shell starts what is in the background with SIGINT ignored, and the commands under test would
# inherit it and rightly go on; handled here it is the default there.
signal.signal(signal.SIGINT, signal.default_int_handler)

with contextlib.suppress(ImportError):  # the guests of tests/kernels run no such tests
    from hypothesis import HealthCheck, settings

    # How long an example takes says more of the machine than of the code: bench/ measures.
    timeless = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    # The same examples each time: who changed nothing gets the same answer.
    settings.register_profile("execaudit", timeless, derandomize=True)
    # `make fuzz`: others each time. What fails is kept in .hypothesis, and tried first the next time.
    settings.register_profile(
        "fuzz", timeless, max_examples=int(os.environ.get("EXECAUDIT_TEST_EXAMPLES", "1000")), print_blob=True
    )
    settings.load_profile("execaudit")


@pytest.fixture(scope="session")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make install` makes, below a folder; not to be changed."""
    folder = tmp_path_factory.mktemp("staged")
    make("install", folder)
    return folder
