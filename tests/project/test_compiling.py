"""The compiled module: how it is built, and what is built where it cannot be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
MODULE = f"fast{sysconfig.get_config_var('EXT_SUFFIX')}"
# Of the size of a test: the module itself takes ten seconds.
_SMALL = """
from libc.stdlib cimport free, malloc

def read_behind(int size):
    cdef char *room = <char *>malloc(size)
    try:
        return room[size]
    finally:
        free(room)

def add_one(int number):
    return number + 1
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is needed to build the package, with a small source for the module."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("execaudit", "bpf", "migrations", "tools"):
        shutil.copytree(CHECKOUT / name, folder / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(CHECKOUT / name, folder)
    (folder / "execaudit/native/fast.pyx").write_text(_SMALL)
    return folder


def run(checkout: Path, *words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs this Python in the checkout."""
    given = {name: value for name, value in os.environ.items() if name not in {"CC", "CFLAGS", "LDFLAGS"}}
    return subprocess.run(
        [sys.executable, *words],
        cwd=checkout,
        env=given | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def built(checkout: Path, folder: Path, target: str = "wheel", **variables: str) -> tuple[Path, str]:
    """Builds the package. Returns its file, and what was said on standard error."""
    done = run(checkout, "-m", "hatchling", "build", "-t", target, "-d", folder, **variables)
    assert done.returncode == 0, done.stderr
    (file,) = folder.iterdir()
    return file, done.stderr + done.stdout


def files(checkout: Path) -> set[str]:
    """Returns the files of a checkout, without Python's own caches."""
    every = {str(path.relative_to(checkout)) for path in checkout.rglob("*") if path.is_file()}
    return {name for name in every if "__pycache__" not in name}


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"EXECAUDIT_BUILD_PURE": "1"}, "EXECAUDIT_BUILD_PURE is set"),
        ({"CC": "no-such-compiler"}, "there is no C compiler no-such-compiler"),
        ({"CC": "'gcc"}, "'gcc: No closing quotation"),
        ({"CFLAGS": "-include no-such.h"}, "fatal error: no-such.h: No such file or directory"),
    ],
    ids=["chosen", "no compiler", "a word", "an error"],
)
def test_without_the_module_it_is_a_pure_wheel(
    checkout: Path, tmp_path: Path, variables: dict[str, str], why: str
) -> None:
    """The build goes on, and says why in one line."""
    wheel, said = built(checkout, tmp_path, **variables)

    assert wheel.name.endswith("-py3-none-any.whl")
    (line,) = [line for line in said.splitlines() if "without its compiled functions" in line]
    assert why in line
    assert why in (checkout / ".cache/native/why-not").read_text()


def test_nothing_is_left_in_the_tree(checkout: Path, tmp_path: Path) -> None:
    """No C and no module but in the cache, which the next build uses."""
    before = files(checkout)
    built(checkout, tmp_path / "1")
    made = files(checkout)
    wheel, _ = built(checkout, tmp_path / "2")

    assert not wheel.name.endswith("-py3-none-any.whl")
    assert made == files(checkout)
    assert {".cache/native"} == {str(Path(name).parent) for name in made ^ before}
    assert {".so"} == {Path(name).suffix for name in made - before}


def test_the_source_archive_has_what_compiles_it(checkout: Path, tmp_path: Path) -> None:
    """And nothing that was compiled."""
    archive, _ = built(checkout, tmp_path, "sdist")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}

    assert names >= {
        "execaudit/native/fast.pyx",
        "bpf/execaudit.h",
        "hatch_build.py",
        "tools/compile_native.py",
    }
    assert not {name for name in names if name.endswith((".so", ".c")) and not name.startswith("bpf/")}


def test_it_is_compiled_into_the_checkout_when_something_changed(checkout: Path) -> None:
    """Or taken away if that fails: what is there is always of these sources."""
    module = checkout / "execaudit/native" / MODULE
    show = (
        "-c",
        "from execaudit import native; print(native.fast and native.fast.add_one(1), native.why_not)",
    )
    compile_it = ("-m", "tools.compile_native")
    done = run(checkout, *compile_it)
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
    first = module.read_bytes()
    assert "2 None\n" == run(checkout, *show).stdout
    with (checkout / "bpf/execaudit.h").open("a") as file:
        file.write("/* changed */\n")
    assert "None built from other sources\n" == run(checkout, *show).stdout
    run(checkout, *compile_it)
    assert "2 None\n" == run(checkout, *show).stdout
    assert first != module.read_bytes()
    done = run(checkout, *compile_it, CC="no-such-compiler")

    assert (1, "not compiled: there is no C compiler no-such-compiler\n") == (done.returncode, done.stderr)
    assert not module.exists()


def test_make_clean_takes_it_away(checkout: Path) -> None:
    """With the cache."""
    shutil.copy(CHECKOUT / "Makefile", checkout)
    (checkout / "execaudit/native" / MODULE).touch()
    subprocess.run(["make", "clean"], cwd=checkout, capture_output=True, check=True)

    assert not [*checkout.rglob("*.so")]
    assert not (checkout / ".cache").exists()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("read_behind(8)", "AddressSanitizer: heap-buffer-overflow"),
        ("add_one(2**31 - 1)", "runtime error: signed integer overflow"),
        ("add_one(1)", ""),
    ],
    ids=["addresses", "undefined behaviour", "none"],
)
def test_sanitizers_end_at_a_mistake(checkout: Path, call: str, said: str) -> None:
    """What `make fuzz` runs the tests of the module with."""
    code = (
        "import os; from execaudit import native\n"
        "native.__path__.insert(0, os.environ['EXECAUDIT_TEST_NATIVE'])\n"
        f"native.fast.{call}; print('went on')"
    )
    done = run(checkout, "-m", "tools.sanitized", sys.executable, "-c", code)

    assert said in done.stderr
    assert ("" if said else "went on\n") == done.stdout
    assert bool(said) == bool(done.returncode)
