"""`execaudit record`: capture execs until told to stop."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import click

from execaudit.capture.probe_options import ProbeKind, ProbeOptions, default_ring_bytes
from execaudit.cli.context import State, config_option, db_option, files
from execaudit.cli.param_types import Duration

if TYPE_CHECKING:
    from execaudit.event import Nanoseconds

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
@click.option(
    "--no-failed", is_flag=True, help="Do not record failed execs; each system call is 24 ns faster."
)
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
    from execaudit.cli.run import record  # noqa: PLC0415  # `--help` needs only the options
    from execaudit.cli.run.wanted import Wanted  # noqa: PLC0415

    options = ProbeOptions(ProbeKind(probe), not no_failed, max_argv, ring_size)
    return record.record(state, options, Wanted(cmd, json_log, duration, quiet))
