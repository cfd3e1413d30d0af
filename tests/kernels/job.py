"""Write the job of a guest, as a tar on one of its disks."""

from __future__ import annotations

import shlex
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.kernels.cache import CHECKOUT
from tests.kernels.root import PYTHONPATH
from tests.truth import programs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_GUEST = Path(__file__).with_name("guest.sh")
_OF_THE_CHECKOUT = ("bpf", "execaudit", "migrations", "tests", "pyproject.toml")
_PROGRAMS = Path("/opt/programs")


def write(script: str, to: Path) -> None:
    """Writes a job that is a shell script and nothing else."""
    with tempfile.TemporaryDirectory() as scratch:
        _write(script, Path(scratch), to)


def write_tests(arguments: Sequence[str], settings: Mapping[str, str], to: Path) -> None:
    """Writes a job that runs pytest in a copy of the checkout."""
    environment = {
        "PYTHONPATH": f"/checkout:{PYTHONPATH}",
        "PYTHONUNBUFFERED": "1",
        programs.READY_MADE: str(_PROGRAMS),
        **settings,
    }
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())
    command = shlex.join(["python3", "-m", "pytest", "-p", "no:cacheprovider", "-v", *arguments])
    with tempfile.TemporaryDirectory() as scratch:
        top = Path(scratch)
        _copy_checkout(top / "checkout")
        _build_programs(top)
        script = f"{exports}cd /checkout\nexec {command} --junit-xml=/job/answer/junit.xml\n"
        _write(script, top, to)


def _copy_checkout(to: Path) -> None:
    for name in _OF_THE_CHECKOUT:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, to / name)


def _build_programs(top: Path) -> None:
    """Compiles the programs here, because the guest has no compiler; they contain the guest's paths."""
    folder = top / _PROGRAMS.relative_to("/")
    folder.mkdir(parents=True)
    programs.build(folder, at=_PROGRAMS)


def _write(script: str, top: Path, to: Path) -> None:
    (top / "job").mkdir()
    top.chmod(0o755)  # it becomes the guest's root folder, which all users must be able to enter
    (top / "job/run").write_text(script)
    shutil.copy(_GUEST, top / "job/guest.sh")
    with tarfile.open(to, "w") as tar:
        tar.add(top, ".", filter=_as_root)


def _as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
