"""Seals under a real systemd: heads in the journal and syslog, the key's file, time stamps."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.installing import CHECKOUT
from tests.seal.tsa import NAME
from tests.systemd.test_unit import await_stored, ran

if TYPE_CHECKING:
    from tests.systemd.machine import Machine

_DB = "/var/lib/execaudit/execaudit.db"
_KEY, _FILE = "/root/key", f"{_DB}.seal"
_UNIT = "execaudit-timestamp"
_STAMPS = "/var/lib/execaudit-timestamp/stamps.json"
_CA, _PORT, _SYSLOG = "/opt/tsa/ca.pem", 8318, "/run/syslog-said"
_HEAD = re.compile(r"[0-9a-f]{16}-\d+-[0-9a-f]{64}")
_TSA = f"""
import pathlib, threading
from tests.seal.tsa import Server, Tsa
with Server(Tsa(pathlib.Path("{_CA}").parent).reply).serving({_PORT}):
    threading.Event().wait()
"""
_LISTEN = f"""
import socket
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard, open("{_SYSLOG}", "ab", 0) as file:
    heard.bind("/run/systemd/journal/syslog")
    while True:
        file.write(heard.recv(65536) + b"\\n")
"""


def _run_beside(machine: Machine, name: str, program: str) -> None:
    machine.must(
        "systemd-run", "--quiet", f"--unit={name}", f"--working-directory={CHECKOUT}",
        f"{CHECKOUT}/.venv/bin/python", "-c", program,
    )  # fmt: skip


@pytest.fixture(scope="module")
def sealed(own_machine: Machine) -> Machine:
    """A machine whose service seals with a key, and says a head each second; with syslog and an authority."""
    _run_beside(own_machine, "test-syslog", _LISTEN)
    own_machine.await_(lambda: own_machine.run("test", "-e", _SYSLOG).returncode == 0)
    own_machine.must(
        "sh", "-c", "printf '[Journal]\\nForwardToSyslog=yes\\n' >/etc/systemd/journald.conf.d/syslog.conf"
    )
    own_machine.must("systemctl", "restart", "systemd-journald")
    _run_beside(own_machine, "test-tsa", _TSA)
    for name, value in {
        "say_every": "1s", "timestamp": f"http://127.0.0.1:{_PORT}/", "timestamp_authority": _CA,
    }.items():  # fmt: skip
        own_machine.must("sed", "-i", f's|^#{name} = .*|{name} = "{value}"|', "/etc/execaudit/config.toml")
    own_machine.must("sh", "-c", f"umask 077; execaudit seal setup >{_KEY}")
    own_machine.must("systemctl", "start", "execaudit")
    return own_machine


def said(machine: Machine, event: str, *filters: str) -> list[dict[str, Any]]:
    """Returns what the recorder has logged of an event, as the journal has it."""
    return [
        line
        for line in (json.loads(text) for text in machine.journal(*filters) if text.startswith("{"))
        if line["event"] == event
    ]


def verify(machine: Machine, *options: str) -> dict[str, Any]:
    """Returns what `verify` says with the key."""
    done = machine.run("execaudit", "verify", "--format=json", f"--key=@{_KEY}", *options)
    assert done.returncode in {0, 4}, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_journal_and_syslog_have_heads(sealed: Machine) -> None:
    """Each second here, each minute as installed. Each head that left the host is in the history."""
    before = len(said(sealed, "sealed"))

    def has_two_more() -> bool:
        ran(sealed)
        return len(said(sealed, "sealed")) >= before + 2

    sealed.await_(has_two_more)
    first, second = said(sealed, "sealed")[-2:]
    lines = sealed.must("cat", _SYSLOG).splitlines()
    found = verify(sealed, f"--head={first['head']}", f"--head={second['head']}")

    for line in (first, second):
        assert _HEAD.fullmatch(line["head"])
        assert line["keyed"] is True
        assert line["until"].endswith("Z")
        # 30 is a daemon's, and information.
        assert any(text.startswith("<30>") and f'"head": "{line["head"]}"' in text for text in lines)
    assert first["epoch"] < second["epoch"]
    assert [] == sealed.journal("--priority=warning")
    assert (found["verified"], found["authentic"], found["problems"]) == (True, True, [])


def test_the_key_is_the_services_alone(sealed: Machine) -> None:
    """0600, in a folder that others cannot enter; it is another one after each seal."""
    modes = sealed.must("stat", "--format=%a %U:%G", _FILE, "/var/lib/execaudit").split("\n")
    history = sealed.must("stat", "--format=%a %U:%G", _DB).strip()
    before = sealed.must("sha256sum", _FILE)
    word = ran(sealed)
    await_stored(sealed, word)

    assert history == "640 execaudit:execaudit"
    assert modes[:2] == ["600 execaudit:execaudit", "750 execaudit:execaudit"]
    assert sealed.must("sha256sum", _FILE) != before
    assert sealed.must("stat", "--format=%a %U:%G", _FILE).strip() == modes[0]
    for user in ("member", "stranger", "execaudit-forward", _UNIT):
        assert sealed.run("cat", _FILE, user=user).returncode != 0


def test_doctor_says_that_it_is_sealed(sealed: Machine) -> None:
    """With a key, and until when."""
    found = json.loads(sealed.run("execaudit", "doctor", "--format=json").stdout)
    (seal,) = [check for check in found["checks"] if check["name"] == "seal"]

    assert seal["ok"] is True
    assert re.fullmatch("sealed until .* with a key", seal["detail"])


def test_a_start_says_what_the_last_seals_are(sealed: Machine) -> None:
    """Before it goes on: here, that all is as it was sealed."""
    sealed.must("systemctl", "restart", "execaudit")
    line = said(sealed, "recording")[-1]

    assert line["sealed"] == "verified"
    assert line["sealed_until"].endswith("Z")


def test_time_stamps_come_from_beside_the_recorder(sealed: Machine) -> None:
    """One at once, one when the service is stopped. The recorder stores them; it has no network."""
    sealed.await_(lambda: sealed.run("bash", "-c", f"</dev/tcp/127.0.0.1/{_PORT}").returncode == 0)
    sealed.must("systemctl", "start", _UNIT)
    try:
        sealed.await_(lambda: sealed.run("test", "-s", _STAMPS).returncode == 0)
    except AssertionError as exc:
        raise AssertionError(sealed.must("journalctl", f"--unit={_UNIT}", "--output=cat")) from exc
    pid = sealed.must("systemctl", "show", "--property=MainPID", "--value", _UNIT).strip()
    uid = sealed.must("id", "-u", _UNIT).strip()
    lines = sealed.must("cat", f"/proc/{pid}/status").splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    inside = ("nsenter", f"--target={pid}", "--mount", "setpriv", f"--reuid={uid}", "--clear-groups")
    refused = [sealed.run(*inside, "sh", "-c", f": >{place}") for place in ("/etc/x", "/var/lib/execaudit/x")]
    await_stored(sealed, ran(sealed))
    sealed.must("systemctl", "stop", _UNIT)
    result = sealed.must("systemctl", "show", "--property=Result", "--value", _UNIT).strip()

    def has_both() -> bool:
        # Something must be recorded, or the recorder does not look.
        ran(sealed)
        return len(verify(sealed)["timestamps"]) == 2

    sealed.await_(has_both)
    found = verify(sealed, f"--tsa={_CA}")

    assert [uid] * 4 == status["Uid"].split()
    assert {"0" * 16} == {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    assert all(each.returncode for each in refused)
    assert result == "success"
    assert "yes" == sealed.property("PrivateNetwork")
    assert [(each["authority"], each["verified"]) for each in found["timestamps"]] == [(NAME, True)] * 2
    assert (found["verified"], found["problems"]) == (True, [])
    assert said(sealed, "timestamped")
    assert said(sealed, "timestamps_not_taken") == []


def _blocks(language: str) -> list[str]:
    """Returns the blocks in the section about the key at rest."""
    page = (CHECKOUT / "docs/security.md").read_text(encoding="utf-8")
    section = page.split("### The key at rest\n")[1].split("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def test_the_volume_of_the_page_has_its_key_from_a_credential(sealed: Machine) -> None:
    """As documented, on a file in the place of a disk. No device mapper is here, so nothing is opened."""
    volume, device = "/root/volume", "/dev/disk/by-partlabel/execaudit"
    made, mounted = _blocks("sh")
    (unit,) = _blocks("ini")
    assert unit.count(device) == made.count(device) == 1
    sealed.must("truncate", "--size=20M", volume)
    sealed.must("sh", "-euc", made.replace(device, volume))
    tried = unit.replace("cryptsetup open", "cryptsetup open --test-passphrase").replace(device, volume)
    path = "/etc/systemd/system/execaudit-volume.service"
    sealed.must("sh", "-c", f'printf "%s" "$1" >{path}', "sh", tried.replace("cryptsetup close", "true"))
    sealed.must("sh", "-euc", "\n".join(mounted.splitlines()[:2]))

    assert sealed.run("systemctl", "is-active", "execaudit-volume").stdout.strip() == "active"
    sealed.must("systemctl", "stop", "execaudit-volume")
    # The credential is encrypted, and another one does not open the volume.
    assert sealed.must("cryptsetup", "luksDump", volume).startswith("LUKS header")
    sealed.must(
        "sh", "-c", "echo x | systemd-creds encrypt --name=execaudit-volume - /etc/execaudit/volume.cred"
    )
    assert sealed.run("systemctl", "start", "execaudit-volume").returncode != 0
    sealed.must("rm", path, volume)
    sealed.must("systemctl", "daemon-reload")
    # For the folder that may be a mount, systemd waits by itself.
    assert "/var/lib/execaudit" in sealed.property("RequiresMountsFor").split()


def test_a_start_says_that_the_last_seals_are_broken(sealed: Machine) -> None:
    """And records. The last test: the history stays so."""
    sealed.must("systemctl", "stop", "execaudit")
    edit = (
        f"import sqlite3; c = sqlite3.connect('{_DB}'); c.execute('UPDATE exec SET pid = pid + 1 WHERE id ="
    )
    sealed.must("python3", "-c", f"{edit} (SELECT max(id) FROM exec)'); c.commit()")
    sealed.must("systemctl", "start", "execaudit")
    line = said(sealed, "recording")[-1]
    broken = said(sealed, "seal_broken")
    await_stored(sealed, ran(sealed))

    assert line["sealed"] == "broken"
    assert [(each["kind"], each["table"]) for each in broken] == [("changed", "exec")]
    assert verify(sealed)["verified"] is False
