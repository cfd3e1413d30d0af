"""Run the real recorder in a process of its own, as a user would, and read what it recorded."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.commands import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

Row = dict[str, Any]

_CHECKOUT = Path(__file__).parents[2]
# This machine's settings must not affect the tests.
_NO_SETTINGS = Path(os.devnull)
_PROGRAM = (sys.executable, "-m", "execaudit", "--config")
_EXECAUDIT = (*_PROGRAM, str(_NO_SETTINGS))
# The probe to use, if the caller of the tests chooses one; else the recorder chooses.
PROBE = os.environ.get("EXECAUDIT_TEST_PROBE")
# The ring of a recorder whose test asks for none, where the usual one is too small for a slow machine.
_RING_SIZE = os.environ.get("EXECAUDIT_TEST_RING_SIZE")


def boot_us() -> int:
    """Returns CLOCK_BOOTTIME in microseconds: the clock of the kernel's trace."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def execaudit(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs one command to its end."""
    return subprocess.run(
        [*_EXECAUDIT, *arguments], cwd=_CHECKOUT, env=_env(), capture_output=True, text=True, check=False
    )


def _env() -> dict[str, str]:
    """Returns the environment without the user's settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("EXECAUDIT_")}


class Recorded:
    """The output of one run of the recorder; complete when the recorder has stopped."""

    def __init__(self, folder: Path, config: Path = _NO_SETTINGS, talk: Path | None = None) -> None:
        self._config = config
        self.db = folder / "history.db"
        self.json_log = folder / "execs.jsonl"
        self._stderr = talk or folder / "stderr.jsonl"
        self.moments_us: list[int] = []
        """CLOCK_BOOTTIME when the recorder was started, was ready, was told to stop, had stopped."""
        self.pid = 0
        """The recorder's pid."""
        self.status: int | None = None
        """The exit status of the recorder."""

    def arguments(self, options: tuple[str, ...]) -> list[str]:
        """Returns the recorder's command line."""
        probe = ("--probe", PROBE) if PROBE else ()
        ring = ("--ring-size", _RING_SIZE) if _RING_SIZE else ()
        return [
            *_PROGRAM, str(self._config), "--db", str(self.db), "record", "--json-log", str(self.json_log), "--quiet",
            *probe, *ring, *options,
        ]  # fmt: skip

    def open_stderr(self) -> contextlib.AbstractContextManager[Any]:
        """Returns the file into which the recorder's standard error goes."""
        return self._stderr.open("wb")

    def said(self) -> list[Row]:
        """Returns the recorder's messages on standard error: JSON, because that is no terminal."""
        return [json.loads(text) for text in self._stderr.read_text().splitlines()]

    def has_said(self, event: str) -> bool:
        """Says whether the recorder printed an event; a line that is not yet whole does not count."""
        return any(
            json.loads(text).get("event") == event
            for text in self._stderr.read_text().splitlines(keepends=True)
            if text.endswith("\n") and text.startswith("{")
        )

    def stderr(self) -> str:
        """Returns the recorder's standard error as text, for messages."""
        return self._stderr.read_text()

    def query(self, *filters: str) -> subprocess.CompletedProcess[str]:
        """Runs a query on the history."""
        return execaudit("--db", str(self.db), "query", "--format", "jsonl", *filters)

    def rows(self, *filters: str) -> list[Row]:
        """Returns all execs of the history, or those that a query finds."""
        answer = self.query(*filters)
        assert answer.returncode == 0, answer.stderr
        return [row for row in map(json.loads, answer.stdout.splitlines()) if row["kind"] != "gap"]

    def logged(self) -> list[Row]:
        """Returns the execs and gaps of the JSON log, also of parts that were put aside: on a small disk."""
        log = self.json_log
        aside = sorted(log.parent.glob(f"{log.name}.*.gz"), key=lambda path: -int(path.suffixes[-2][1:]))
        texts = [*(gzip.decompress(path.read_bytes()).decode() for path in aside), log.read_text()]
        return [json.loads(text) for text in "".join(texts).splitlines()]

    def gaps(self) -> list[Row]:
        """Returns the gaps of the JSON log."""
        return [row for row in self.logged() if row["kind"] == "gap"]


@contextlib.contextmanager
def recording(
    folder: Path, *options: str, config: Path = _NO_SETTINGS, talk: Path | None = None
) -> Iterator[Recorded]:
    """Starts a recorder, runs the body when it is ready, and stops it with SIGINT."""
    folder.mkdir(parents=True, exist_ok=True)
    recorded = Recorded(folder, config, talk)
    with recorded.open_stderr() as stderr:
        recorder = subprocess.Popen(
            recorded.arguments(options), cwd=_CHECKOUT, env=_env(), stdin=subprocess.DEVNULL, stderr=stderr
        )
        recorded.pid = recorder.pid
        try:
            recorded.moments_us.append(boot_us())
            _await_ready(recorder, recorded)
            recorded.moments_us.append(boot_us())
            yield recorded
            recorded.moments_us.append(boot_us())
            recorder.send_signal(signal.SIGINT)
            recorded.status = recorder.wait(timeout=PATIENCE)
            recorded.moments_us.append(boot_us())
        finally:
            recorder.kill()
            recorder.wait()


def _await_ready(recorder: subprocess.Popen[bytes], recorded: Recorded) -> None:
    deadline = time.monotonic() + PATIENCE
    while not recorded.has_said("recording"):
        assert recorder.poll() is None, recorded.stderr()
        assert time.monotonic() < deadline, recorded.stderr()
        time.sleep(0.01)


@contextlib.contextmanager
def paused(recorded: Recorded) -> Iterator[None]:
    """Stops all threads of a recorder (SIGSTOP) while the body runs."""
    os.kill(recorded.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(recorded.pid, signal.SIGCONT)


def argv_of(row: Row) -> bytes:
    """Returns the captured bytes of a whole argv, each argument ended by a NUL."""
    if "argv_base64" in row:
        return base64.b64decode(row["argv_base64"], validate=True)
    return b"".join(argument.encode() + b"\0" for argument in row["argv"])


def text(raw: bytes) -> str:
    r"""Returns bytes as the record shows them: a byte that is not UTF-8 as `\xNN`."""
    return raw.decode("utf-8", "backslashreplace")


def without_end(row: Row) -> Row:
    """Returns a record as the JSON log has it: without the end, because it is written at the exec."""
    ends = ("ended", "exit_code", "exit_signal", "duration_ns", "replaced_by")
    return {**row, **dict.fromkeys(ends)}
