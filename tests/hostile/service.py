"""Start the installed service as its unit does, with folders of its own."""

from __future__ import annotations

import configparser
import contextlib
import gzip
import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tests.commands import PATIENCE, Terminal, running

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIBRARY = Path("usr/local/lib/execaudit")
_PROGRAM = Path("usr/local/bin/execaudit")
_UNIT = Path("usr/local/lib/systemd/system/execaudit.service")
_LOGS = "/var/log/execaudit"
# The uid of the service's user: no other user has this number.
_USER = 64_017
GROUP = _USER
"""The group whose members may read the history."""


class Installed:
    """A copy of what `make install` installed, which the service's user can read."""

    def __init__(self, staged: Path, folder: Path) -> None:
        """Copies it, because only root can enter the folder into which it was installed."""
        shutil.copytree(staged / _LIBRARY, folder / "library")
        self.program = folder / "execaudit"
        launcher = (staged / _PROGRAM).read_text().replace(f'"/{_LIBRARY}"', f'"{folder / "library"}"')
        self.program.write_text(launcher)
        self.program.chmod(0o755)
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        parser.read(staged / _UNIT)
        self.unit = parser["Service"]

    def command(self, logs: Path, *options: str) -> list[str]:
        """Returns the command of the unit, run as the unit's user with its capabilities."""
        capabilities = ",".join(
            f"+{name.removeprefix('CAP_').lower()}" for name in self.unit["AmbientCapabilities"].split()
        )
        program, *arguments = shlex.split(self.unit["ExecStart"].replace(_LOGS, str(logs)))
        assert program == f"/{_PROGRAM}"
        return [
            "setpriv", f"--reuid={_USER}", f"--regid={GROUP}", "--clear-groups", "--no-new-privs",
            f"--bounding-set=-all,{capabilities}", f"--inh-caps=-all,{capabilities}", f"--ambient-caps=-all,{capabilities}",
            "--", str(self.program), *options, *arguments,
        ]  # fmt: skip


class Service:
    """One history, and the recorder that writes it."""

    def __init__(self, installed: Installed, folder: Path, config: str = "") -> None:
        """Makes the folders that systemd would make, below a folder that everybody can enter."""
        self._installed = installed
        self.folder = folder
        self.state, self.logs = folder / "state", folder / "logs"
        for path in (self.state, self.logs):
            path.mkdir()
            path.chmod(0o750)
            os.chown(path, _USER, GROUP)
        self.db, self.json_log = self.state / "execaudit.db", self.logs / "execaudit.jsonl"
        self.config = folder / "config.toml"
        self.config.write_text(config)
        self._talk = folder / "stderr"
        self._process: subprocess.Popen[bytes] | None = None

    def begin(
        self, *more: str, stdout: int | IO[bytes] = subprocess.DEVNULL, before: tuple[str, ...] = ()
    ) -> None:
        """Starts the recorder; `more` is added to the arguments of the unit."""
        options = ("--config", str(self.config), "--db", str(self.db))
        with self._talk.open("ab") as talk:
            self._process = subprocess.Popen(
                [*before, *self._installed.command(self.logs, *options), *more],
                cwd="/",
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TMPDIR": str(self.logs)},
                umask=int(self._installed.unit["UMask"], 8),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=talk,
            )

    def await_said(self, event: str, times: int = 1) -> None:
        """Waits until the recorder has printed a text so many times."""
        deadline = time.monotonic() + PATIENCE
        while self.said().count(f'"event": "{event}"') < times:
            self.must_live()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.05)

    def await_logged(self, exec_id: str) -> None:
        """Waits until an exec is in the JSON log."""
        deadline = time.monotonic() + PATIENCE
        while f'"{exec_id}"' not in self.json_log.read_text(errors="replace"):
            self.must_live()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)

    @contextlib.contextmanager
    def recording(
        self, *more: str, stdout: int | IO[bytes] = subprocess.DEVNULL, before: tuple[str, ...] = ()
    ) -> Iterator[None]:
        """Records while the body runs, and stops in order."""
        ready = self.said().count('"event": "recording"') + 1
        self.begin(*more, stdout=stdout, before=before)
        try:
            self.await_said("recording", ready)
            yield
            self.must_live()
            assert self.stop() == 0, self.said()
        finally:
            self.kill()

    @property
    def pid(self) -> int:
        """Returns the recorder's pid."""
        assert self._process is not None
        return self._process.pid

    def must_live(self) -> None:
        """Fails if the recorder has ended."""
        assert self._process is not None
        assert self._process.poll() is None, self.said()

    def stop(self) -> int:
        """Stops the recorder, and kills it after the same time as systemd would. Returns its exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=self.stop_seconds())

    def stop_seconds(self) -> float:
        """Returns after how many seconds systemd would kill it."""
        # systemd's own default; see DefaultTimeoutStopSec= in systemd-system.conf(5).
        return float(self._installed.unit.get("TimeoutStopSec", "90").removesuffix("s"))

    def wait(self) -> int:
        """Waits until the recorder ends by itself. Returns its exit status."""
        assert self._process is not None
        return self._process.wait(timeout=PATIENCE)

    def kill(self) -> None:
        """Kills the recorder if it has not ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def said(self) -> str:
        """Returns the recorder's messages."""
        return self._talk.read_text(errors="replace") if self._talk.exists() else ""

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs another command of the installed program."""
        return subprocess.run(
            [self._installed.program, "--config", os.devnull, "--db", self.db, *arguments],
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )

    def shown(self, *arguments: str) -> str:
        """Runs another command of the installed program on a terminal. Returns its whole output."""
        terminal = Terminal()
        program = (str(self._installed.program), "--config", os.devnull, "--db", str(self.db))
        with running(
            *arguments,
            before=program,
            env={"PAGER": "cat", "COLUMNS": "1000"},
            stdout=terminal.theirs,
            stderr=terminal.theirs,
        ) as process:
            shown = terminal.read().decode()
            assert process.wait(PATIENCE) == 0, shown
        return shown

    def logged(self) -> list[dict[str, Any]]:
        """Returns the content of the JSON log and of old logs. To be called while nothing is written."""
        contents = [
            gzip.decompress(each.read_bytes()) if each.suffix == ".gz" else each.read_bytes()
            for each in self.logs.glob(f"{self.json_log.name}*")
        ]
        return [json.loads(line) for content in contents for line in content.splitlines()]

    def rows(self, *filters: str) -> list[dict[str, Any]]:
        """Returns the execs that a query finds."""
        done = self.ask("query", "--format", "jsonl", *filters)
        assert done.returncode == 0, done.stderr
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        return [row for row in rows if row["kind"] != "gap"]

    def row(self, *filters: str) -> dict[str, Any]:
        """Returns the only exec that a query finds."""
        rows = self.rows(*filters)
        assert len(rows) == 1, rows
        return rows[0]

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Returns the rows of a statement in the history."""
        with contextlib.closing(sqlite3.connect(f"file:{self.db}?mode=ro", uri=True)) as connection:
            return connection.execute(statement, values).fetchall()
