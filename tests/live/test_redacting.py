"""`[redact]` in the configuration: secrets in arguments are in nothing that the recorder writes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

from execaudit.event import MARK_BYTES
from tests.commands import NO_FAILED, NOBODY, execaudit, found, on_terminal
from tests.live.load import await_said
from tests.live.recording import recording
from tests.truth.processes import await_true

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.recording import Recorded, Row

_RULES = '[redact]\npresets = "all"\n'
# Each is in one command line, but for the first, which is in two.
TWICE, QUOTED, SHORT, URL, REFUSED, LONG, BEFORE = SECRETS = tuple(f"Gx7-kW{number}qP" for number in range(7))
_LAUNCHED = {
    "twice": ("curl", "-u", f"alice:{TWICE}", "https://a.example/"),
    "again": ("mysql", f"-p{TWICE}", "-e", "select 1"),
    "quoted": ("sh", "-c", f"true; true --password='{QUOTED}' -v"),
    "short": ("sshpass", "-p", SHORT, "ssh", "-p", "22", "b.example"),
    "url": ("git", "clone", f"https://bob:{URL}@c.example/x.git"),
    "long": ("true", *["x" * 1000] * 400, f"--token={LONG}"),
    "harmless": ("docker", "run", "-p", "8080:80", "--name", "mysql", "tar", "-p"),
}


class Redacted(NamedTuple):
    """What a recorder wrote that redacts."""

    recorded: Recorded
    rows: dict[str, Row]
    """Each of _LAUNCHED, the one that was refused, and the one that ran before."""


@pytest.fixture(scope="module")
def redacted(tmp_path_factory: pytest.TempPathFactory) -> Redacted:
    """Programs with secrets in their arguments, recorded."""
    folder = tmp_path_factory.mktemp("redacted")
    config = folder / "config.toml"
    config.write_text(_RULES)
    pids: dict[str, int] = {}
    with subprocess.Popen(["sh", "-c", "read x", "redis-cli", "-a", BEFORE], stdin=subprocess.PIPE) as before:
        pids["before"] = before.pid
        with recording(folder / "written", config=config) as recorded:
            for name, words in _LAUNCHED.items():
                executable = "/bin/sh" if words[0] == "sh" else "/bin/true"
                with subprocess.Popen(words, executable=executable) as process:
                    pids[name] = process.pid
            pids["refused"] = os.fork()
            if not pids["refused"]:
                try:
                    os.execv("/nonexistent", ["psql", f"postgres://carol:{REFUSED}@d.example/x"])
                finally:
                    os._exit(0)
            os.waitpid(pids["refused"], 0)
        before.communicate(b"\n")
    rows = {row["pid"]: row for row in recorded.rows()}
    return Redacted(recorded, {name: rows[pid] for name, pid in pids.items()})


def _marks(row: Row) -> list[str]:
    """Returns the marks that a record tells of."""
    return [row["argv"][argument][offset : offset + MARK_BYTES] for argument, offset in row["redacted"] or []]


def test_no_file_has_a_secret(redacted: Redacted) -> None:
    """Neither the database nor the JSON log nor what the recorder said."""
    files = [path for path in redacted.recorded.db.parent.iterdir() if path.is_file()]
    contents = {path.name: path.read_bytes() for path in files}

    assert {"history.db", "execs.jsonl", "stderr.jsonl", "history.db.redaction-key"} <= contents.keys()
    assert [] == [
        (name, secret)
        for name, content in contents.items()
        for secret in SECRETS
        if secret.encode() in content
    ]


def test_the_record_says_that_and_where(redacted: Redacted) -> None:
    """A mark stands where the secret stood, and all else is as it was."""
    secrets = {
        "twice": TWICE, "again": TWICE, "quoted": QUOTED, "short": SHORT, "url": URL, "refused": REFUSED, "long": LONG,
        "before": BEFORE,
    }  # fmt: skip
    words = {
        **_LAUNCHED,
        "refused": ("psql", f"postgres://carol:{REFUSED}@d.example/x"),
        "before": ("sh", "-c", "read x", "redis-cli", "-a", BEFORE),
    }

    for name, secret in secrets.items():
        row = redacted.rows[name]
        (mark,) = _marks(row)
        expected = [word.replace(secret, mark) for word in words[name]]
        assert expected == row["argv"]
        assert (len(expected), sum(len(word) + 1 for word in expected)) == (row["argc"], row["argv_bytes"])
        assert row["truncated"] is None
    assert ("failed", "snapshot") == (redacted.rows["refused"]["kind"], redacted.rows["before"]["kind"])


def test_what_has_no_secret_is_whole(redacted: Redacted) -> None:
    """Ports, names of containers, modes."""
    row = redacted.rows["harmless"]

    assert (list(_LAUNCHED["harmless"]), None) == (row["argv"], row["redacted"])


def test_equal_secrets_have_equal_marks(redacted: Redacted) -> None:
    """So one question finds where else the same secret was used; the JSON log has the same marks."""
    marks = {name: _marks(row) for name, row in redacted.rows.items() if row["redacted"]}
    logged = {row["id"]: row["redacted"] for row in redacted.recorded.logged() if row["kind"] != "gap"}
    used = found(redacted.recorded.db, "--args", marks["twice"][0])

    assert marks["twice"] == marks["again"]
    assert len({mark for (mark,) in marks.values()}) == len(marks) - 1
    assert [redacted.rows[name]["id"] for name in ("twice", "again")] == [row["id"] for row in used]
    assert all(row["redacted"] == logged[row["id"]] for row in redacted.rows.values())


def test_redacted_execs_can_be_asked_for(redacted: Redacted) -> None:
    """By the key of the record."""
    asked = found(
        redacted.recorded.db, "--where", "redacted != null", "--pid", str(redacted.rows["url"]["pid"])
    )

    assert [redacted.rows["url"]] == [{**row, "ended": asked[0]["ended"]} for row in asked]


def test_the_terminal_shows_no_secret(tmp_path: Path) -> None:
    """What is printed is what is stored."""
    config = tmp_path / "config.toml"
    config.write_text(_RULES)
    shown = on_terminal(
        "--config", config, "--db", tmp_path / "x.db", "record", NO_FAILED, "--", "/bin/true", f"--password={SHORT}",
        env={"COLUMNS": "200", "NO_COLOR": "1"},
    )  # fmt: skip

    assert SHORT.encode() not in shown.out + shown.err
    assert b"/bin/true --password=REDACTED:" in shown.out


def test_sighup_turns_it_on_and_refuses_what_is_wrong(tmp_path: Path) -> None:
    """A rule that is wrong changes nothing: the rules from before hold."""
    config = tmp_path / "config.toml"
    config.write_text("")

    def ran(recorded: Recorded) -> Row:
        with subprocess.Popen(["true", f"--password={SHORT}"]) as process:
            pass
        await_true(lambda: found(recorded.db, "--pid", str(process.pid)))
        return found(recorded.db, "--pid", str(process.pid))[0]

    with recording(tmp_path / "written", NO_FAILED, config=config) as recorded:
        before = ran(recorded)
        config.write_text(_RULES)
        os.kill(recorded.pid, signal.SIGHUP)
        await_said(recorded, "reloaded")
        since = ran(recorded)
        config.write_text('[redact]\npresets = "none such"\n')
        os.kill(recorded.pid, signal.SIGHUP)
        await_said(recorded, "configuration_refused")
        still = ran(recorded)

    assert f"--password={SHORT}" == before["argv"][1]
    assert since["argv"] == still["argv"]
    assert since["argv"][1].startswith("--password=REDACTED:")


def test_wrong_rules_are_refused_before_anything_is_recorded(tmp_path: Path) -> None:
    """One line, which names the file and what is wrong."""
    config = tmp_path / "config.toml"
    config.write_text('[[redact.rules]]\nregex = "(unfinished"\n')
    done = execaudit("--config", config, "--db", tmp_path / "x.db", "record", "--", "true")

    assert 2 == done.status
    assert done.failed_in_one_line()
    assert done.err.startswith(b"execaudit: %s: [redact]: " % bytes(config))
    assert not (tmp_path / "x.db.redaction-key").exists()


# Twenty programs, each with 80 000 arguments that look like passwords.
_FLOOD = """
import os
words = ["mysql", *(f"-pGx{number}kW" for number in range(80_000))]
for _ in range(20):
    child = os.fork()
    if not child:
        os.execv("/bin/true", words)
    assert os.waitpid(child, 0)[1] == 0
"""


def test_a_flood_of_secrets_costs_nobody_else_an_exec(tmp_path: Path) -> None:
    """To look for secrets takes time. What is lost for it is the user's own, and counted as that."""
    config = tmp_path / "config.toml"
    config.write_text(_RULES)
    word = f"honest-{os.getpid()}"
    honest = []
    with (
        recording(tmp_path / "written", config=config) as recorded,
        subprocess.Popen([sys.executable, "-c", _FLOOD], user=NOBODY, cwd="/") as flood,
    ):
        while flood.poll() is None:
            with subprocess.Popen(["/bin/true", word]) as process:
                honest.append(process.pid)
    assert 0 == flood.returncode
    kept = found(recorded.db, "--args", "mysql -pREDACTED:", "--user", str(NOBODY))
    lost = recorded.gaps()

    assert honest == [row["pid"] for row in found(recorded.db, "--args", word)]
    assert {NOBODY} >= {gap["uid"] for gap in lost}
    assert 20 == len(kept) + sum(gap["count"] for gap in lost)
    written = b"".join(path.read_bytes() for path in (recorded.db, recorded.json_log))
    assert re.search(rb"Gx\d+kW", written) is None
