"""What `execaudit fleet forget` does: retire a host of a central database."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from execaudit.central.password import password
from execaudit.central.retiring import retire
from execaudit.errors import ExecauditError
from execaudit.escaping import printable
from execaudit.system import clock

if TYPE_CHECKING:
    from execaudit.cli.context import State


def forget(state: State, host: str) -> None:
    """Retires the host, and says so on stderr. Raises ExecauditError if no host of this name has shipped."""
    location = state.central_location()
    secret = password(state.password_file, os.environ)
    name = printable(host)
    if not retire(location, secret, os.fsencode(host), clock.wall_ns()):
        raise ExecauditError(
            f"no host {name} has shipped here", fix="give its whole name, as `execaudit fleet status` has it"
        )
    click.echo(f"{name} is retired: what it shipped stays, and if it ships again, it is back", err=True)
