"""What commands say of a URL of a central database."""

from __future__ import annotations

import pytest

from tests.commands import execaudit

CENTRAL = "postgresql://audit@127.0.0.1:1/execs"


@pytest.mark.parametrize(
    "words",
    [
        ["query", "--follow"],
        ["hunt", "--follow", "x.yml"],
        ["db", "backup", "x.db"],
        ["top"],
        ["import", "x.log"],
        ["doctor"],
        ["record", "--", "true"],
    ],
    ids=" ".join,
)
def test_what_needs_a_file_says_so(words: list[str]) -> None:
    """In one line that says what to give."""
    done = execaudit("--db", CENTRAL, *words)

    assert done.status == 2
    assert done.err.decode() == (
        "execaudit: this is done with a history in a file, and --db is postgresql://...:"
        " give a path, or sqlite:///PATH\n"
    )


@pytest.mark.parametrize(
    "words",
    [["query"], ["export"], ["show", "pid:1"], ["tree"], ["stats"], ["report"], ["hunt", "x.yml"], ["top"]],
    ids=" ".join,
)
@pytest.mark.parametrize("way", ["option", "environment"])
def test_a_password_in_the_url_is_not_repeated(words: list[str], way: str) -> None:
    """Whatever is asked, and wherever the URL stands."""
    url = "postgresql://audit:hunter2@db.example/execs"
    options, variables = (["--db", url], {}) if way == "option" else ([], {"EXECAUDIT_DB": url})
    done = execaudit(*options, *words, env=variables)

    assert done.status == 2
    assert done.err.count(b"\n") == 1
    assert b"has a password" in done.err
    assert b"hunter2" not in done.out + done.err
