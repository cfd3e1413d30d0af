"""The service, started, used, hurt and stopped as an administrator, and fate, would."""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING, Any

from tests.installing import CHECKOUT

if TYPE_CHECKING:
    from tests.systemd.machine import Machine

_DB = "/var/lib/execaudit/execaudit.db"
_LOG = "/var/log/execaudit/execaudit.jsonl"


def ran(machine: Machine) -> str:
    """Has a program run, and returns the word by which it is known."""
    word = f"marker-{uuid.uuid4().hex}"
    machine.must("/bin/true", word)
    return word


def found(machine: Machine, word: str) -> list[dict[str, Any]]:
    """Returns the programs of that word, from the history."""
    out = machine.must("execaudit", "query", "--exe", "*/true", "--args", word, "--format", "jsonl")
    return [row for row in map(json.loads, out.splitlines()) if row["kind"] != "gap"]


def await_stored(machine: Machine, word: str) -> None:
    """Returns when the program is in the history, and in the log."""
    machine.await_(lambda: bool(found(machine, word)))
    machine.await_(lambda: machine.run("grep", "-q", word, _LOG).returncode == 0)


def without_losses(said: str) -> list[str]:
    """Returns the lines of standard error but those about execs that a busy machine cost the recorder."""
    reasons = ("(ring_full)", "(recursion)")
    return [line for line in said.splitlines() if not line.endswith(reasons)]


def main_status(machine: Machine) -> dict[str, str]:
    """Returns what /proc says of the recorder."""
    pid = machine.property("MainPID")
    lines = machine.must("cat", f"/proc/{pid}/status").splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def test_started_is_recording(installed: Machine) -> None:
    """What runs when `systemctl start` has returned is in the history."""
    assert "inactive" == installed.property("ActiveState")
    installed.must("systemctl", "start", "execaudit")
    word = ran(installed)

    assert "active" == installed.property("ActiveState")
    await_stored(installed, word)


def test_folders_and_files_are_the_services(machine: Machine) -> None:
    """Of user and group execaudit; the group reads, others do not, the metrics' folder is for all."""
    folders = {"/var/lib/execaudit": "750", "/var/log/execaudit": "750", "/run/execaudit": "755"}
    files = machine.must("sh", "-c", f"ls {_DB}* {_LOG}*").split()
    modes = machine.must("stat", "--format=%n %a %U:%G", *folders, *files).splitlines()

    assert {_DB, f"{_DB}-wal", f"{_DB}-shm", f"{_DB}.lock", f"{_DB}.ballast", _LOG} == set(files)
    assert {
        *(f"{folder} {mode} execaudit:execaudit" for folder, mode in folders.items()),
        # The ballast has nothing in it to read.
        *(
            f"{file} {600 if file.endswith(('.ballast', '.lock')) else 640} execaudit:execaudit"
            for file in files
        ),
    } == set(modes)


def test_the_recorder_may_do_nothing(machine: Machine) -> None:
    """It is the user execaudit, with no capability, and its system calls are filtered."""
    status = main_status(machine)
    uid = machine.must("id", "-u", "execaudit").strip()

    assert [uid] * 4 == status["Uid"].split()
    assert {"0" * 16} == {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}
    assert "1" == status["NoNewPrivs"]
    assert "2" == status["Seccomp"]


def test_a_member_reads_and_a_stranger_does_not(machine: Machine) -> None:
    """While it records, and afterwards; who may not is told so in one line."""
    word = ran(machine)
    await_stored(machine, word)
    query = ("execaudit", "query", "--exe", "*/true", "--args", word)
    during = machine.run(*query, user="member")
    refused = machine.run(*query, user="stranger")
    machine.must("systemctl", "stop", "execaudit")
    after = machine.run(*query, user="member")
    still_refused = machine.run(*query, user="stranger")

    assert (0, 1, []) == (during.returncode, during.stdout.count("\n"), without_losses(during.stderr))
    assert (0, 2) == (after.returncode, after.stdout.count("\n"))
    (silence,) = without_losses(after.stderr)
    assert "nobody has recorded since" in silence
    for done in (refused, still_refused):
        assert (1, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n"))
        assert f"you may not look at {_DB}" in done.stderr


def test_reload_opens_the_log_anew(machine: Machine) -> None:
    """As logrotate has it do; what runs then is in the new file."""
    machine.must("mv", _LOG, f"{_LOG}.1")
    machine.must("systemctl", "reload", "execaudit")
    word = ran(machine)
    await_stored(machine, word)

    assert "640 execaudit:execaudit" == machine.must("stat", "--format=%a %U:%G", _LOG).strip()
    assert any('"event": "reloaded"' in line for line in machine.journal())


def test_a_stop_drains(machine: Machine) -> None:
    """What ran the moment before is in the history; it is an orderly end, which leaves nothing behind."""
    word = ran(machine)
    machine.must("systemctl", "stop", "execaudit")

    assert 1 == len(found(machine, word))
    assert ("success", "inactive") == (machine.property("Result"), machine.property("ActiveState"))
    assert [_DB, f"{_DB}.lock"] == machine.must("sh", "-c", f"ls {_DB}*").split()


def test_the_journal_is_clean(machine: Machine) -> None:
    """A start, a reload and a stop leave no warning, of the recorder or of systemd."""
    invocation = machine.property("InvocationID")
    machine.must("systemctl", "reload", "execaudit")
    machine.must("systemctl", "stop", "execaudit")
    of_it = f"_SYSTEMD_INVOCATION_ID={invocation}"
    said = [json.loads(line) for line in machine.journal(of_it)]
    # It is in a pid namespace, and was stopped before; limits are said when it first stores,
    # and the newest seal each minute.
    expected = {"no_snapshot", "execs_missed", "limits", "sealed"}

    assert ["recording", "reloaded", "stopped"] == [
        line["event"] for line in said if line["event"] not in expected
    ]
    # The last two are of a busy machine.
    reasons = {line["reason"] for line in said if line["event"] == "execs_missed"}
    assert {"recorder_stopped", "ring_full", "recursion"} >= reasons
    assert [] == machine.journal("--priority=warning")


def test_killed_it_comes_back_and_says_what_is_missing(machine: Machine) -> None:
    """With the gap in the history that the death left."""
    before = machine.property("NRestarts")
    machine.must("systemctl", "kill", "--signal=KILL", "--kill-who=main", "execaudit")
    machine.await_(lambda: machine.property("NRestarts") != before)
    machine.await_(lambda: machine.property("ActiveState") == "active")
    word = ran(machine)
    await_stored(machine, word)

    said = machine.run("execaudit", "query", "--since", "1h", "--limit", "1").stderr
    assert re.search("^gap: nobody recorded .* between ", said, re.MULTILINE)


def test_hung_it_is_started_anew(machine: Machine) -> None:
    """The watchdog sees that the loop goes on no more. It waits less here than in the unit."""
    assert "30s" == machine.property("WatchdogUSec")
    drop_in = "/run/systemd/system/execaudit.service.d/watchdog.conf"
    machine.must("sh", "-c", "mkdir -p ${0%/*} && printf '[Service]\\nWatchdogSec=4\\n' >$0", drop_in)
    machine.must("systemctl", "daemon-reload")
    machine.must("systemctl", "restart", "execaudit")
    before = machine.property("NRestarts")
    machine.must("systemctl", "kill", "--signal=STOP", "--kill-who=main", "execaudit")
    machine.await_(lambda: machine.property("NRestarts") != before)
    machine.must("rm", drop_in)
    machine.must("systemctl", "daemon-reload")
    machine.await_(lambda: machine.property("ActiveState") == "active")
    word = ran(machine)
    await_stored(machine, word)

    assert any("Watchdog timeout" in line for line in machine.journal())


def test_it_redacts_where_it_may_do_nothing(machine: Machine) -> None:
    """Rules are read and the key is made in the service's sandbox: after a reload, and at the next start."""

    def shown() -> str:
        word = f"marker-{uuid.uuid4().hex}"
        machine.must("/bin/true", word, "--password=Gx7-kW2qP")
        await_stored(machine, word)
        (row,) = found(machine, word)
        return str(row["argv"][2])

    key = f"{_DB}.redaction-key"
    machine.must("sed", "-i", 's/^#presets = .*/presets = "all"/', "/etc/execaudit/config.toml")
    machine.must("systemctl", "reload", "execaudit")
    machine.await_(lambda: machine.run("test", "-s", key).returncode == 0)
    reloaded = shown()
    machine.must("systemctl", "restart", "execaudit")
    restarted = shown()
    machine.must("sed", "-i", "s/^presets = .*/#&/", "/etc/execaudit/config.toml")

    assert reloaded.startswith("--password=REDACTED:")
    assert reloaded == restarted
    assert "600 execaudit:execaudit" == machine.must("stat", "--format=%a %U:%G", key).strip()


def test_uninstalled_it_records_no_more(machine: Machine) -> None:
    """The service is ended in order and unknown, the program gone; the history stays. The last test."""
    word = ran(machine)
    machine.must("systemctl", "enable", "execaudit")
    made = machine.must("sh", "-c", f"cp -r /usr/local/lib/execaudit /root/kept && ls {_DB}")
    said = machine.run("make", f"--directory={CHECKOUT}", "uninstall")
    query = f"import sys; sys.path.insert(0, '/root/kept'); sys.argv[1:] = ['query', '--args', '{word}']"
    kept = machine.must("python3", "-Ic", f"{query}; from execaudit.cli import main; main()")

    assert 0 == said.returncode
    assert "what was recorded stays in /var/lib/execaudit, and the user execaudit with it" in said.stderr
    assert "not-found" == machine.property("LoadState")
    assert 0 != machine.run("execaudit", "--version").returncode
    assert f"{_DB}\n" == made
    assert word in kept
