"""`make test` runs every test that there is, once."""

from __future__ import annotations

import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
# `make test-kernels` runs these, in part inside of guests; and `make test-report` those in a browser.
_ELSEWHERE = (CHECKOUT / "tests/kernels", CHECKOUT / "tests/browser")


def below(word: str) -> set[Path]:
    """Returns the test files that a word of pytest's command line names."""
    path = CHECKOUT / word
    return set(path.rglob("test_*.py")) if path.is_dir() else {path}


def test_every_test_is_run_once() -> None:
    """However they are divided."""
    done = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "test", "ARGS="],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    runs = [
        line.partition("-m pytest")[2].split() for line in done.stdout.splitlines() if "-m pytest" in line
    ]
    found: list[Path] = []
    for words in runs:
        named = [below(path) for word in words if word.startswith("tests/") for path in sorted_glob(word)]
        # What is named is run, though it is ignored as well.
        ignored = {word.partition("=")[2] for word in words if word.startswith("--ignore=")}
        left_out = map(below, ignored - {*words})
        found += set().union(*named) - set().union(*left_out)
    elsewhere = {path for folder in _ELSEWHERE for path in folder.rglob("test_*.py")}
    every = set((CHECKOUT / "tests").rglob("test_*.py")) - elsewhere

    assert len(runs) == 2
    # Of the first, any two files may run at the same time.
    assert ["--one-kernel" in words for words in runs] == [False, True]
    assert sorted(every) == sorted(found)


def test_the_faults_are_tests_that_there_are() -> None:
    """Pytest would say so, but `make faults` takes ten minutes, and is seldom run."""
    done = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "faults"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    named = [word.split("::") for word in done.stdout.split() if "::" in word]

    assert 2 == len(named)
    assert all(f"\ndef {test}(" in (CHECKOUT / path).read_text() for path, test in named)


def sorted_glob(word: str) -> list[str]:
    """Returns what the shell makes of a word."""
    return sorted(str(path.relative_to(CHECKOUT)) for path in CHECKOUT.glob(word))
