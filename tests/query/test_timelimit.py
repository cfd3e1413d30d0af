"""Regular expressions end, whatever they are."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from execaudit.query import timelimit
from tests.commands import PATIENCE, audible, execaudit, running
from tests.histories import make_event, make_history

if TYPE_CHECKING:
    from collections.abc import Iterator

SLOW = "(a|aa)+$"
_LONG = b"a" * 60 + b"b"


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A line on which SLOW takes longer than there is time in the world, and one that is not UTF-8."""
    events = [
        make_event(b"curl", "café crème".encode(), seconds=1),
        make_event(b"curl", b"caf\xe9", seconds=2),
        make_event(b"x", _LONG, seconds=3),
    ]
    return make_history(tmp_path_factory.mktemp("slow") / "history.db", events)


def seconds_of(pid: int) -> float:
    """Returns the CPU time that a process took."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("caf. cr", [b"curl\0caf\xc3\xa9 cr\xc3\xa8me\0"]),
        ("caf.$", [b"curl\0caf\xe9\0"]),
        ("CAF\u00c9(?i)", []),
        ("(?i)CAF\u00c9", [b"curl\0caf\xc3\xa9 cr\xc3\xa8me\0"]),
        (r"[\udc80-\udcff]", [b"curl\0caf\xe9\0"]),
        (b"caf\xe9", [b"curl\0caf\xe9\0"]),
        (r"^curl \w+ \w+$", [b"curl\0caf\xc3\xa9 cr\xc3\xa8me\0"]),
        ("[[a]f", [b"curl\0caf\xc3\xa9 cr\xc3\xa8me\0", b"curl\0caf\xe9\0"]),
    ],
)  # fmt: skip
def test_it_is_searched_in_text(history: Path, expression: str | bytes, found: list[bytes]) -> None:
    """A dot is a character, as `?` of a glob is; a byte that is not UTF-8 is one too."""
    done = execaudit("--db", history, "query", "--args-regex", expression)
    said = [
        b"".join(argument.encode("utf-8", "surrogateescape") + b"\0" for argument in row["argv"])
        for row in done.rows()
    ]

    assert (0, b"") == (done.status, done.err)
    assert [line.decode("utf-8", "backslashreplace").encode() for line in found] == said


@pytest.mark.parametrize(
    "typed",
    [
        ["query", "--args-regex", SLOW],
        ["stats", "--args-regex", SLOW],
        ["export", "--args-regex", SLOW],
        ["query", "--where", f"command matches '{SLOW}'"],
        ["query", "--where", f"argv matches '{SLOW}'"],
    ],
    ids=" ".join,
)
def test_a_slow_one_ends(history: Path, typed: list[str]) -> None:
    """With one line that names the exec; what was found before it stays said."""
    program = (
        sys.executable, "-c",
        "from execaudit.query import timelimit; from execaudit.cli import main; timelimit.SECONDS = 0.5; main()",
        "--config", "/dev/null",
    )  # fmt: skip
    (slow,) = execaudit("--db", history, "query", "--args", "aaa").rows()
    done = execaudit("--db", history, *typed, before=program)

    assert 1 == done.status
    assert 1 == done.err.count(b"\n")
    assert slow["id"].encode() in done.err
    assert SLOW.encode() in done.err


def test_ctrl_c_ends_a_slow_one(history: Path) -> None:
    """In the middle of the search."""
    program = (
        sys.executable, "-c",
        "from execaudit.query import timelimit; from execaudit.cli import main; timelimit.SECONDS = 1e6; main()",
        "--config", "/dev/null",
    )  # fmt: skip
    with running("--db", history, "query", "--args-regex", SLOW, before=program) as process:
        deadline = time.monotonic() + PATIENCE
        while seconds_of(process.pid) < 2:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)

        assert 130 == process.wait(PATIENCE)
        assert process.stderr is not None
        assert b"" == audible(process.stderr.read())


def test_who_asks_otherwise_does_not_load_the_library() -> None:
    """It takes a tenth of what a short question takes."""
    program = (
        "import sys; from execaudit.query import connection, find, sql_functions\nimport execaudit.cli.filter_options\n"
        "print('regex' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "False\n" == done.stdout


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Little time."""
    monkeypatch.setattr(timelimit, "SECONDS", 0.2)
    return iter(())


@pytest.mark.usefixtures("short")
def test_the_bound_is_for_each_line() -> None:
    """A search that ends leaves the next one all of its time."""
    search = timelimit.searcher(SLOW)

    assert search("a" * 100)
    with pytest.raises(TimeoutError):
        search(_LONG.decode())
    assert search("a" * 100)
