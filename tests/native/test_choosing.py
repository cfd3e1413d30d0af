"""Which module runs: the compiled one, or Python alone."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from execaudit import native

CHECKOUT = Path(__file__).parents[2]
MODULE = f"fast{sysconfig.get_config_var('EXT_SUFFIX')}"
_SHOW = "from execaudit import native; print(native.fast is not None, native.why_not)"


def chosen(checkout: Path, **variables: str) -> str:
    """Returns whether a new process that runs a checkout takes the compiled module, and why not."""
    environment = {name: value for name, value in os.environ.items() if name != "EXECAUDIT_PURE"}
    done = subprocess.run(
        [sys.executable, "-c", _SHOW],
        cwd=checkout,
        env=environment | variables | {"PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A checkout with its compiled module, to be changed."""
    for name in ("execaudit/__init__.py", "execaudit/system", "execaudit/native", "bpf"):
        (shutil.copytree if (CHECKOUT / name).is_dir() else _copy)(CHECKOUT / name, tmp_path / name)
    return tmp_path


def _copy(source: Path, to: Path) -> None:
    to.parent.mkdir()
    shutil.copy(source, to)


def test_here_it_is_compiled() -> None:
    """`make test` has installed what compiles it. So the tests of the other rooms run over it."""
    assert "True None" == chosen(CHECKOUT)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("1", "False EXECAUDIT_PURE is set"),
        ("yes", "False EXECAUDIT_PURE is set"),
        ("0", "True None"),
        ("", "True None"),
    ],
)
def test_a_variable_chooses_python(copied: Path, value: str, said: str) -> None:
    """Set to anything but 0."""
    assert said == chosen(copied, EXECAUDIT_PURE=value)


@pytest.mark.parametrize("name", ["bpf/execaudit.h", "execaudit/native/fast.pyx"])
def test_a_module_from_other_sources_is_not_used(copied: Path, name: str) -> None:
    """The layout of records that is compiled in, or what Python calls, may be another."""
    assert "True None" == chosen(copied)
    with (copied / name).open("a") as file:
        file.write("\n")

    assert "False built from other sources" == chosen(copied)


def test_an_installation_has_no_source(copied: Path) -> None:
    """Only the header is compared."""
    (copied / "bpf").rename(copied / "execaudit/_bpf")
    (copied / "execaudit/native/fast.pyx").unlink()
    assert "True None" == chosen(copied)
    (copied / "execaudit/_bpf/execaudit.h").unlink()

    assert "False built from other sources" == chosen(copied)


def test_a_module_of_another_python_is_not_seen(copied: Path) -> None:
    """After an update of Python, say."""
    module = copied / "execaudit/native" / MODULE
    module.rename(module.with_name("fast.cpython-399-x86_64-linux-gnu.so"))

    assert "False not built for this Python" == chosen(copied)


def test_a_damaged_module_is_not_used(copied: Path) -> None:
    """And the linker's reason is shown."""
    (copied / "execaudit/native" / MODULE).write_bytes(b"\x7fELF")

    assert chosen(copied).startswith("False cannot be loaded: ")


def test_mypy_knows_the_module() -> None:
    """fast.pyi has the functions and methods that the module has, and their parameters."""
    stub = ast.parse((CHECKOUT / "execaudit/native/fast.pyi").read_text())
    classes = {node.name: node.body for node in stub.body if isinstance(node, ast.ClassDef)}
    written = {"": stub.body, **classes}
    # With EXECAUDIT_PURE the tests of this process must not get it.
    path = CHECKOUT / "execaudit/native" / MODULE
    spec = importlib.util.spec_from_file_location("execaudit.native.fast", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    for name, nodes in written.items():
        owner = getattr(module, name) if name else module
        functions = [node for node in nodes if isinstance(node, ast.FunctionDef) and node.name != "__init__"]
        assert {node.name: [each.arg for each in node.args.args] for node in functions} == {
            each: [*inspect.signature(value).parameters]
            for each, value in vars(owner).items()
            if callable(value) and not isinstance(value, type) and not each.startswith("__")
        }
    # `native.fast` has these names for mypy.
    assert {*native.Compiled.__annotations__} == {
        node.name for node in stub.body if isinstance(node, ast.ClassDef | ast.FunctionDef)
    }
