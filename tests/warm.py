"""Run execaudit in a fork of a process that has imported it: to import takes most of a command's time.

A command of that kind is a process of its own, with its own arguments, environment, folder and pipes. It is
for tests of what commands say; whatever depends on how a process begins starts Python anew.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import marshal
import os
import pkgutil
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ROOT = Path(__file__).parent.parent
_ROOMS = tuple(
    f"tests/{room}/"
    for room in ("cli", "fleet", "hunt", "importing", "query", "redaction", "report", "seal", "store")
)
# What Python, SQLite and the loader of libraries read when a process begins.
_AT_BEGIN = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "SQLITE_", "EXECAUDIT_PURE", "EXECAUDIT_TEST_")
_MAY_CHANGE = frozenset({"TZ", "NO_COLOR", "EXECAUDIT_DB", "PGPASSFILE", "TERM", "COLUMNS"})
# They attach a probe, or draw a screen: tests start those anew.
_LEFT_OUT = frozenset({"record", "recording", "top"})
_OF_KIND = {
    "local": ("sqlite3", "jinja2"),
    "central": (
        "clickhouse_driver", "psycopg", "sqlalchemy", "execaudit.fleet.central_history",
        "execaudit.fleet.clickhouse_reader", "execaudit.fleet.postgresql_reader",
    ),
}  # fmt: skip
_STATUS = struct.Struct("=ii")
_FILES, _FEW = 5, 64
_CHUNK = 1 << 16


class _Server(NamedTuple):
    """The process that forks."""

    control: socket.socket
    at_begin: dict[str, str]
    pid: int


_servers: dict[str, _Server] = {}


def may_run(changes: Mapping[str, str]) -> bool:
    """Says whether the test that runs is of this kind, and so is what it changes in the environment."""
    if "EXECAUDIT_TEST_COLD" in os.environ or not os.environ.get("PYTEST_CURRENT_TEST", "").startswith(
        _ROOMS
    ):
        return False
    return _MAY_CHANGE.issuperset(changes) and _server().at_begin == _at_begin()


def run(
    arguments: Sequence[str | bytes | Path],
    *,
    folder: Path | None,
    env: Mapping[str, str],
    timeout: float,
) -> subprocess.CompletedProcess[bytes]:
    """Runs a command to its end, as subprocess.run() does, with pipes for its output and no input."""
    words = [os.fsencode(word) for word in arguments]
    work = os.fsencode(Path.cwd() if folder is None else folder)
    payload = marshal.dumps((words, work, {os.fsencode(k): os.fsencode(v) for k, v in env.items()}))
    with contextlib.ExitStack() as stack:
        asked = os.memfd_create("payload")
        stack.callback(os.close, asked)
        os.write(asked, payload)
        ours, theirs = socket.socketpair()
        stack.enter_context(ours)
        pipes = [os.pipe(), os.pipe()]
        nothing = os.open(os.devnull, os.O_RDONLY)
        files = [theirs.fileno(), asked, nothing, pipes[0][1], pipes[1][1]]
        socket.send_fds(_server().control, [b"x"], files)
        theirs.close()
        for number in (nothing, pipes[0][1], pipes[1][1]):
            os.close(number)
        readers = [stack.enter_context(os.fdopen(reading, "rb", 0)) for reading, _ in pipes]
        return _finished(words, ours, readers, timeout)


def _finished(
    words: Sequence[bytes], connection: socket.socket, readers: Sequence[IO[bytes]], timeout: float
) -> subprocess.CompletedProcess[bytes]:
    deadline = time.monotonic() + timeout
    said: dict[int, list[bytes]] = {reader.fileno(): [] for reader in readers}
    answer = b""
    with selectors.DefaultSelector() as selector:
        for number in (*said, connection.fileno()):
            selector.register(number, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                if len(answer) >= _STATUS.size // 2:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(struct.unpack_from("=i", answer)[0], signal.SIGKILL)
                raise subprocess.TimeoutExpired([*words], timeout)
            for key, _ in ready:
                chunk = os.read(key.fd, _CHUNK)
                if not chunk:
                    selector.unregister(key.fd)
                elif key.fd == connection.fileno():
                    answer += chunk
                else:
                    said[key.fd].append(chunk)
    out, err = (b"".join(said[reader.fileno()]) for reader in readers)
    return subprocess.CompletedProcess([*words], _STATUS.unpack(answer)[1], out, err)


def _at_begin() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(_AT_BEGIN)}


def _server() -> _Server:
    """Returns the server of this process for a kind of tests: central databases need large libraries."""
    kind = "central" if os.environ["PYTEST_CURRENT_TEST"].startswith("tests/fleet/") else "local"
    found = _servers.get(kind)
    if found is None or found.pid != os.getpid():
        found = _servers[kind] = _start(kind)
    return found


def _start(kind: str) -> _Server:
    ours, theirs = socket.socketpair()
    subprocess.Popen(  # it ends when this process does, and with it the socket
        [sys.executable, "-m", "tests.warm", kind, str(theirs.fileno())],
        cwd=_ROOT,
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ).returncode = 0  # nobody waits for it
    theirs.close()
    return _Server(ours, _at_begin(), os.getpid())


def _serve(control: socket.socket, kind: str) -> None:
    """Forks a process for each command, and says its pid, and with what status it ended."""
    _import(_OF_KIND[kind])
    # Else the first collection of each process would copy all pages.
    gc.collect()
    gc.freeze()
    connections: dict[int, int] = {}
    ended, ending = socket.socketpair()
    for each in (ended, ending):
        each.settimeout(0)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(ending.fileno())
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(ended, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if ended in ready:
                ended.recv(_CHUNK)
                _say_ended(connections)
            if control in ready:
                message, files, _, _ = socket.recv_fds(control, 1, _FILES)
                if not message:
                    return
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    _begin(files)
                connections[pid] = files[0]
                os.write(files[0], struct.pack("=i", pid))
                for number in files[1:]:
                    os.close(number)


def _say_ended(connections: dict[int, int]) -> None:
    for pid in [*connections]:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            connection = connections.pop(pid)
            with contextlib.suppress(BrokenPipeError):  # the test has given up
                os.write(connection, struct.pack("=i", os.waitstatus_to_exitcode(status)))
            os.close(connection)


def _import(libraries: Sequence[str]) -> None:
    from execaudit.cli import run as bodies  # noqa: PLC0415  # of the server alone

    names = [f"{bodies.__name__}.{each.name}" for each in pkgutil.iter_modules(bodies.__path__)]
    for name in (*libraries, *names):
        if name.rpartition(".")[2] not in _LEFT_OUT:
            with contextlib.suppress(ImportError):  # it is an extra
                importlib.import_module(name)


def _begin(files: Sequence[int]) -> NoReturn:
    """Takes the files that the command is to have, and runs it."""
    _, payload, *standard = files
    words, folder, env = marshal.loads(os.pread(payload, os.fstat(payload).st_size, 0))  # ours
    for number, file in enumerate(standard):
        os.dup2(file, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX") if max(files) > _FEW else _FEW)
    _command(words, folder, env)


def _command(words: Sequence[bytes], folder: bytes, env: Mapping[bytes, bytes]) -> NoReturn:
    """Makes of this process what `python -m execaudit` is after its imports."""
    from execaudit import __main__, cli  # noqa: PLC0415  # of the server alone

    os.chdir(folder)
    os.environ.clear()
    os.environ.update({os.fsdecode(name): os.fsdecode(value) for name, value in env.items()})
    time.tzset()
    sys.argv = [str(__main__.__file__), *map(os.fsdecode, words)]
    encoding = sys.stdin.encoding
    sys.stdin = open(0, encoding=encoding, closefd=False)  # noqa: SIM115  # descriptors
    sys.stdout = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115
    sys.stderr = open(  # noqa: SIM115
        2, "w", encoding=encoding, errors="backslashreplace", buffering=1, closefd=False
    )
    status = 0
    try:
        cli.main()
    except SystemExit as exc:
        status = exc.code if isinstance(exc.code, int) else 0
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[2])), sys.argv[1])
