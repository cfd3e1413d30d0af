"""Time stamps of heads: an authority says when they existed, and no answer of its server does harm."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from execaudit.seal import stamp_check
from execaudit.store.writer import Store
from tests.commands import PATIENCE, Finished, execaudit
from tests.histories import begin_run
from tests.seal.histories import KEY, change, changing, go_on, make_key, sealed_history
from tests.seal.stamped import status, verify
from tests.seal.tsa import NAME, Server, Tsa, configured

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A history."""
    return sealed_history(tmp_path / "h.db", 3)


def stamped(path: Path, config: Path) -> Finished:
    """Has the head of a history stamped."""
    return execaudit("--config", config, "--db", path, "seal", "timestamp")


def kinds(found: dict[str, Any]) -> list[tuple[str, str, int | None]]:
    """Returns the problems of a verification."""
    return [(each["kind"], each["table"], each["first"]) for each in found["problems"]]


def test_a_stamp_is_stored_and_verified(path: Path, tmp_path: Path, server: Server, tsa: Tsa) -> None:
    """It says when the head existed; without the certificate that is not claimed."""
    head = status(path)["head"]
    before_ns = time.time_ns()
    done = stamped(path, configured(tmp_path, server, tsa))
    code, found = verify(path, "--tsa", tsa.authority)
    unchecked = verify(path)
    said = execaudit("--db", path, "verify", "--tsa", tsa.authority).out.decode()

    assert (done.status, done.err) == (0, b"")
    assert done.out.decode().startswith(f"{head} existed at ")
    assert done.out.decode().endswith(f", says {NAME}\n")
    (stamp,) = found["timestamps"]
    assert (code, stamp["head"], stamp["authority"], stamp["verified"]) == (0, head, NAME, True)
    assert abs(_ns(path) - before_ns) < PATIENCE * 1e9
    assert re.search(rf"^time stamp: {head} existed at .*, says {NAME}$", said, re.MULTILINE)
    assert (unchecked[0], unchecked[1]["timestamps"][0]["verified"]) == (0, None)
    assert status(path)["timestamp"] == {key: stamp[key] for key in ("head", "at", "authority")}


def _ns(path: Path) -> int:
    with changing(path) as connection:
        return int(connection.execute("SELECT at_ns FROM seal_timestamp").fetchone()[0])


def test_a_recorder_goes_on_beside_it(tmp_path: Path, server: Server, tsa: Tsa) -> None:
    """The stamp is stored between two of its transactions, and is no new seal; not twice for one head."""
    path, config = tmp_path / "h.db", configured(tmp_path, server, tsa)
    make_key(path)
    with Store(path) as store:
        begin_run(store)
        go_on(store, 2)
        before = store.sealer.newest()
        first = stamped(path, config)
        again = stamped(path, config)
        assert status(path)["head"] == str(before.head if before else None)
        go_on(store, 2, after=2)
    code, found = verify(path, "--tsa", tsa.authority)

    assert (first.status, again.status) == (0, 0), first.err
    assert b"which has a stamp already" in again.out
    assert (code, found["execs"], [each["verified"] for each in found["timestamps"]]) == (0, 12, [True])


def test_openssl_agrees(path: Path, tmp_path: Path, server: Server, tsa: Tsa) -> None:
    """As docs/seals.md says: who does not trust execaudit needs only openssl and the head."""
    stamped(path, configured(tmp_path, server, tsa))
    with changing(path) as connection:
        head, reply = connection.execute("SELECT head, reply FROM seal_timestamp").fetchone()
    (tmp_path / "head").write_text(head)
    (tmp_path / "reply.tsr").write_bytes(reply)
    done = subprocess.run(
        ["openssl", "ts", "-verify", "-data", "head", "-in", "reply.tsr", "-CAfile", tsa.authority],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (0, "Verification: OK\n")


def test_what_is_configured_is_trusted_on_the_host(
    path: Path, tmp_path: Path, server: Server, tsa: Tsa
) -> None:
    """`verify` takes the certificate of [seal]. If it cannot be read, it warns; of --tsa, it fails."""
    config = configured(tmp_path, server, tsa)
    stamped(path, config)
    done = execaudit("--config", config, "--db", path, "verify", "--format=json")
    missing = configured(tmp_path, server, tsa, timestamp_authority="/nowhere.pem")
    warned = execaudit("--config", missing, "--db", path, "verify", "--format=json")
    refused = execaudit("--db", path, "verify", "--tsa", "/nowhere.pem")

    assert json.loads(done.out)["timestamps"][0]["verified"] is True
    assert (warned.status, json.loads(warned.out)["timestamps"][0]["verified"]) == (0, None)
    assert b"warning: time stamps are not checked: cannot read the certificates /nowhere.pem" in warned.err
    assert refused.status == 2
    assert refused.failed_in_one_line()


def test_a_rewritten_history_does_not_fit_its_stamps(tmp_path: Path, server: Server, tsa: Tsa) -> None:
    """Root, with the key of the beginning, makes another history; a stamp of the true one tells."""
    true, false = (
        sealed_history(tmp_path / f"{name}.db", size, size=5) for name, size in (("a", 4), ("b", 6))
    )
    short = sealed_history(tmp_path / "c.db", 1)
    stamped(true, configured(tmp_path, server, tsa))
    with changing(true) as connection:
        row = connection.execute("SELECT head, at_ns, authority, reply FROM seal_timestamp").fetchone()
    for path in (false, short):
        with changing(path) as connection:
            connection.execute("INSERT INTO seal_timestamp VALUES (7, ?, ?, ?, ?)", row)
    key = tmp_path / "key"
    key.write_text(KEY.to_text())

    assert verify(true, f"--key=@{key}", "--tsa", tsa.authority)[0] == 0
    for path, kind in ((false, "forged"), (short, "cut")):
        code, found = verify(path, f"--key=@{key}", "--tsa", tsa.authority)
        assert (code, kinds(found)) == (4, [(kind, "seal_timestamp", 7)])
        assert found["timestamps"][0]["verified"] is None
        # Without the certificate, too: the head is not in the chain.
        assert kinds(verify(path)[1]) == [(kind, "seal_timestamp", 7)]
        assert kinds(verify(path, "--since=1h")[1]) == [(kind, "seal_timestamp", 7)]


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("head = 'x'", "changed"),
        ("at_ns = at_ns - 86400000000000", "changed"),
        ("authority = 'CN=Somebody'", "changed"),
        ("reply = x'00'", "forged"),
        ("reply = CAST(substr(reply, 1, 300) || x'deadbeef' || substr(reply, 305) AS BLOB)", "forged"),
        ("reply = zeroblob(40000)", "forged"),
    ],
)
def test_a_stamp_that_was_changed_is_told(  # noqa: PLR0913, PLR0917  # fixtures
    path: Path, tmp_path: Path, server: Server, tsa: Tsa, sql: str, kind: str
) -> None:
    """Each column is checked against what the authority signed."""
    stamped(path, configured(tmp_path, server, tsa))
    change(path, f"UPDATE seal_timestamp SET {sql}")
    code, found = verify(path, "--tsa", tsa.authority)

    assert (code, kinds(found)) == (4, [(kind, "seal_timestamp", 1)])


def test_another_authority_does_not_vouch(path: Path, tmp_path: Path, server: Server, tsa: Tsa) -> None:
    """Anybody can sign. What counts is whose certificate the verifier trusts."""
    stamped(path, configured(tmp_path, server, tsa))
    other = Tsa(tmp_path / "other")
    code, found = verify(path, "--tsa", other.authority)

    assert (code, kinds(found)) == (4, [("forged", "seal_timestamp", 1)])


def test_stamps_stay_in_what_is_kept(path: Path, tmp_path: Path, server: Server, tsa: Tsa) -> None:
    """A backup has them, and a pruning leaves them; of one whose seals are all gone nothing is claimed."""
    config = configured(tmp_path, server, tsa)
    stamped(path, config)
    with Store(path) as store:
        begin_run(store)
        go_on(store, 200, size=5, after=200)
    stamped(path, config)
    copy = tmp_path / "copy.db"
    assert execaudit("--db", path, "db", "backup", copy).status == 0
    whole = verify(copy, "--tsa", tsa.authority)
    pruned = execaudit("--db", path, "db", "prune", "--max-size", "200kB")
    code, found = verify(path, "--tsa", tsa.authority)

    assert [each["verified"] for each in whole[1]["timestamps"]] == [True, True]
    assert pruned.status == 0, pruned.err
    assert (code, kinds(found)) == (0, [])
    assert len(found["timestamps"]) == 2
    assert found["timestamps"][1]["verified"] is True


def _of_other_data(tsa: Tsa, query: bytes) -> bytes:
    """Returns an answer with the right nonce, for other data."""
    imprint = re.search(rb"\x04\x20(.{32})", query, re.DOTALL)
    assert imprint is not None
    return tsa.reply(query.replace(imprint[1], bytes(32)))


def hostile(tsa: Tsa, head: bytes) -> dict[str, Callable[[Server], None]]:
    """Returns what a server may do, each as a change of an honest one."""

    def answers(reply: Callable[[bytes], bytes]) -> Callable[[Server], None]:
        return lambda server: setattr(server, "answer", reply)

    def drips(write: Callable[[bytes], object], reply: bytes) -> None:
        for byte in reply:
            write(bytes([byte]))
            time.sleep(0.1)

    def never(_query: bytes) -> bytes:
        time.sleep(PATIENCE)
        return b""

    def floods(write: Callable[[bytes], object], _reply: bytes) -> None:
        for _ in range(100_000):
            write(bytes(10_000))

    return {
        "garbage": answers(lambda _query: b"\xff" * 100),
        "nothing": answers(lambda _query: b""),
        "cut": answers(lambda query: tsa.reply(query)[:-20]),
        "another nonce": answers(lambda _query: tsa.reply_to(head)),
        "no nonce": answers(lambda _query: tsa.reply_to(head, "-no_nonce")),
        "another head": answers(lambda query: _of_other_data(tsa, query)),
        "a refusal": answers(lambda _query: tsa.reply(b"\x30\x00")),
        "a long answer": answers(lambda query: tsa.reply(query) + bytes(40_000)),
        "an endless answer": lambda server: setattr(server, "send", floods),
        "a slow answer": lambda server: setattr(server, "send", drips),
        "no answer": answers(never),
        "another type": lambda server: setattr(server, "kind", "text/html"),
        "an error": lambda server: setattr(server, "status", 500),
        "a redirection": lambda server: setattr(server, "status", 307),
    }


@pytest.mark.parametrize(
    "what",
    [
        "garbage", "nothing", "cut", "another nonce", "no nonce", "another head", "a refusal", "a long answer",
        "an endless answer", "a slow answer", "no answer", "another type", "an error", "a redirection",
    ],
)  # fmt: skip
def test_a_hostile_server_gets_one_line(
    path: Path, tmp_path: Path, server: Server, tsa: Tsa, what: str
) -> None:
    """Within the time that is configured; nothing is stored."""
    hostile(tsa, status(path)["head"].encode())[what](server)
    begin = time.monotonic()
    done = stamped(path, configured(tmp_path, server, tsa, timestamp_timeout="2s"))

    assert done.status == 1
    assert done.failed_in_one_line(), done.err
    assert len(done.err) < 400
    # It is slow: a start takes most of it.
    assert time.monotonic() - begin < PATIENCE / 2
    assert status(path)["timestamp"] is None
    assert len(server.asked) == 1


def test_who_is_not_there_or_not_to_be_trusted_is_said(path: Path, tmp_path: Path, server: Server) -> None:
    """A server that is down, a certificate that is over, and one that leads to somebody else."""
    over, other = Tsa(tmp_path / "over", days=-1), Tsa(tmp_path / "other")
    server.answer = over.reply
    late = stamped(path, configured(tmp_path, server, over))
    foreign = stamped(path, configured(tmp_path, server, other))
    server.url = "http://127.0.0.1:1/"
    down = stamped(path, configured(tmp_path, server, over))
    server.url = "https://127.0.0.1:1/"
    secret = stamped(path, configured(tmp_path, server, over))

    for done in (late, foreign, down, secret):
        assert done.status == 1
        assert done.failed_in_one_line(), done.err
    assert b"not a valid time stamp" in late.err or b"no valid time stamp" in late.err
    assert b"Connection refused" in down.err
    assert status(path)["timestamp"] is None


def test_mistakes_in_the_settings_are_said(path: Path, tmp_path: Path, server: Server, tsa: Tsa) -> None:
    """In one line, without a password that stands in an address."""
    for url in ("ftp://x/", "http:///x", "http://me:hunter2@x/", "x", "http://x:99999/"):
        server.url = url
        done = stamped(path, configured(tmp_path, server, tsa))
        assert done.status == 2
        assert done.failed_in_one_line()
        assert b"hunter2" not in done.err
    alone = tmp_path / "alone.toml"
    alone.write_text("[seal]\ntimestamp = 'http://127.0.0.1/'\n")
    for config in (alone, os.devnull):
        done = execaudit("--config", config, "--db", path, "seal", "timestamp")
        assert done.status == 2
        assert done.failed_in_one_line()


def test_a_damaged_answer_is_no_stamp_and_no_fault(tsa: Tsa) -> None:
    """Any byte may be any other."""
    trusted = stamp_check.authorities(tsa.authority)
    head = "0" * 16 + "-1-" + "0" * 64
    query, nonce = stamp_check.request(head)
    reply = tsa.reply(query)
    right = stamp_check.checked(head, reply, trusted, nonce=nonce)
    refused = 0
    for number, byte in enumerate(reply):
        broken = reply[:number] + bytes([byte ^ 0x41]) + reply[number + 1 :]
        try:
            found = stamp_check.checked(head, broken, trusted, nonce=nonce)
        except stamp_check.StampError:
            refused += 1
        else:
            # What is not signed, such as the words of the status.
            assert (found.head, found.at_ns, found.authority) == right[:3]
    assert refused > len(reply) * 0.9


@pytest.mark.parametrize("is_swapped", [False, True])
def test_certificates_may_come_in_any_order(tmp_path: Path, *, is_swapped: bool) -> None:
    """As a chain, which many authorities send and DER forbids."""
    tsa = Tsa(tmp_path / "tsa", with_chain=True)
    trusted = stamp_check.authorities(tsa.authority)
    head = "0" * 16 + "-1-" + "0" * 64
    query, nonce = stamp_check.request(head)
    reply = tsa.reply(query)
    leaf, authority = (
        x509.load_pem_x509_certificate(each.read_bytes()).public_bytes(serialization.Encoding.DER)
        for each in (tsa.certificate, tsa.authority)
    )
    orders = [leaf + authority, authority + leaf]
    assert 1 == sum(reply.count(each) for each in orders)
    wanted = orders[is_swapped]
    for each in orders:
        reply = reply.replace(each, wanted)

    assert head == stamp_check.checked(head, reply, trusted, nonce=nonce).head
