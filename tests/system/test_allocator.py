"""What the recorder keeps from being imported, and that what it left out can still be used."""

from __future__ import annotations

import subprocess
import sys

# What the machine has each Python import at its start (site, *.pth) is not the recorder's.
_START = """
import sys
before = {*sys.modules}
from execaudit.system import allocator
allocator.leave_out()
from execaudit.cli.run import recording
"""


def _run(code: str) -> list[str]:
    """Runs code in a new process in which the recorder is imported. Returns the words that it prints."""
    command = [sys.executable, "-c", _START + code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_recorder_loads_no_module_that_only_libraries_would_need() -> None:
    """What SQLAlchemy and structlog import without need is not in the recorder's memory."""
    heavy = "asyncio.events email.message importlib.metadata._meta ssl _lzma _bz2 _hashlib rich.console"
    assert (
        _run(f"print(*[name for name in {heavy.split()!r} if sys.modules.get(name) and name not in before])")
        == []
    )


def test_logging_asks_for_a_task_and_loads_nothing() -> None:
    """As logging does for each record from Python 3.12 on."""
    asks = "import logging, sys\ntry: sys.modules['asyncio'].current_task()\nexcept RuntimeError: print('none')\n"
    assert _run(f"{asks}print(sys.modules.get('asyncio.events'))") == ["none", "None"]


def test_what_is_not_loaded_yet_can_be_used() -> None:
    """A module that was put off is loaded when something of it is used, by Alembic for example."""
    found = _run(
        "import asyncio, importlib.metadata\n"
        "from importlib.metadata import EntryPoint\n"
        "async def three(): return 3\n"
        "print(asyncio.run(three()), EntryPoint.__name__, importlib.metadata.version('click')[:1])\n"
        "import asyncio.events, alembic.command\n"
        "print(asyncio.events.__name__, asyncio.CancelledError.__module__)"
    )
    assert found == ["3", "EntryPoint", "8", "asyncio.events", "asyncio.exceptions"]


def test_modules_can_be_imported_from_before_anything_of_them_is_used() -> None:
    """Importing from such a module loads it."""
    assert _run("import asyncio.queues; from asyncio import Lock; print(asyncio.queues.__name__, Lock.__name__)") == [
        "asyncio.queues", "Lock",
    ]  # fmt: skip


def test_an_error_of_the_database_loads_nothing() -> None:
    """SQLAlchemy asks for names of asyncio while it handles an error; that is no time to load modules."""
    found = _run(
        "import sqlalchemy as sa\n"
        "connection = sa.create_engine('sqlite://').connect()\n"
        "before = set(sys.modules)\n"
        "try: connection.exec_driver_sql('nonsense')\n"
        "except sa.exc.OperationalError: print('refused', *set(sys.modules) - before)"
    )
    assert found == ["refused"]
