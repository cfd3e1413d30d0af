"""The systemd unit, as systemd reads it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

from click.testing import CliRunner

from execaudit import errors
from execaudit.cli import cli
from execaudit.system import privileges

UNIT = Path(__file__).parents[2] / "execaudit.service"
PROGRAM = "/usr/local/bin/execaudit"
TEXT = UNIT.read_text()


def setting(name: str) -> str:
    """Returns the value of a setting that is there once."""
    (value,) = re.findall(rf"^{name}=(.*)$", TEXT, re.MULTILINE)
    return str(value)


def analyzed(folder: Path, text: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Returns what systemd-analyze says of the unit; systemd must not run for this."""
    unit = folder / UNIT.name
    # The program must be there.
    unit.write_text(text.replace(PROGRAM, "/bin/true"))
    return subprocess.run(
        ["systemd-analyze", *command, str(unit)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def verified(folder: Path, text: str) -> tuple[int, list[str]]:
    """Returns whether systemd takes the unit, and its complaints.

    Without --recursive-errors=no the status says nothing of unknown keys. The man pages that it
    names are installed with it.
    """
    done = analyzed(folder, text, "verify", "--recursive-errors=no", "--man=no")
    return done.returncode, [line for line in done.stderr.splitlines() if UNIT.name in line]


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """No unknown key, no bad value, not even a warning."""
    assert (0, []) == verified(tmp_path, TEXT)


def test_systemd_would_complain(tmp_path: Path) -> None:
    """The test above can fail: of an unknown key, a bad value and a missing program."""
    spoiled = TEXT.replace("ProtectClock=", "ProtectClocks=").replace("on-failure", "sometimes")
    spoiled = spoiled.replace("ExecStart=", "ExecStart=/nowhere")

    status, complaints = verified(tmp_path, spoiled)
    said = "\n".join(complaints)

    assert status
    assert "ProtectClocks" in said
    assert "sometimes" in said
    assert "/nowhere" in said


def test_systemd_finds_little_that_is_exposed(tmp_path: Path) -> None:
    """Of 10: 1.5, most of it the capabilities and calls with which a probe is loaded."""
    judged = json.loads(
        analyzed(tmp_path, TEXT, "security", "--offline=true", "--no-pager", "--json=short").stdout
    )
    exposed = {each["json_field"] for each in judged if each["exposure"] and float(each["exposure"]) > 0}
    within = analyzed(tmp_path, TEXT, "security", "--offline=true", "--no-pager", "--threshold=15")
    without_user = TEXT.replace("User=", "#User=")
    beyond = analyzed(tmp_path, without_user, "security", "--offline=true", "--no-pager", "--threshold=15")

    assert 0 == within.returncode, exposed
    assert 0 != beyond.returncode


def test_the_capabilities_are_those_the_recorder_starts_with() -> None:
    """What is given is in the bounds, and is what root keeps in the service's place, but for SETPCAP."""
    given = setting("AmbientCapabilities").split()
    kept = set(privileges._TO_START) - {privileges._SETPCAP}

    assert given == setting("CapabilityBoundingSet").split()
    assert kept == {getattr(privileges, name.removeprefix("CAP")) for name in given}


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
