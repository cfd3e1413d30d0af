"""What a configuration says of a recorder's upkeep."""

from __future__ import annotations

from pathlib import Path

import pytest

from execaudit.config import load
from execaudit.daemon.log_file import NEVER, Rotation
from execaudit.daemon.settings import HuntSettings, Upkeep, upkeep
from execaudit.errors import ConfigError
from execaudit.event import Nanoseconds

DAY = Nanoseconds(86_400 * 10**9)


def read(folder: Path, text: str) -> Upkeep:
    """Returns what a file with this text says."""
    (folder / "c.toml").write_text(text)
    return upkeep(load(folder / "c.toml"))


def test_nothing_is_done_unasked(tmp_path: Path) -> None:
    """No retention, no rotation, no metrics; commits that survive the process, not a power cut."""
    wanted = read(tmp_path, "")

    assert (False, None, None, None, None) == (
        wanted.durable,
        wanted.max_age_ns,
        wanted.max_bytes,
        wanted.textfile,
        read(tmp_path, "[hunt]\nlevel = 'high'").hunt,
    )
    assert (NEVER.max_bytes, NEVER.max_age_ns) == (wanted.rotation.max_bytes, wanted.rotation.max_age_ns)


def test_everything_can_be_set(tmp_path: Path) -> None:
    """Sizes and lengths of time as on the command line."""
    wanted = read(
        tmp_path,
        "[store]\nsynchronous = 'full'\n[retention]\nmax_age = '30d'\nmax_size = '5GB'\n"
        "[json_log]\nmax_size = '100MiB'\nmax_age = '1d'\nkeep = 3\ncompress = false\n"
        "[metrics]\ntextfile = '/x/execaudit.prom'\n"
        "[hunt]\nrules = ['/x', 'y']\nlevel = 'high'\nstrict = true\n",
    )

    assert wanted == Upkeep(
        durable=True,
        max_age_ns=Nanoseconds(30 * DAY),
        max_bytes=5 * 10**9,
        rotation=Rotation(100 * 2**20, DAY, 3, compress=False),
        textfile=Path("/x/execaudit.prom"),
        hunt=HuntSettings(("/x", "y"), "high"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[retention]\nmax_agee = '1d'",
            r"unknown setting 'max_agee' in \[retention\]: did you mean max_age\?",
        ),
        ("[retention]\nmax_age = 30", r"max_age in \[retention\] must be a string"),
        (
            "[retention]\nmax_age = '30 apples'",
            r"max_age in \[retention\]: the duration .* is not understood: try",
        ),
        (
            "[retention]\nmax_size = 'big'",
            r'max_size in \[retention\]: the size "big" is not understood: try',
        ),
        ("[store]\nsynchronous = 'off'", r'synchronous in \[store\] must be "normal" or "full"'),
        ("[json_log]\nkeep = true", r"keep in \[json_log\] must be a number from 0 to 1000"),
        ("[json_log]\nkeep = -1", r"keep in \[json_log\] must be a number from 0 to 1000"),
        ("[json_log]\nkeep = '3'", r"keep in \[json_log\] must be a number from 0 to 1000"),
        ("[json_log]\ncompress = 1", r"compress in \[json_log\] must be true or false"),
        ("[metrics]\ntextfile = '/x/y.txt'", r"textfile in \[metrics\] must end with \.prom"),
        ("[hunt]\nrules = [1.5]", r"rules in \[hunt\] must be a string, or a list of these"),
        ("[hunt]\nlevel = 'huge'", r"level in \[hunt\] must be one of low, medium, high, critical"),
        ("[metrics]\nfile = '/x/y.prom'", r"unknown setting 'file' in \[metrics\]: did you mean textfile\?"),
    ],
)
def test_a_mistake_is_named_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    """With the file, the setting, and what it may be."""
    with pytest.raises(ConfigError, match=rf"^{tmp_path}/c\.toml: {message}[^\n]*$"):
        read(tmp_path, text)
