"""The command line: wiring only. Each command's module is imported when it is called."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import TYPE_CHECKING

import click

from execaudit import __version__
from execaudit.cli.options import State, config_option, db_option
from execaudit.errors import ExecauditError
from execaudit.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMANDS = ("record", "query", "export", "doctor", "db")
_INTERRUPTED = 130
_BUG = 3


class _LazyGroup(click.Group):
    """Finds each command in the module of its name: `--help` of one need not import all."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"execaudit.cli.{cmd_name}")
        command: click.Command = module.command
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@config_option
@db_option
@click.version_option(__version__, prog_name="execaudit")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Record every program that starts on this host, keep it, and find it again."""
    ctx.ensure_object(State)


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    try:
        status = cli.main(arguments, prog_name="execaudit", standalone_mode=False)
        sys.stdout.flush()
    except (click.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader has seen enough (`| head`); Python would complain at its end as well.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except click.UsageError as exc:
        command = exc.ctx.command_path if exc.ctx else "execaudit"
        _say(f"{command}: {exc.format_message()} (see `{command} --help`)")
        return exc.exit_code
    except click.ClickException as exc:
        _say(f"execaudit: {exc.format_message()}")
        return exc.exit_code
    except ExecauditError as exc:
        _say(f"execaudit: {exc}")
        return exc.exit_status
    except OSError as exc:
        _say(
            f"execaudit: {exc.filename or 'output'}: {exc.strerror or exc}: make room or permission, then try again"
        )
        return 1
    except Exception:  # noqa: BLE001  # the last resort, and it keeps the traceback
        traceback.print_exc()
        _say("execaudit: this is a bug: please report it with the lines above")
        return _BUG
    return status if isinstance(status, int) else 0


def _say(message: str) -> None:
    """One line, whatever is in it."""
    sys.stderr.write(printable(message) + "\n")


def main() -> None:
    """Runs the command line and ends the process with its status."""
    sys.exit(run())
