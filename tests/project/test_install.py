"""`make install` and `make uninstall`, below a folder."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import execaudit
from tests.commands import snapshot
from tests.installing import CHECKOUT, STAGED, make, try_make

LIBRARY = Path("usr/local/lib/execaudit")
PROGRAM = Path("usr/local/bin/execaudit")
CONFIG = Path("etc/execaudit/config.toml")


@pytest.fixture
def copied(staged: Path, tmp_path: Path) -> Path:
    """An installation that may be changed."""
    return shutil.copytree(staged, tmp_path / "root", symlinks=True)


def test_everything_has_its_place(staged: Path) -> None:
    """Where systemd, man and the shells look for it; closed to nobody, writable for root alone."""
    found = {str(path.relative_to(staged)) for path in staged.rglob("*") if path.is_file()}
    beside = {name for name in found if not name.startswith(f"{LIBRARY}/")}
    pages = {name for name in beside if name.startswith("usr/local/share/man/man1/execaudit")}

    assert {
        str(PROGRAM),
        str(CONFIG),
        "etc/logrotate.d/execaudit",
        "usr/local/lib/systemd/system/execaudit.service",
        "usr/local/lib/systemd/system/execaudit-forward.service",
        "usr/local/lib/systemd/system/execaudit-timestamp.service",
        "usr/local/lib/sysusers.d/execaudit.conf",
        "usr/local/lib/tmpfiles.d/execaudit.conf",
        "usr/local/share/bash-completion/completions/execaudit",
        "usr/local/share/zsh/site-functions/_execaudit",
        "usr/local/share/fish/vendor_completions.d/execaudit.fish",
    } == beside - pages
    assert "usr/local/share/man/man1/execaudit-record.1" in pages
    for name in found:
        mode = (staged / name).stat().st_mode
        assert (0o444, 0) == (mode & 0o444, mode & 0o022), name


def test_nothing_names_where_it_was_staged(staged: Path) -> None:
    """What a package would hold works where it is unpacked: scripts, and what tracebacks show."""
    name = os.fsencode(staged)

    assert [] == [path for path in staged.rglob("*") if path.is_file() and name in path.read_bytes()]


def test_the_program_runs_whatever_is_around_it(staged: Path) -> None:
    """Away from the checkout, with the system's Python, and no hint of where packages may be is taken."""
    where = CHECKOUT / "tests"  # a folder with modules of its own
    launcher = (staged / PROGRAM).read_text().replace(f'"/{LIBRARY}"', f'"{staged / LIBRARY}"')
    show = launcher.replace("\nmain()", "\nimport execaudit, bcc; print(execaudit.__file__); main()")
    script = staged.parent / "launcher"
    script.write_text(show)
    script.chmod(0o755)
    done = subprocess.run(
        [script, "--version"],
        cwd=where,
        env={"PYTHONPATH": str(CHECKOUT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines() == [
        str(staged / LIBRARY / "execaudit/__init__.py"),
        f"execaudit, version {execaudit.__version__}",
    ]


def test_what_is_compiled_runs(staged: Path) -> None:
    """It was made for the system's Python, which starts the program, and of the header that is installed."""
    library = staged / LIBRARY
    show = f"import sys; sys.path.insert(0, {str(library)!r}); from execaudit import native; print(native.fast, native.why_not)"
    said = subprocess.run(["/usr/bin/python3", "-I", "-c", show], capture_output=True, text=True, check=True)

    assert f"from '{library}/execaudit/native/fast." in said.stdout
    assert said.stdout.endswith(" None\n")


def test_once_more_does_nothing(copied: Path) -> None:
    """And says nothing."""
    before = snapshot(copied)

    assert "" == make("install", copied, **STAGED)
    assert before == snapshot(copied)


def test_settings_of_the_administrator_stay(copied: Path) -> None:
    """Whatever is installed, changed or taken away."""
    (copied / CONFIG).write_text("[record]\nquiet = true\n")
    (copied / "etc/logrotate.d/execaudit").write_text("# old\n")
    again = make("install", copied, **STAGED)
    gone = make("uninstall", copied)

    assert [f"install: writing {copied}/etc/logrotate.d/execaudit"] == again.splitlines()
    assert "[record]\nquiet = true\n" == (copied / CONFIG).read_text()
    assert f"install: {copied / CONFIG} was changed, and stays\n" in gone
    assert [copied / CONFIG] == [path for path in copied.rglob("*") if path.is_file()]


def test_uninstall_leaves_nothing_but_the_history(copied: Path) -> None:
    """Of what it put there nothing; the neighbours and what was recorded stay. Twice is once."""
    database = copied / "var/lib/execaudit/execaudit.db"
    neighbour = copied / "usr/local/share/man/man1/execauditor.1"
    database.parent.mkdir(parents=True)
    for kept in (database, neighbour):
        kept.write_text("x")
    make("uninstall", copied)

    assert {database, neighbour} == {path for path in copied.rglob("*") if path.is_file()}
    assert not (copied / LIBRARY).exists()
    assert "" == make("uninstall", copied)


def test_another_prefix_is_in_everything_that_names_it(copied: Path) -> None:
    """The unit is then where systemd finds it whatever the prefix."""
    prefix = copied / "opt/x"
    said = make("install", copied, PREFIX="/opt/x")
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read(copied / "etc/systemd/system/execaudit.service")

    assert "writing" in said
    assert unit["Service"]["ExecStart"].startswith("/opt/x/bin/execaudit record ")
    assert '"/opt/x/lib/execaudit"' in (prefix / "bin/execaudit").read_text()
    assert (copied / "etc/sysusers.d/execaudit.conf").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"PREFIX": "usr"}, "PREFIX must be an absolute path, not usr"),
        ({"PREFIX": "/a|b"}, "PREFIX may have letters, digits and /._+- only, not /a|b"),
        ({"DESTDIR": "here"}, "DESTDIR must be an absolute path, not here"),
    ],
)
def test_bad_places_are_refused(settings: dict[str, str], said: str, tmp_path: Path) -> None:
    """In one line, before anything is made."""
    done = try_make("install", tmp_path, **settings)
    lines = [line for line in done.stderr.splitlines() if not re.match(r"make(\[\d+\])?: ", line)]

    assert done.returncode
    assert [f"install: {said}"] == lines
    assert [] == [*tmp_path.iterdir()]
