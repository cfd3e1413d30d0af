"""What holds for all tests."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests import unclosed
from tests.installing import make

if TYPE_CHECKING:
    from pathlib import Path

# What the caller hands down, and what is started here would inherit: signals that are ignored (nohup and a
# shell's background) or blocked, and an umask that keeps others out of what tests make for them.
signal.pthread_sigmask(signal.SIG_SETMASK, [])
for _number in signal.valid_signals() - {
    signal.SIGPIPE,
    signal.SIGXFSZ,
}:  # Python's own to ignore, not its children's
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
os.umask(0o022)
if sys.version_info < (3, 13):
    unclosed.watch()

with contextlib.suppress(ImportError):  # the guests of tests/kernels run no such tests
    from hypothesis import HealthCheck, settings

    # How long an example takes says more of the machine than of the code: bench/ measures.
    timeless = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    # The same examples each time: who changed nothing gets the same answer. Of 100 that a test is said to
    # have 60 are tried here, because all of them take more than the suite's quarter of an hour.
    settings.register_profile("execaudit", timeless, derandomize=True, max_examples=60)
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
