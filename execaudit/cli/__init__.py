"""The command line: wiring only. Each command's module is imported when it is called."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import warnings
from typing import TYPE_CHECKING, TextIO

import click

from execaudit import __version__
from execaudit.cli.context import State, config_option, db_option
from execaudit.errors import ExecauditError
from execaudit.escaping import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from click.shell_completion import CompletionItem

# The first sentence of each help text, so that listing the commands imports none of them.
_COMMANDS = {
    "record": "Record every exec on this host until SIGINT or SIGTERM.",
    "query": "Find execs: a table on a terminal, JSON lines when piped.",
    "export": "Write execs to a file for an incident review, or for other programs.",
    "show": "Show one exec: every field, how it ended, what led to it, and what came of it.",
    "tree": "Draw execs as trees: below each what it started, and what that started.",
    "stats": "Count execs: who runs what most, from where, and when; and what failed, or took long.",
    "report": "Write an incident as one HTML file: a summary, a timeline, the tree, and each record.",
    "hunt": "Run Sigma rules over the history: print the execs that they hit.",
    "import": "Take logs of others into the database, so that the same commands answer.",
    "forward": "Ship the local history to a central database, and go on as it grows.",
    "seal": "Have the history prove that nobody changed it.",
    "verify": "Prove that nothing stored was changed, removed, added or reordered since it was sealed.",
    "top": "Watch execs as they happen, on the full screen.",
    "redact": "Say which secrets of a command line would not be recorded.",
    "doctor": "Say whether this machine can record, check by check, with what mends each failure.",
    "db": "Look after the database.",
    "fleet": "Look after the hosts that ship to a central database.",
}
# Where a command has a name that no module can have.
_MODULES = {"import": "import_"}
_USAGE, _BUG, _INTERRUPTED = 2, 3, 130
_LONGEST_LINE = 1000
_UNREAD_SECONDS = 5.0


class _EndError(Exception):
    """Ends the command line with a status and without a message, where click would do something else."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


class _LazyGroup(click.Group):
    """Finds each command in the module of its name: `--help` of one need not import all."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"execaudit.cli.{_MODULES.get(cmd_name, cmd_name)}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # click's
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem  # noqa: PLC0415  # for shells alone

        commands = [
            CompletionItem(name, help=help_)
            for name, help_ in _COMMANDS.items()
            if name.startswith(incomplete)
        ]
        # Not click.Group's method, which would import every command.
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def invoke(self, ctx: click.Context) -> object:
        try:
            status: object = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError as exc:
            # The reader has gone (`| head`). Python would report it once more when it ends.
            _discard_output()
            raise _EndError(0) from exc
        except KeyboardInterrupt as exc:
            raise _EndError(_INTERRUPTED) from exc
        return status


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@config_option
@db_option
@click.version_option(__version__, prog_name="execaudit")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Record every program that starts on this host, keep it, and find it again."""
    ctx.ensure_object(State)


class _Interrupt:
    """Remembers Ctrl-C: SQLite turns an exception in one of our SQL functions into an error of its own."""

    def __init__(self) -> None:
        self.asked = False
        # A shell starts what is in the background with SIGINT ignored: leave that.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._raise)

    def _raise(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
        raise KeyboardInterrupt


def execute(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    interrupt = _Interrupt()
    try:
        status = cli.main(arguments, prog_name="execaudit", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):  # before the command began
        return _INTERRUPTED
    except _EndError as end:
        return end.status
    except Exception as exc:  # noqa: BLE001  # each kind has its status, the unexpected one too
        return _INTERRUPTED if interrupt.asked else _status_of(exc)
    return status if isinstance(status, int) else 0


def _status_of(error: Exception) -> int:
    """Writes one line about the error, or the traceback of a bug. Returns the exit status."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return _USAGE
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "execaudit"
        _say(f"{command}: {error.format_message().removesuffix('.')} (see `{command} --help`)")
        return error.exit_code
    if isinstance(error, click.ClickException):
        _say(f"execaudit: {error.format_message()}")
        return error.exit_code
    if isinstance(error, ExecauditError):
        _say(f"execaudit: {error}")
        return error.exit_status
    if isinstance(error, OSError):
        _discard_output()
        what = error.filename or "the output"
        _say(f"execaudit: cannot use {what}: {error.strerror or error}: is there room, and may you use it?")
        return 1
    import traceback  # noqa: PLC0415  # for bugs alone

    traceback.print_exception(error)
    _say("execaudit: this is a bug: please report it with the lines above")
    return _BUG


def _say(message: str) -> None:
    """Writes one line, safe to show. A long one is cut in its middle: the reason may be at its end."""
    shown = printable(message)
    if len(shown) > _LONGEST_LINE:
        half = _LONGEST_LINE // 2
        shown = f"{shown[:half]}[...]{shown[-half:]}"
    from execaudit.system.stream import is_ready  # noqa: PLC0415  # when something has gone wrong alone

    with contextlib.suppress(OSError):
        # A recorder must end even when nobody reads its message.
        if is_ready(sys.stderr.fileno(), _UNREAD_SECONDS):
            sys.stderr.write(shown + "\n")


def _discard_output() -> None:
    """Discards buffered output that cannot be written, so that Python does not try again when it ends."""
    for stream in (sys.stdout, sys.stderr):
        _discard_unwritten(stream)


def _discard_unwritten(stream: TextIO) -> None:
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _use_standard_files() -> None:
    """Opens standard files that the caller closed, and lets any text be written to them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number, so that no later file gets it
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115  # see below
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    # Scripts get UTF-8 in every locale. A terminal gets its own encoding: other bytes could be controls.
    encoding = None if sys.stdout.isatty() else "utf-8"
    sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")  # type: ignore[union-attr]  # a file
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # they are for developers


def main() -> None:
    """Runs the command line and ends the process with its status."""
    _use_standard_files()
    status = execute()
    # Otherwise Python ends with a status of its own when the disk under standard error is full.
    _discard_unwritten(sys.stderr)
    sys.exit(status)
