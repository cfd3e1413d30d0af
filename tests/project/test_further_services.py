"""The units of the forwarder and of time stamps, as systemd reads them."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from execaudit import errors
from execaudit.cli import cli
from tests.project.units import PACKAGING, PROGRAM, Unit

if TYPE_CHECKING:
    from pathlib import Path

FORWARD, TIMESTAMP = (Unit(f"execaudit-{name}.service") for name in ("forward", "timestamp"))
each_unit = pytest.mark.parametrize("unit", [FORWARD, TIMESTAMP], ids=["forward", "timestamp"])


@each_unit
def test_systemd_accepts_the_unit(unit: Unit, tmp_path: Path) -> None:
    """No unknown key, no bad value; of a unit that is wrong it would say so."""
    assert [] == unit.complaints(tmp_path, unit.text)
    assert unit.complaints(tmp_path, unit.text.replace("ProtectClock=", "ProtectClocks="))


@each_unit
def test_systemd_finds_little_that_is_exposed(unit: Unit, tmp_path: Path) -> None:
    """Of 10: 1.3, most of it the network."""
    arguments = ("security", "--offline=true", "--no-pager", "--threshold=13")

    assert 0 == unit.analyzed(tmp_path, unit.text, *arguments).returncode
    assert 0 != unit.analyzed(tmp_path, unit.text.replace("User=", "#User="), *arguments).returncode


@each_unit
def test_the_program_takes_its_options(unit: Unit) -> None:
    """ExecStart is a command line of this version."""
    program, *arguments = shlex.split(unit.setting("ExecStart"))

    assert PROGRAM == program
    assert 0 == CliRunner().invoke(cli, [*arguments, "--help"]).exit_code


@each_unit
def test_it_may_read_the_history_and_write_beside_it(unit: Unit) -> None:
    """A user of its own, in the recorder's group; the recorder may read what it writes."""
    name = unit.name.removesuffix(".service")
    assert (name, "execaudit") == (unit.setting("User"), unit.setting("SupplementaryGroups"))
    state = shlex.split(unit.setting("ExecStart"))[-1]
    assert state.startswith(f"/var/lib/{unit.setting('StateDirectory')}/")
    assert "0755" == unit.setting("StateDirectoryMode")
    shipped = (PACKAGING / "config.toml").read_text()
    for key in ("wait_for_forward", "state") if unit is FORWARD else ("timestamps",):
        assert f'#{key} = "{state}"\n' in shipped


@each_unit
def test_no_restart_where_it_does_not_help(unit: Unit) -> None:
    """What only a person can mend is not tried again."""
    assert str(errors.ConfigError.exit_status) == unit.setting("RestartPreventExitStatus")


@each_unit
def test_each_block_of_settings_gives_its_reason(unit: Unit) -> None:
    """A blank line is followed by a comment."""
    service = unit.text.partition("[Service]")[2].partition("[Install]")[0]

    assert all(block.startswith(("#", "Type=notify")) for block in service.strip().split("\n\n"))
