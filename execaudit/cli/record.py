"""`execaudit record`: capture execs until told to stop."""

from __future__ import annotations

import contextlib
import functools
import mmap
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from execaudit import __version__
from execaudit.capture.probe_options import ProbeKind, default_ring_bytes
from execaudit.cli.context import State, config_option, db_option, files
from execaudit.cli.filter_options import Duration
from execaudit.cli.run.reload import Reloading
from execaudit.cli.run.signals import Stop, at_once, finish, until, wait
from execaudit.errors import ConfigError, ExecauditError, ProbeError
from execaudit.escaping import name_text, printable
from execaudit.system import privileges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from execaudit.capture.probe_options import ProbeOptions
    from execaudit.daemon.log_file import LogFile
    from execaudit.daemon.monitor import Monitor
    from execaudit.daemon.recorder import Recorder, Totals
    from execaudit.daemon.retention import Retention
    from execaudit.daemon.settings import Upkeep
    from execaudit.daemon.sinks.sink import Sink
    from execaudit.event import Nanoseconds
    from execaudit.store.writer import Store

_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # as a shell says it
_LARGEST_RING = 2**30


def _ring_bytes(_ctx: click.Context, _param: click.Parameter, value: int) -> int:
    if value & (value - 1):
        raise click.BadParameter(f"{value} is no power of two, such as {default_ring_bytes()}")
    return value


@click.command("record", context_settings={"allow_interspersed_args": False})
@click.option(
    "--json-log",
    metavar="PATH|-",
    shell_complete=files,
    help="Also write one JSON line per exec; - is standard output.",
)
@click.option(
    "--probe",
    type=click.Choice([kind.value for kind in ProbeKind]),
    default=ProbeKind.AUTO.value,
    show_default=True,
    help="How execs are captured.",
)
@click.option("--no-failed", is_flag=True, help="Leave failed execs out, and every syscall 24 ns faster.")
@click.option(
    "--max-argv",
    type=click.IntRange(min=0),
    metavar="BYTES",
    help="Keep this much of a command line, half of it from its end.  [default: all]",
)
@click.option("--duration", type=Duration(), metavar="TIME", help="Stop by itself: 30s, 1h.")
@click.option("--quiet", is_flag=True, help="Do not print execs on the terminal.")
@click.option(
    "--ring-size",
    type=click.IntRange(mmap.PAGESIZE, _LARGEST_RING),
    default=default_ring_bytes,
    show_default="32 MB, less on a host with little memory",
    callback=_ring_bytes,
    metavar="BYTES",
    help="Kernel memory for execs that wait to be read: a power of two.",
)
@config_option
@db_option
@click.argument("cmd", nargs=-1, type=click.UNPROCESSED, metavar="[-- CMD ARG...]", shell_complete=files)
@click.pass_obj
def command(  # noqa: PLR0913, PLR0917  # one parameter an option
    state: State,
    cmd: tuple[str, ...],
    json_log: str | None,
    probe: str,
    max_argv: int | None,
    duration: Nanoseconds | None,
    ring_size: int,
    *,
    no_failed: bool,
    quiet: bool,
) -> int:
    """Record every exec on this host until SIGINT or SIGTERM.

    With a command, record the whole host while it runs, and exit with its status.
    """
    _check_privileges()
    _check_clock()
    if cmd:
        _check_command(cmd[0])
    path = state.database_to_write()
    _check_json_log(json_log, path)

    from execaudit.system import allocator  # noqa: PLC0415  # `--help` and refusals need none of these

    allocator.leave_out()
    from execaudit.capture.probe_options import ProbeOptions  # noqa: PLC0415
    from execaudit.daemon import diagnostics  # noqa: PLC0415
    from execaudit.daemon.monitor import Monitor  # noqa: PLC0415
    from execaudit.daemon.settings import upkeep  # noqa: PLC0415
    from execaudit.system import clock, systemd  # noqa: PLC0415
    from execaudit.times import utc_text  # noqa: PLC0415

    diagnostics.configure()
    options = ProbeOptions(ProbeKind(probe), not no_failed, max_argv, ring_size)
    wanted = upkeep(state.settings())
    # A command that is to be run gets the caller's rights, so the recorder beside it keeps them.
    if not cmd:
        privileges.become_owner(path.absolute().parent)
    with contextlib.ExitStack() as stack:
        targets = _open_targets(stack, path, json_log, wanted, quiet=quiet)
        before_ns = targets.store.recorded_until()
        recorder, uses = _attach(stack, options, targets)
        if not cmd:
            privileges.drop_all(_written(path, targets.log_file))
        monitor = Monitor(tuple(sink.name for sink in targets.sinks), wanted.textfile)
        stop = stack.enter_context(Stop.on_signals())
        diagnostics.log.info(
            "recording",
            probe=uses,
            failed=options.failed,
            db=printable(str(path)),
            json_log=None if json_log is None else printable(json_log),
            nobody_recorded_since=None if before_ns is None else utc_text(before_ns),
        )
        systemd.notify("READY=1", must_arrive=True)
        child = refused = None
        try:
            child = subprocess.Popen(cmd) if cmd else None  # noqa: S603  # what the user asked for
        except OSError as exc:
            refused = exc  # that is recorded too
        is_over = at_once if refused else until(stop, duration, child)

        reloading = Reloading(lambda: _reload(state, targets, monitor, recorder))

        def look() -> bool:
            if stop.take_hangup():
                reloading.ask()
            monitor.beat(recorder.health())
            return is_over()

        totals = _run(recorder, look, stop, child)
        targets.store.end_run(clock.wall_ns())
        diagnostics.log.info("stopped", execs=totals.execs, missed=totals.missed)
        if refused:
            raise _CommandError(f"cannot run {cmd[0]}: {refused.strerror}: try it alone", _NOT_EXECUTABLE)
        return 0 if child is None else finish(child, stop)


def _run(
    recorder: Recorder, look: Callable[[], bool], stop: Stop, child: subprocess.Popen[bytes] | None
) -> Totals:
    """Records until `look` says so. Does not return when the stop takes too long."""
    from execaudit.daemon.stopping import StuckError, leave  # noqa: PLC0415
    from execaudit.system import systemd  # noqa: PLC0415  # see command

    def on_stop() -> None:
        systemd.notify("STOPPING=1", must_arrive=True)
        stop.begin(child)

    try:
        return recorder.run(look, on_stop)
    except StuckError as exc:
        leave(str(exc), exc.exit_status)
    except BaseException:
        if child is not None:
            stop.end()
            wait(child, stop)  # only the recording has failed
        raise
    finally:
        stop.end()


def _check_clock() -> None:
    """The kernel stamps execs with its own boot clock, which is to be read here too."""
    from execaudit.system import clock  # noqa: PLC0415  # see command

    if seconds := clock.namespace_offset_s():
        raise ProbeError(
            f"this is a time namespace, whose boot clock is {abs(seconds)} s "
            f"{'ahead of' if seconds > 0 else 'behind'} the kernel's: record outside of it, with "
            "`nsenter --time=/proc/1/ns/time execaudit record`"
        )


def _check_privileges() -> None:
    if missing := privileges.lacking(privileges.effective()):
        raise ProbeError(
            f"recording needs root, or {' and '.join(missing)}: run it with sudo, or start execaudit.service"
        )


class _Targets(NamedTuple):
    """What is written to."""

    store: Store
    log_file: LogFile | None
    sinks: list[Sink]
    host: str
    retention: Retention


def _open_targets(
    stack: contextlib.ExitStack, path: Path, json_log: str | None, wanted: Upkeep, *, quiet: bool
) -> _Targets:
    """Opens what is written to; the stack closes it. Raises ExecauditError."""
    from execaudit.cli.progress import Progress  # noqa: PLC0415
    from execaudit.daemon.retention import Retention  # noqa: PLC0415
    from execaudit.daemon.sinks.database import DatabaseSink  # noqa: PLC0415
    from execaudit.store.ballast import Ballast  # noqa: PLC0415
    from execaudit.store.writer import Store  # noqa: PLC0415
    from execaudit.system import clock  # noqa: PLC0415  # see command

    host = name_text(socket.gethostname())
    retention = Retention(path, clock.boot_id(), wanted.limits, host=host)
    with Progress() as progress:
        store = stack.enter_context(Store(path, durable=wanted.durable, progress=progress.say))
    ballast = Ballast(path)
    # Given up before the database is closed, which takes room as well.
    stack.callback(ballast.give_up)
    log_file = _log_file(json_log, wanted)
    sinks: list[Sink] = [
        DatabaseSink(store, host=host, ballast=ballast, retention=retention),
        *_further_sinks(log_file, host, json_log, quiet=quiet),
    ]
    for sink in sinks:
        stack.callback(sink.close)
    return _Targets(store, log_file, sinks, host, retention)


def _attach(stack: contextlib.ExitStack, options: ProbeOptions, targets: _Targets) -> tuple[Recorder, str]:
    """Returns what records from now on, and by which means. Raises ProbeError, StoreError."""
    from execaudit.capture.assembler import Assembler, Origin  # noqa: PLC0415
    from execaudit.capture.probe import Probe  # noqa: PLC0415
    from execaudit.capture.start import start  # noqa: PLC0415
    from execaudit.daemon.recorder import Recorder  # noqa: PLC0415
    from execaudit.store.writer import Run  # noqa: PLC0415
    from execaudit.system import clock  # noqa: PLC0415  # see command
    from execaudit.system.usernames import UserNames  # noqa: PLC0415

    host, boot_id, user_of = targets.host, clock.boot_id(), UserNames().name_of
    source, begun = start(lambda: Probe(options), host=host, boot_id=boot_id, user_of=user_of)
    stack.callback(source.close)
    run = Run(boot_id=boot_id, host=host, version=__version__, started_ns=begun.until_ns)
    begun = begun._replace(stopped_ns=targets.store.begin_run(run))
    assembler = Assembler(Origin(host, boot_id, user_of, begun.roots.key_of), max_argv=options.max_argv)
    return Recorder(source, assembler, targets.sinks, host=host, begun=begun), source.uses


def _written(database: Path, log_file: LogFile | None) -> list[Path]:
    """Returns the files that are written, and the folders in which more are made."""
    files = [database.absolute(), *([] if log_file is None else [log_file.path.absolute()])]
    return [*files, *(file.parent for file in files)]


def _log_file(json_log: str | None, wanted: Upkeep) -> LogFile | None:
    """Opens the JSON log, if it is a file."""
    from execaudit.daemon import log_limit  # noqa: PLC0415  # see command
    from execaudit.daemon.log_file import LogFile  # noqa: PLC0415

    if json_log in (None, "-"):
        return None
    return LogFile(Path(json_log), log_limit.completed(wanted.rotation, Path(json_log)))


def _further_sinks(
    log_file: LogFile | None, host: str, json_log: str | None, *, quiet: bool
) -> Iterator[Sink]:
    """Yields the sinks beside the history; nobody waits for them."""
    from execaudit.daemon.sinks.json_log import JsonLogSink, JsonStreamSink  # noqa: PLC0415
    from execaudit.daemon.sinks.terminal import TerminalSink  # noqa: PLC0415
    from execaudit.daemon.sinks.threaded import ThreadedSink  # noqa: PLC0415  # see command
    from execaudit.system.stream import write_all  # noqa: PLC0415

    write = functools.partial(write_all, sys.stdout.fileno())
    if json_log == "-":
        yield ThreadedSink(JsonStreamSink(write), host=host, patient=False)
        return
    if log_file is not None:
        yield ThreadedSink(JsonLogSink(log_file), host=host, patient=True)
    if sys.stdout.isatty() and not quiet:
        yield ThreadedSink(TerminalSink(write), host=host, patient=False)


def _reload(state: State, targets: _Targets, monitor: Monitor, recorder: Recorder) -> None:
    """After SIGHUP: opens the JSON log anew, and reads again settings that may change and the host's name."""
    from execaudit.config import reload  # noqa: PLC0415
    from execaudit.daemon import log_limit  # noqa: PLC0415  # see command
    from execaudit.daemon.diagnostics import log  # noqa: PLC0415  # see command
    from execaudit.daemon.settings import upkeep  # noqa: PLC0415

    try:
        wanted = upkeep(reload(state.settings()))
    except ExecauditError as exc:
        log.error("configuration_refused", reason=str(exc), todo="correct it; until then the old one holds")
    else:
        monitor.textfile = wanted.textfile
        targets.retention.limits = wanted.limits
        if targets.log_file is not None:
            targets.log_file.rotation = log_limit.completed(wanted.rotation, targets.log_file.path)
    recorder.rename(name_text(socket.gethostname()))
    if targets.log_file is not None:
        targets.log_file.reopen_soon()
    log.info("reloaded")


def _check_command(name: str) -> None:
    """Raises ExecauditError for a command that cannot be run, before anything is made."""
    if shutil.which(name) is not None:
        return
    found = os.path.exists(name) if os.sep in name else shutil.which(name, os.F_OK) is not None  # noqa: PTH110  # of text
    if found:
        raise _CommandError(
            f"cannot run {name}: you may not execute it: check its permission", _NOT_EXECUTABLE
        )
    raise _CommandError(f"cannot run {name}: there is no such command: check its name", _NOT_FOUND)


class _CommandError(ExecauditError):
    """The command to record cannot be run; the status is a shell's."""

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status


def _check_json_log(json_log: str | None, database: Path) -> None:
    """Raises ExecauditError for a log that cannot be, before anything is made."""
    if json_log in (None, "-"):
        return
    path = Path(json_log)
    if os.path.realpath(path) == os.path.realpath(database):
        raise ConfigError(f"{path} is the database: name another file with --json-log")
    if path.is_dir() or not path.parent.is_dir():
        why = "it is a folder" if path.is_dir() else f"the folder {path.parent} does not exist"
        raise ExecauditError(f"cannot write the JSON log {path}: {why}: name another file with --json-log")
