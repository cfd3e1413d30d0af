"""Settings and fixtures for all tests."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from execaudit import native
from tests import installing, unclosed

if TYPE_CHECKING:
    from pathlib import Path

# Undo what the caller of pytest may have set, because programs that tests start would inherit it: ignored
# signals (nohup, a shell's background job), blocked signals, and a umask that keeps other users out.
signal.pthread_sigmask(signal.SIG_SETMASK, [])
for _number in signal.valid_signals() - {
    signal.SIGPIPE,
    signal.SIGXFSZ,
}:  # Python ignores these itself, but not for its children
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
os.umask(0o022)
if sys.version_info < (3, 13):
    unclosed.watch()
if "EXECAUDIT_TEST_NATIVE" in os.environ:  # see tools/sanitized.py
    native.__path__.insert(0, os.environ["EXECAUDIT_TEST_NATIVE"])
    assert os.environ["EXECAUDIT_TEST_NATIVE"] in repr(native.fast), native.why_not

with contextlib.suppress(ImportError):  # the guests of tests/kernels run no such tests
    from hypothesis import HealthCheck, settings

    # No time limits, because time depends on the machine. bench/ measures it.
    timeless = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    # The same examples each time, so that the same code gets the same result. Only 40 of 100 examples are
    # tried, because all of them would take longer than the suite's quarter of an hour.
    settings.register_profile("execaudit", timeless, derandomize=True, max_examples=40)
    # `make fuzz` tries new examples each time. A failing one is kept in .hypothesis, and tried first next
    # time.
    settings.register_profile(
        "fuzz", timeless, max_examples=int(os.environ.get("EXECAUDIT_TEST_EXAMPLES", "1000")), print_blob=True
    )
    settings.load_profile("execaudit")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds an option for the second half of `make test`, and one for `make test-fleet`."""
    parser.addoption(
        "--one-kernel", action="store_true", help="run tests/live and tests/hostile one after the other"
    )
    parser.addoption(
        "--all-servers", action="store_true", help="run the tests with the servers of the distribution, too"
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:  # noqa: ANN401  # xdist has no types
    """Gives all tests that need the kernel for themselves to one worker."""
    if not config.getoption("--one-kernel"):
        return None
    from xdist.scheduler import (  # type: ignore[import-untyped]  # noqa: PLC0415  # a guest has no xdist
        LoadFileScheduling,
    )

    class OneKernel(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            if nodeid.startswith(("tests/live/", "tests/hostile/")):
                return "kernel"
            return str(super()._split_scope(nodeid))

    return OneKernel(config, log)


@pytest.fixture(scope="session")
def staged() -> Path:
    """Returns a folder with everything that `make install` installs. Tests must not change it."""
    return installing.staged()
