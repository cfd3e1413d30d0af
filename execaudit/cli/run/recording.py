"""The recording itself: open, attach, record, stop."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from execaudit import __version__, native
from execaudit.capture.assembler import Assembler, Machine
from execaudit.capture.probe import Probe
from execaudit.capture.start import start
from execaudit.cli.run.refusals import NOT_EXECUTABLE, CommandError
from execaudit.cli.run.reload import Reloading
from execaudit.cli.run.signals import Stop, at_once, finish, until, wait
from execaudit.cli.run.targets import Targets, open_targets, written
from execaudit.config import reload
from execaudit.daemon import diagnostics, log_limit
from execaudit.daemon.diagnostics import log
from execaudit.daemon.monitor import Monitor
from execaudit.daemon.recorder import Recorder
from execaudit.daemon.seals import check_last
from execaudit.daemon.settings import upkeep
from execaudit.daemon.stopping import StuckError, leave
from execaudit.errors import ExecauditError
from execaudit.escaping import name_text, printable
from execaudit.store.writer import Run
from execaudit.system import clock, privileges, systemd
from execaudit.system.usernames import UserNames
from execaudit.times import utc_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from execaudit.capture.probe_options import ProbeOptions
    from execaudit.cli.context import State
    from execaudit.cli.run.wanted import Wanted
    from execaudit.daemon.recorder import Totals


def run(state: State, path: Path, options: ProbeOptions, wanted: Wanted) -> int:
    """Records into the database at the path until it is told to stop. Returns the exit status."""
    diagnostics.configure()
    settings = upkeep(state.settings())
    # The caller's rights stay for a command: it is to run with them.
    if not wanted.command:
        privileges.become_owner(path.absolute().parent)
    with contextlib.ExitStack() as stack:
        targets = open_targets(stack, path, wanted.json_log, settings, quiet=wanted.quiet)
        before_ns, found = targets.store.recorded_until(), check_last(targets.store)
        recorder, probe = _attach(stack, options, targets)
        if not wanted.command:
            privileges.drop_all(written(path, targets.log_file))
        targets.hunting.use(settings.hunt)
        monitor = Monitor(tuple(sink.name for sink in targets.sinks), settings.textfile)
        stop = stack.enter_context(Stop.on_signals())
        log.info(
            "recording",
            probe=probe,
            failed=options.failed,
            compiled=native.fast is not None,
            redacts=targets.redacting.is_on,
            db=printable(str(path)),
            json_log=None if wanted.json_log is None else printable(wanted.json_log),
            nobody_recorded_since=None if before_ns is None else utc_text(before_ns),
            sealed=found.word,
            sealed_until=None if found.sealed_until_ns is None else utc_text(found.sealed_until_ns),
        )
        found.say()
        systemd.notify("READY=1", must_arrive=True)
        beside = _Beside.start(wanted.command)
        is_over = at_once if beside.refused else until(stop, wanted.duration, beside.child)
        reloading = Reloading(lambda: _reload(state, targets, monitor, recorder))

        def look() -> bool:
            if stop.take_hangup():
                reloading.ask()
            monitor.beat(recorder.health())
            return is_over()

        totals = _record(recorder, look, stop, beside.child)
        targets.store.end_run(clock.wall_ns())
        targets.seals.look(targets.store, targets.host)
        targets.seals.say()
        log.info("stopped", execs=totals.execs, missed=totals.missed)
        return beside.status(stop)


class _Beside(NamedTuple):
    """The command that runs while everything is recorded, if there is one."""

    name: str = ""
    child: subprocess.Popen[bytes] | None = None
    refused: OSError | None = None
    """Why it did not start: an exec that failed, which is recorded too."""

    @classmethod
    def start(cls, command: tuple[str, ...]) -> _Beside:
        """Starts the command; of nothing, nothing."""
        if not command:
            return cls()
        try:
            return cls(command[0], subprocess.Popen(command))  # noqa: S603  # what the user asked for
        except OSError as exc:
            return cls(command[0], refused=exc)

    def status(self, stop: Stop) -> int:
        """Returns the exit status when the recorder has stopped. Raises CommandError if it did not start."""
        if self.refused is not None:
            raise CommandError(
                f"cannot run {self.name}: {self.refused.strerror}", NOT_EXECUTABLE, fix="try it alone"
            )
        return 0 if self.child is None else finish(self.child, stop)


def _attach(stack: contextlib.ExitStack, options: ProbeOptions, targets: Targets) -> tuple[Recorder, str]:
    """Attaches the probe. Returns the recorder, and which probe it uses. Raises ProbeError, StoreError."""
    host, boot_id, user_of = targets.host, clock.boot_id(), UserNames().name_of
    source, begun = start(lambda: Probe(options), host=host, boot_id=boot_id, user_of=user_of)
    stack.callback(source.close)
    run = Run(boot_id=boot_id, host=host, version=__version__, started_ns=begun.until_ns)
    continued = begun.roots.continue_from(partial(targets.store.earlier, boot_id))
    begun = begun._replace(stopped_ns=targets.store.begin_run(run, continued))
    assembler = Assembler(Machine(host, boot_id, user_of, begun.roots.key_of), max_argv=options.max_argv)
    recorder = Recorder(
        source, assembler, targets.sinks, host=host, begun=begun, hunting=targets.hunting,
        redacted=targets.redacting.redacted, seals=targets.seals,
    )  # fmt: skip
    return recorder, source.uses


def _record(
    recorder: Recorder, look: Callable[[], bool], stop: Stop, child: subprocess.Popen[bytes] | None
) -> Totals:
    """Records until `look` returns True. Does not return when the stop takes too long."""

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
            wait(child, stop)  # the recording has failed, not the command
        raise
    finally:
        stop.end()


def _reload(state: State, targets: Targets, monitor: Monitor, recorder: Recorder) -> None:
    """After SIGHUP: opens the JSON log anew, and reads again settings that may change and the host's name."""
    try:
        wanted = upkeep(reload(state.settings()))
        targets.redacting.use(wanted.redact)
    except ExecauditError as exc:
        log.error("configuration_refused", reason=str(exc), todo="until then the old settings hold")
    else:
        monitor.textfile = wanted.textfile
        targets.retention.limits = wanted.limits
        targets.retention.wait_for = wanted.wait_for
        targets.hunting.use(wanted.hunt)
        targets.seals.use(wanted.seal)
        if targets.log_file is not None:
            targets.log_file.rotation = log_limit.completed(wanted.rotation, targets.log_file.path)
    recorder.rename(name_text(socket.gethostname()))
    if targets.log_file is not None:
        targets.log_file.reopen_soon()
    log.info("reloaded")
