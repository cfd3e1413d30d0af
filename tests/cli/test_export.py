"""`execaudit export`: the file is complete or not there, and nobody else can read it."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import signal
import sqlite3
import stat
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from execaudit.cli.run import new_file
from execaudit.errors import ExecauditError
from execaudit.output.record import FIELDS
from execaudit.sizes import size_text
from execaudit.store.writer import Store
from tests.commands import PATIENCE, as_nobody, audible, execaudit, in_shell, line_of, on_terminal, running
from tests.histories import START, begin_run, make_event, make_gap, make_history

if TYPE_CHECKING:
    from pathlib import Path


def files(folder: Path) -> list[str]:
    """Returns the names in a folder."""
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("fmt", ["csv", "jsonl"])
def test_standard_output_and_a_file_get_the_same(fmt: str, history: Path, tmp_path: Path) -> None:
    """What -o FILE holds is what standard output gets, and the latter stays empty."""
    arguments = ("--db", history, "export", "--format", fmt)
    printed = execaudit(*arguments)
    written = execaudit(*arguments, "-o", tmp_path / "out")

    assert printed.out == (tmp_path / "out").read_bytes()
    assert printed.out == execaudit(*arguments, "-o", "-", folder=tmp_path).out
    assert (0, b"") == (written.status, written.out)
    size = len(printed.out)
    assert f"wrote 8 execs to {tmp_path}/out, {size_text(size)}".encode() == written.err.splitlines()[-1]
    assert b"wrote" not in printed.err
    assert ["out", *(["out.gaps.csv", "out.seal.json"] if fmt == "csv" else [])] == files(tmp_path)


def test_formats_agree(history: Path) -> None:
    """CSV is the default, and has the records of the JSON lines."""
    rows = execaudit("--db", history, "export", "--format", "jsonl").rows()
    text = execaudit("--db", history, "export").out.decode()
    header, *records = csv.reader(io.StringIO(text, newline=""), strict=True)

    assert list(FIELDS) == header
    assert [row["argv"] for row in rows] == [json.loads(record[FIELDS.index("argv")]) for record in records]


def test_filters_are_those_of_query(history: Path) -> None:
    """A filter finds in an export what it finds in a query."""
    options = ("--user", "alice", "--reverse", "--limit", "1")
    found = execaudit("--db", history, "query", *options)

    assert [101] == found.pids()
    exported = execaudit("--db", history, "export", "--format", "jsonl", *options).out
    assert found.out == b"".join(exported.splitlines(keepends=True)[:-1])


def test_others_cannot_read_the_file(history: Path, tmp_path: Path) -> None:
    """Command lines hold secrets: the file is for the owner and the group, or less by the umask."""
    execaudit("--db", history, "export", "-o", tmp_path / "usual")
    execaudit("--db", history, "export", "-o", tmp_path / "strict", umask=0o077)

    assert 0o640 == stat.S_IMODE((tmp_path / "usual").stat().st_mode)
    assert 0o600 == stat.S_IMODE((tmp_path / "strict").stat().st_mode)


def test_an_existing_file_is_kept(history: Path, tmp_path: Path) -> None:
    """Without --force: one line, and neither the file nor the ones for its gaps and seals change."""
    for taken, name in (
        ("out.csv", "out.csv"), ("other.gaps.csv", "other.csv"), ("third.seal.json", "third.csv"),
    ):  # fmt: skip
        (tmp_path / taken).write_text("mine")
        done = execaudit("--db", history, "export", "-o", tmp_path / name)

        assert 1 == done.status
        assert done.failed_in_one_line()
        assert f"{taken} is there already: name another file, or replace it with --force".encode() in done.err
        assert "mine" == (tmp_path / taken).read_text()
    assert ["other.gaps.csv", "out.csv", "third.seal.json"] == files(tmp_path)


def test_a_file_that_came_meanwhile_is_kept(tmp_path: Path) -> None:
    """It is looked for again when the export gets its name."""

    def export() -> None:
        with new_file.opened(tmp_path / "out.csv", force=False) as out:
            out.file.write(b"new")
            (tmp_path / "out.csv").write_text("mine")

    with pytest.raises(ExecauditError, match=r"out.csv is there already"):
        export()

    assert ["out.csv"] == files(tmp_path)
    assert "mine" == (tmp_path / "out.csv").read_text()


def test_an_existing_file_is_replaced_by_force(history: Path, tmp_path: Path) -> None:
    """The new file takes the place of the old one, which whoever has it open still reads whole."""
    out = tmp_path / "out.csv"
    out.write_text("old\n" * 100_000)
    out.chmod(0o644)
    with out.open() as old:
        execaudit("--db", history, "export", "--force", "-o", out)

        assert "old\n" * 100_000 == old.read()
    assert out.read_text().startswith("id,parent_id,time,")
    assert 0o640 == stat.S_IMODE(out.stat().st_mode)


def test_other_files_are_left_alone(history: Path, tmp_path: Path) -> None:
    """Files whose names come near that of the output stay as they are."""
    for name in ("out.csv.partial", "out.csv.tmp", "out.csv~", ".out.csv"):
        (tmp_path / name).write_text("mine")
    before = files(tmp_path)
    execaudit("--db", history, "export", "-o", tmp_path / "out.csv")

    assert sorted([*before, "out.csv", "out.gaps.csv", "out.seal.json"]) == files(tmp_path)
    assert {"mine"} == {(tmp_path / name).read_text() for name in before}


def test_a_link_stays_a_link(history: Path, tmp_path: Path) -> None:
    """Through a symbolic link, the file it names is replaced."""
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    execaudit("--db", history, "export", "--force", "-o", tmp_path / "link")

    assert "target" == str((tmp_path / "link").readlink())
    assert (tmp_path / "target").read_text().startswith("id,parent_id,time,")


@pytest.mark.parametrize("redirected", ["> out", ">> out", "| cat > out"])
def test_a_link_to_standard_output(redirected: str, long_history: Path, tmp_path: Path) -> None:
    """`-o /dev/stdout` writes to standard output, whatever that is, and the link stays."""
    # A link of our own: a bug must not take that of the machine.
    (tmp_path / "stdout").symlink_to("/proc/self/fd/1")
    (tmp_path / "out").write_text("first\n" if ">>" in redirected else "")
    script = f"$execaudit --db {long_history} export -o {tmp_path}/stdout {redirected}"
    done = in_shell(script, folder=tmp_path)

    assert (0, b"") == (done.status, done.err)
    assert "/proc/self/fd/1" == str((tmp_path / "stdout").readlink())
    assert execaudit("--db", long_history, "export").out == (
        (tmp_path / "out").read_bytes().removeprefix(b"first\n")
    )
    assert ["out", "stdout"] == files(tmp_path)


def test_a_pipe_with_a_name(history: Path, tmp_path: Path) -> None:
    """What is no regular file is written to, not replaced."""
    os.mkfifo(tmp_path / "pipe")
    with running("--db", history, "export", "-o", tmp_path / "pipe") as process:
        read = (tmp_path / "pipe").read_bytes()

        assert 0 == process.wait(PATIENCE)
    assert execaudit("--db", history, "export").out == read
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize("arguments", ["-o /dev/full", "> /dev/full", "-o /dev/stdout > /dev/full"])
def test_no_room(arguments: str, long_history: Path) -> None:
    """A full device is one line and status 1."""
    done = in_shell(f"$execaudit --db {long_history} export {arguments}", folder=long_history.parent)

    assert 1 == done.status
    assert done.failed_in_one_line()
    assert b"No space left on device" in done.err


def test_no_room_in_the_last_moment(long_history: Path) -> None:
    """What fits into a buffer fails as what does not."""
    done = in_shell(f"$execaudit --db {long_history} query --limit 1 >/dev/full", folder=long_history.parent)

    assert 1 == done.status
    assert done.failed_in_one_line()


def test_a_folder_nobody_may_write_to(public_folder: Path, history: Path) -> None:
    """Without permission it is one line, status 1, and no file."""
    database = public_folder / "history.db"
    database.write_bytes(history.read_bytes())
    database.chmod(0o644)
    done = as_nobody("--db", database, "export", "--host", "db1", "-o", public_folder / "out.csv")

    assert 1 == done.status
    assert done.failed_in_one_line()
    assert b"out.csv: Permission denied" in done.err
    assert ["history.db"] == files(public_folder)


def test_interrupted_it_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C, even within a slow regular expression, ends with 130 and without a file."""
    path = make_history(tmp_path / "history.db", [make_event(b"a" * 60 + b"b")], [make_gap(0, 1)])
    before = files(tmp_path)
    arguments = ("--db", path, "export", "-o", tmp_path / "out.csv", "--args-regex", "(a|aa)+$")
    with running(*arguments) as process:
        deadline = time.monotonic() + PATIENCE
        while not [*tmp_path.glob(".execaudit-*")]:  # made just before the search
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)

        assert 130 == process.wait(PATIENCE)
        assert process.stderr
        assert [b"gap: 7 execs missed"] == [line[:19] for line in audible(process.stderr.read()).splitlines()]
    assert before == files(tmp_path)


def test_progress_on_a_terminal(long_history: Path, tmp_path: Path) -> None:
    """On a terminal a bar says how far it is; elsewhere nothing does."""
    shown = on_terminal("--db", long_history, "export", "-o", tmp_path / "x\x1b[31m.csv", stderr=True)
    silent = execaudit("--db", long_history, "export", "-o", tmp_path / "y.csv")
    size = size_text((tmp_path / "y.csv").stat().st_size)

    assert b"100%" in shown.out
    assert b"Writing x\\x1b[31m.csv" in shown.out
    assert (0, b"", f"wrote 3000 execs to {tmp_path}/y.csv, {size}\n".encode()) == silent
    assert (tmp_path / "y.csv").read_bytes() == (tmp_path / "x\x1b[31m.csv").read_bytes()


def test_an_export_of_nothing_is_a_header(history: Path, tmp_path: Path) -> None:
    """A filter that nothing passes leaves a CSV with its header, and of JSON lines only that of the seal."""
    options = ("--db", history, "export", "--since", f"@{START + 800}", "--until", f"@{START + 900}")
    execaudit(*options, "-o", tmp_path / "csv")
    execaudit(*options, "--format", "jsonl", "-o", tmp_path / "jsonl")

    assert ",".join(FIELDS) + "\n" == (tmp_path / "csv").read_text()
    (line,) = (tmp_path / "jsonl").read_bytes().splitlines()
    assert b'{"kind":"sealed",' in line


def test_the_history_can_be_somewhere_else_than_the_export(history: Path, tmp_path: Path) -> None:
    """Reading leaves nothing beside the database, and does not change it."""
    before, beside = history.read_bytes(), files(history.parent)
    execaudit("--db", history, "export", "-o", tmp_path / "out", stdin=subprocess.DEVNULL)

    assert (before, beside) == (history.read_bytes(), files(history.parent))


@pytest.fixture
def wide_history(tmp_path: Path) -> Path:
    """Few execs whose numbers lie so far apart that several processes look for them."""
    path = tmp_path / "wide.db"
    with Store(path) as store:
        begin_run(store)
        store.append([make_event(b"first", b"%d" % number, seconds=number) for number in range(5)])
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE meta SET value = CAST('300000' AS BLOB) WHERE key = 'next_id'")
        connection.commit()
    with Store(path) as store:
        begin_run(store)
        store.append([make_event(b"x" * 1000, b"%d" % number, seconds=10 + number) for number in range(3000)])
    return path


@pytest.mark.parametrize("fmt", ["csv", "jsonl"])
def test_several_processes_write_what_a_query_shows(fmt: str, wide_history: Path, tmp_path: Path) -> None:
    """The same bytes, in the same order."""
    options = ("--db", wide_history, "export", "--format", fmt, "-o", tmp_path / "out")

    assert execaudit(*options).status == 0
    queried, written = (
        execaudit("--db", wide_history, "query", "--format", fmt).out,
        (tmp_path / "out").read_bytes(),
    )
    if fmt == "jsonl":  # then there is a line for the seal
        written = b"".join(written.splitlines(keepends=True)[:-1])
    assert queried == written


def test_an_interrupted_large_export_leaves_no_process(wide_history: Path) -> None:
    """Ctrl-C goes to all of them: it ends with 130 and says nothing, and nobody stays behind."""
    with running("--db", wide_history, "export", start_new_session=True) as process:
        line_of(process.stdout)  # then nobody reads on
        os.killpg(process.pid, signal.SIGINT)

        assert 130 == process.wait(PATIENCE)
        assert process.stderr
        assert b"" == audible(process.stderr.read())
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)
