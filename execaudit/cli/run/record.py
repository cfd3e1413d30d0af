"""What `execaudit record` does: first the checks that refuse, then the recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.cli.run import refusals
from execaudit.system import allocator

if TYPE_CHECKING:
    from execaudit.capture.probe_options import ProbeOptions
    from execaudit.cli.context import State
    from execaudit.cli.run.wanted import Wanted


def record(state: State, options: ProbeOptions, wanted: Wanted) -> int:
    """Records until it is told to stop. Returns the exit status. Raises ExecauditError."""
    refusals.check_privileges()
    refusals.check_clock()
    if wanted.command:
        refusals.check_command(wanted.command[0])
    path = state.database_to_write()
    refusals.check_json_log(wanted.json_log, path)
    # The imports of the recording would load modules that it never needs.
    allocator.leave_out()
    from execaudit.cli.run import recording  # noqa: PLC0415  # a refusal needs none of it

    return recording.run(state, path, options, wanted)
