"""The wheel, built and unpacked outside of the checkout."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import execaudit
from execaudit.capture import loader

CHECKOUT = Path(__file__).parents[2]
_MODULE = f"fast{sysconfig.get_config_var('EXT_SUFFIX')}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds the wheel, without the network: hatchling is in the dev extra."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpacks the wheel as an installation would."""
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(installed: Path, *args: str) -> str:
    """Runs this Python with the unpacked wheel before all other packages; returns its output."""
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, *args],
        cwd=installed.parent,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize(
    ("folder", "inside"),
    [
        ("bpf", "_bpf"),
        ("migrations", "_migrations"),
        ("execaudit/report/assets", "report/assets"),
        ("execaudit/report/vendor", "report/vendor"),
    ],
)
def test_everything_that_is_no_module_is_inside(installed: Path, folder: str, inside: str) -> None:
    """Each file of these folders is there, byte for byte."""
    source = CHECKOUT / folder
    files = [path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts]

    assert [] != files
    for path in files:
        assert path.read_bytes() == (installed / "execaudit" / inside / path.relative_to(source)).read_bytes()


def test_nothing_else_is_inside(wheel: Path) -> None:
    """No tests, no caches: only the package and what is written about it."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()

    about = f"execaudit-{execaudit.__version__}.dist-info"
    assert {"execaudit", about} == {name.partition("/")[0] for name in names}
    assert [] == [name for name in names if "__pycache__" in name]
    assert f"{about}/licenses/LICENSE" in names


def test_the_compiled_module_is_inside(wheel: Path, installed: Path) -> None:
    """For this Python and this kind of machine, as the name says, without what it was made of."""
    version = f"cp{sys.version_info.major}{sys.version_info.minor}"
    folder = installed / "execaudit/native"
    show = "from execaudit import native; print(native.fast.__file__, native.why_not)"

    assert wheel.name.endswith(f"-{version}-{version}-linux_{platform.machine()}.whl")
    assert {"__init__.py", "fast.pyi", _MODULE} == {path.name for path in folder.iterdir() if path.is_file()}
    assert f"{folder / _MODULE} None\n" == run(installed, "-c", show)
    assert os.fsencode(CHECKOUT) not in (folder / _MODULE).read_bytes()


def test_program_runs(installed: Path) -> None:
    """The unpacked package says its own version, away from the checkout."""
    assert execaudit.__version__ in run(installed, "-m", "execaudit", "--version")


def test_program_finds_its_files(installed: Path) -> None:
    """The probe's sources and the migrations are those of the installation."""
    code = "from execaudit.system import shipped\nprint(shipped.folder('bpf'))\nprint(shipped.folder('migrations'))\n"

    found = run(installed, "-c", code).splitlines()

    assert [str(installed / "execaudit" / name) for name in ("_bpf", "_migrations")] == found


def test_program_finds_all_of_the_probe(installed: Path) -> None:
    """The installed program gives the compiler the same text as the checkout does."""
    code = "import sys; from execaudit.capture import loader; sys.stdout.write(loader.source_text())"

    assert loader.source_text() == run(installed, "-c", code)


def test_program_makes_a_database(installed: Path, tmp_path: Path) -> None:
    """The migrations that came with the installation run."""
    database = tmp_path / "history.db"

    run(installed, "-m", "execaudit", "--db", str(database), "db", "upgrade")

    assert database.read_bytes().startswith(b"SQLite format 3")
