"""The systemd unit, as systemd reads it."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from click.testing import CliRunner

from execaudit import errors
from execaudit.cli import cli

UNIT = Path(__file__).parent.parent / "execaudit.service"
PROGRAM = "/opt/execaudit/bin/execaudit"
TEXT = UNIT.read_text()


def setting(name: str) -> str:
    """Returns the value of a setting that is there once."""
    (value,) = re.findall(rf"^{name}=(.*)$", TEXT, re.MULTILINE)
    return str(value)


def complaints(folder: Path, text: str) -> list[str]:
    """Returns what systemd says of the unit; it must not run for this.

    Its exit status says nothing of unknown keys. What it says of the machine's own units is
    not ours.
    """
    unit = folder / UNIT.name
    # The program must be there.
    unit.write_text(text.replace(PROGRAM, "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return [line for line in done.stderr.splitlines() if UNIT.name in line]


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """No unknown key, no bad value, not even a warning."""
    assert [] == complaints(tmp_path, TEXT)


def test_systemd_would_complain(tmp_path: Path) -> None:
    """The test above can fail: of an unknown key, a bad value and a missing program."""
    spoiled = TEXT.replace("ProtectClock=", "ProtectClocks=").replace("on-failure", "sometimes")
    spoiled = spoiled.replace("ExecStart=", "ExecStart=/nowhere")

    said = "\n".join(complaints(tmp_path, spoiled))

    assert "ProtectClocks" in said
    assert "sometimes" in said
    assert "/nowhere" in said


def test_program_takes_its_options() -> None:
    """ExecStart is a command line of this version."""
    program, *arguments = shlex.split(setting("ExecStart"))

    result = CliRunner().invoke(cli, [*arguments, "--help"])

    assert PROGRAM == program
    assert 0 == result.exit_code, result.output


def test_no_restart_where_it_does_not_help() -> None:
    """What only a person can mend is not tried again."""
    hopeless = (errors.ConfigError, errors.DamagedStoreError, errors.ProbeError)

    assert [str(kind.exit_status) for kind in hopeless] == setting("RestartPreventExitStatus").split()


def test_each_block_of_settings_gives_its_reason() -> None:
    """A blank line is followed by a comment."""
    service = TEXT.partition("[Service]")[2].partition("[Install]")[0]

    assert all(block.startswith("#") for block in service.strip().split("\n\n"))
