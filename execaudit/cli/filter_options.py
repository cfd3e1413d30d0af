"""The options of the filters, which commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from execaudit.cli.completion import of_history
from execaudit.cli.param_types import (
    PID,
    Duration,
    Errno,
    ExecId,
    Regex,
    Terminal,
    Time,
    TimeOrExec,
    User,
    Where,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_Function = TypeVar("_Function", bound="Callable[..., Any]")
# As enums.Kind; `--help` does not wait for that.
_KINDS = ("exec", "failed", "snapshot")
_EXIT_CODE = click.IntRange(0, 255)
_FILTERS = (
    click.option(
        "--since",
        type=Time(),
        metavar="TIME",
        help="At this time or later: 1h, today, 14:05, '2026-11-22 14:05'.",
    ),
    click.option("--until", type=Time(last=True), metavar="TIME", help="Before this time."),
    click.option("--around", type=TimeOrExec(), metavar="TIME|ID", help="Near this time, or this exec."),
    click.option(
        "--within",
        type=Duration(),
        metavar="LENGTH",
        help="How near: that long before and after.  [default: 30s]",
    ),
    click.option("--pid", "pids", type=PID, multiple=True, metavar="PID", help="Process id."),
    click.option("--ppid", "ppids", type=PID, multiple=True, metavar="PID", help="Its parent's."),
    click.option(
        "--comm",
        "comms",
        multiple=True,
        shell_complete=of_history("comm"),
        metavar="GLOB",
        help="Command name, 15 bytes at most.",
    ),
    click.option(
        "--exe",
        "exes",
        multiple=True,
        shell_complete=of_history("exe"),
        metavar="GLOB",
        help="Path of the image, or its name.",
    ),
    click.option(
        "--filename",
        "filenames",
        multiple=True,
        shell_complete=of_history("filename"),
        metavar="GLOB",
        help="Path that was asked for, or its name.",
    ),
    click.option("--args", "args", multiple=True, metavar="TEXT", help="Part of the command line."),
    click.option(
        "--args-regex",
        "args_regex",
        type=Regex(),
        multiple=True,
        metavar="REGEX",
        help="Found in the command line, as text: Python's syntax.",
    ),
    click.option(
        "--user",
        "users",
        type=User(),
        multiple=True,
        shell_complete=of_history("user"),
        metavar="NAME|UID",
        help="Who ran it.",
    ),
    click.option(
        "--login-user",
        "login_users",
        type=User(),
        multiple=True,
        shell_complete=of_history("login_user"),
        metavar="NAME|UID",
        help="Who logged in, whatever sudo or su did since.",
    ),
    click.option(
        "--tty",
        "ttys",
        type=Terminal(),
        multiple=True,
        shell_complete=of_history("tty"),
        metavar="TEXT",
        help="On this terminal: pts/3.",
    ),
    click.option(
        "--cwd",
        "cwds",
        multiple=True,
        shell_complete=of_history("cwd"),
        metavar="GLOB",
        help="Working directory.",
    ),
    click.option(
        "--cgroup",
        "cgroups",
        multiple=True,
        shell_complete=of_history("cgroup"),
        metavar="GLOB",
        help="Path of the cgroup.",
    ),
    click.option(
        "--container",
        "containers",
        multiple=True,
        shell_complete=of_history("container_id"),
        metavar="ID",
        help="In this container: its id, 4 digits of it or more, or a machine's name.",
    ),
    click.option(
        "--under",
        "under",
        type=ExecId(),
        multiple=True,
        metavar="ID",
        help="Descendants of this exec, however far.",
    ),
    click.option(
        "--euid",
        "euids",
        type=User(),
        multiple=True,
        shell_complete=of_history("user"),
        metavar="NAME|UID",
        help="As whom it ran.",
    ),
    click.option(
        "--interpreter",
        "interpreters",
        multiple=True,
        shell_complete=of_history("interpreter"),
        metavar="GLOB",
        help="Program that a script's first line names.",
    ),
    click.option("--kind", "kinds", type=click.Choice(_KINDS), multiple=True, help="What happened."),
    click.option(
        "--exit-code", "exit_codes", type=_EXIT_CODE, multiple=True, metavar="N", help="Exit status."
    ),
    click.option(
        "--errno", "errnos", type=Errno(), multiple=True, metavar="NAME", help="Why it failed: ENOENT."
    ),
    *(
        click.option(
            f"--not-{name}",
            f"not_{plural}",
            multiple=True,
            metavar=metavar,
            help=f"Without {what}.",
            **more,
        )
        for name, plural, metavar, what, more in (
            ("comm", "comms", "GLOB", "this command name", {"shell_complete": of_history("comm")}),
            ("exe", "exes", "GLOB", "this image", {"shell_complete": of_history("exe")}),
            ("cwd", "cwds", "GLOB", "this working directory", {"shell_complete": of_history("cwd")}),
            ("args", "args", "TEXT", "this in the command line", {}),
            (
                "user",
                "users",
                "NAME|UID",
                "what this user ran",
                {"type": User(), "shell_complete": of_history("user")},
            ),
            ("cgroup", "cgroups", "GLOB", "this cgroup", {"shell_complete": of_history("cgroup")}),
            (
                "container",
                "containers",
                "ID",
                "this container",
                {"shell_complete": of_history("container_id")},
            ),
            ("under", "under", "ID", "descendants of this exec", {"type": ExecId()}),
        )
    ),
    click.option("--ok", is_flag=True, help="Only what started, and did not end with a failure."),
    click.option("--deleted", is_flag=True, help="Only images without a name: deleted, or in memory."),
    click.option("--new", is_flag=True, help="Only programs that never ran before --since."),
    click.option("--privileged", is_flag=True, help="Only what gained privileges: setuid, capabilities."),
    click.option("--failed", is_flag=True, help="Only execs that the kernel refused."),
    click.option("--truncated", is_flag=True, help="Only execs whose arguments are not whole."),
    click.option(
        "--host",
        "hosts",
        multiple=True,
        shell_complete=of_history("host"),
        metavar="GLOB",
        help="Recorded on this host: web1, 'web*'.",
    ),
    click.option(
        "--where",
        type=Where(),
        multiple=True,
        metavar="EXPR",
        help="""What records say: 'exit_code != 0 and duration > 10s'.""",
    ),
    click.option("--limit", type=click.IntRange(min=0), metavar="N", help="Only the newest N."),
    click.option("--reverse", is_flag=True, help="Newest first."),
)


def filter_options(function: _Function) -> _Function:
    """Adds the filters. They combine with AND; one given more than once, with OR."""
    for option in reversed(_FILTERS):
        function = option(function)
    return function
