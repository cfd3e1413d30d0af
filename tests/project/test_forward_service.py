"""The forwarder's unit, as systemd reads it."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from click.testing import CliRunner

from execaudit import errors
from execaudit.cli import cli

CHECKOUT = Path(__file__).parents[2]
UNIT = CHECKOUT / "packaging" / "execaudit-forward.service"
PROGRAM = "/usr/local/bin/execaudit"
TEXT = UNIT.read_text()


def analyzed(folder: Path, text: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Returns what systemd-analyze says of the unit; systemd must not run for this."""
    unit = folder / UNIT.name
    unit.write_text(text.replace(PROGRAM, "/bin/true"))
    return subprocess.run(
        ["systemd-analyze", *command, str(unit)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )  # fmt: skip


def complaints(folder: Path, text: str) -> list[str]:
    """Returns what systemd has against the unit."""
    done = analyzed(folder, text, "verify", "--recursive-errors=no", "--man=no")
    return [line for line in done.stderr.splitlines() if UNIT.name in line]


def setting(name: str) -> str:
    """Returns the value of a setting that is there once."""
    (value,) = re.findall(rf"^{name}=(.*)$", TEXT, re.MULTILINE)
    return str(value)


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """No unknown key, no bad value; of a unit that is wrong it would say so."""
    assert [] == complaints(tmp_path, TEXT)
    assert complaints(tmp_path, TEXT.replace("ProtectClock=", "ProtectClocks="))


def test_systemd_finds_little_that_is_exposed(tmp_path: Path) -> None:
    """Of 10: 1.3, most of it the network."""
    arguments = ("security", "--offline=true", "--no-pager", "--threshold=13")

    assert 0 == analyzed(tmp_path, TEXT, *arguments).returncode
    assert 0 != analyzed(tmp_path, TEXT.replace("User=", "#User="), *arguments).returncode


def test_the_program_takes_its_options() -> None:
    """ExecStart is a command line of this version."""
    program, *arguments = shlex.split(setting("ExecStart"))

    assert PROGRAM == program
    assert 0 == CliRunner().invoke(cli, [*arguments, "--help"]).exit_code


def test_it_may_read_the_history_and_write_beside_it() -> None:
    """A user of its own, in the recorder's group; the recorder may read what it writes."""
    assert ("execaudit-forward", "execaudit") == (setting("User"), setting("SupplementaryGroups"))
    state = shlex.split(setting("ExecStart"))[-1]
    assert state.startswith(f"/var/lib/{setting('StateDirectory')}/")
    assert "0755" == setting("StateDirectoryMode")
    shipped = (CHECKOUT / "packaging" / "config.toml").read_text()
    assert f'#wait_for_forward = "{state}"\n' in shipped
    assert f'#state = "{state}"\n' in shipped


def test_no_restart_where_it_does_not_help() -> None:
    """What only a person can mend is not tried again."""
    assert str(errors.ConfigError.exit_status) == setting("RestartPreventExitStatus")


def test_each_block_of_settings_gives_its_reason() -> None:
    """A blank line is followed by a comment."""
    service = TEXT.partition("[Service]")[2].partition("[Install]")[0]

    assert all(block.startswith(("#", "Type=notify")) for block in service.strip().split("\n\n"))
