"""A ring that nobody reads: what one user sends costs that user's records, and no one else's."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from execaudit.capture.probe import Probe
from execaudit.capture.probe_options import ProbeKind, ProbeOptions
from execaudit.capture.wire import ArgvPiece, Facts, decode, decode_exit, decode_launch, is_exit
from tests.live.recording import PROBE, paused, recording
from tests.nobody import NOBODY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_OTHERS, _FOURTH = (NOBODY - 1, NOBODY - 2), NOBODY - 3
_RING_BYTES = 32 << 20
_NOISE = [b"noise", *[b"A" * 4000] * 4]
# Twice what fits.
_REFUSALS = 2 * _RING_BYTES // 16_000
_HONEST = 40
_CLONE_NEWUSER, _PR_SET_DUMPABLE = 0x10000000, 4
_LIBC = ctypes.CDLL(None, use_errno=True)


class Sent(NamedTuple):
    """What was in the ring."""

    execs: list[tuple[ArgvPiece, Facts]]
    """First records."""
    pieces: dict[tuple[int, int], list[ArgvPiece]]
    """By exec, in their order."""
    ends: set[tuple[int, int]]
    """The execs that ended."""

    def of(self, *words: bytes) -> list[tuple[ArgvPiece, Facts]]:
        """Returns the successful execs with this command line."""
        line = b"".join(word + b"\0" for word in words)
        return [(piece, facts) for piece, facts in self.execs if not piece.failed and piece.argv == line]

    def refused(self, account: int) -> int:
        """Returns how many failed execs of an account there are."""
        return sum(piece.failed and facts.account == account for piece, facts in self.execs)


class Unread:
    """A probe whose ring nobody reads until a test does, and what was lost in that test."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        while probe.read():
            pass
        self._losses, self._accounts = probe.losses(), probe.losses_by_account()

    def lost_execs(self) -> int:
        """Returns how many execs were lost in all."""
        return self.probe.losses().execs - self._losses.execs

    def lost_by(self) -> dict[int, int]:
        """Returns how many execs each account lost."""
        counts = self.probe.losses_by_account()
        lost = {uid: execs - self._accounts.get(uid, (0, 0))[0] for uid, (execs, _) in counts.items()}
        return {uid: execs for uid, execs in lost.items() if execs}


@pytest.fixture(scope="module")
def probe() -> Iterator[Probe]:
    """One for all, since loading takes longest."""
    kind = ProbeKind(PROBE) if PROBE else ProbeKind.AUTO
    with Probe(ProbeOptions(kind=kind, ring_bytes=_RING_BYTES)) as loaded:
        yield loaded


@pytest.fixture
def ring(probe: Probe) -> Unread:
    """Its ring, empty."""
    return Unread(probe)


def _read(ring: Unread) -> Sent:
    sent = Sent([], {}, set())
    while records := ring.probe.read():
        for record in records:
            if is_exit(record):
                end = decode_exit(record)
                sent.ends.add((end.image_ns, end.image_pid))
                continue
            piece, facts = decode(record)
            if facts is not None:
                sent.execs.append((piece, facts))
            sent.pieces.setdefault((piece.boot_ns, piece.tid), []).append(piece)
    return sent


def _as(uid: int, act: Callable[[], None]) -> None:
    """Does it in a process of that user, which must end well."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            act()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def _refuse(times: int = _REFUSALS) -> None:
    for _ in range(times):
        with contextlib.suppress(FileNotFoundError):
            os.execv("/nonexistent", _NOISE)  # nothing is started


def _start(*words: bytes, times: int = 1) -> None:
    for _ in range(times):
        pid = os.posix_spawn("/bin/true", words, {})
        assert os.waitpid(pid, 0)[1] == 0


def _all_there(sent: Sent, word: bytes) -> bool:
    execs = sent.of(b"true", word)
    return len(execs) == _HONEST and all((piece.boot_ns, piece.pid) in sent.ends for piece, _ in execs)


def test_failures_of_one_user_cost_others_and_his_own_successes_nothing(ring: Unread) -> None:
    """Of several rings full of failed execs some are there, the others counted, as his."""
    _as(NOBODY, _refuse)
    _start(b"true", b"honest", times=_HONEST)
    _as(NOBODY, lambda: _start(b"true", b"own", times=_HONEST))
    _as(_OTHERS[0], lambda: _start(b"true", b"other", times=_HONEST))
    sent = _read(ring)

    assert all(_all_there(sent, word) for word in (b"honest", b"own", b"other"))
    assert sent.refused(NOBODY) > 0
    lost = ring.lost_by()
    assert lost[NOBODY] == _REFUSALS - sent.refused(NOBODY)
    assert sum(lost.values()) == ring.lost_execs()
    assert _OTHERS[0] not in lost


def test_three_users_together_leave_room_for_a_fourth(ring: Unread) -> None:
    """Whether they fail or start, and with how much: root's execs and another user's are there."""
    for uid in (NOBODY, *_OTHERS):
        _as(uid, _refuse)
        _as(uid, lambda: _start(b"true", *[b"B" * 100_000] * 20, times=10))
        _as(uid, lambda: _start(b"true", b"C" * 8000, times=800))
    _start(b"true", b"honest", times=_HONEST)
    _as(_FOURTH, lambda: _start(b"true", b"other", times=_HONEST))
    sent = _read(ring)

    assert [word for word in (b"honest", b"other") if not _all_there(sent, word)] == []
    assert {uid for uid in ring.lost_by() if uid} == {NOBODY, *_OTHERS}


def test_the_end_of_what_a_lost_exec_replaced_is_lost_too(ring: Unread) -> None:
    """Nothing else says that the program has ended. An exec in a child of its own replaces nothing."""
    times, long = 20, b"D" * 8000

    def losses() -> tuple[int, int]:
        ring.probe.losses()
        return ring.probe.losses_by_account().get(NOBODY, (0, 0))

    def replace() -> None:
        for _ in range(times):
            pid = os.posix_spawn("/bin/sh", [b"sh", b"-c", b'exec /bin/true "$0"', long], {})
            assert os.waitpid(pid, 0)[1] == 0

    _as(NOBODY, lambda: _start(b"true", long, times=_RING_BYTES // len(long)))
    before = losses()
    _as(NOBODY, replace)
    after = losses()
    _read(ring)

    assert before[0] > 0
    assert (2 * times, times) == (after[0] - before[0], after[1] - before[1])


def test_room_is_there_again_when_the_ring_was_read(ring: Unread) -> None:
    """A share is of what waits, not of what was ever sent: all that goes round the ring is there."""
    seen = 0
    for _ in range(2 * _REFUSALS // 500):
        _as(NOBODY, lambda: _refuse(500))
        seen += _read(ring).refused(NOBODY)

    assert seen == 2 * _REFUSALS // 500 * 500
    assert NOBODY not in ring.lost_by()


def test_room_is_there_again_when_a_part_was_read(ring: Unread) -> None:
    """Who filled his share, and sends on while the ring is read bit by bit, has some of what that gives."""
    _as(NOBODY, _refuse)
    before = ring.lost_by()[NOBODY]
    parts, each = 100, 10
    for _ in range(parts):
        assert ring.probe.read()
        _as(NOBODY, lambda: _refuse(each))

    assert ring.lost_by()[NOBODY] - before < parts * each / 2


@pytest.mark.parametrize("nested", [1, 3])
def test_who_makes_user_namespaces_is_one_user(ring: Unread, nested: int) -> None:
    """Whatever he is called in there, and however deep it is: it is charged to him."""

    def be_root_inside() -> None:
        _LIBC.prctl(_PR_SET_DUMPABLE, 1)  # else the files in /proc are root's
        outside = NOBODY
        for _ in range(nested):
            assert _LIBC.unshare(_CLONE_NEWUSER) == 0
            Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
            for ids in ("uid_map", "gid_map"):
                Path(f"/proc/self/{ids}").write_text(f"0 {outside} 1", encoding="ascii")
            outside = 0
        _start(b"true", b"inside")
        _refuse(10)

    _as(NOBODY, be_root_inside)
    sent = _read(ring)

    assert [facts.account for _, facts in sent.of(b"true", b"inside")] == [NOBODY]
    assert sent.refused(NOBODY) == 10


def test_a_uid_that_a_user_was_given_is_his(ring: Unread) -> None:
    """Subordinate uids (newuidmap): the process has another uid, and its namespace's owner answers for it."""
    ready, go = os.pipe(), os.pipe()

    def be_another() -> None:
        assert _LIBC.unshare(_CLONE_NEWUSER) == 0
        os.write(ready[1], b"%d" % os.getpid())
        os.read(go[0], 1)
        os.setuid(5)
        _start(b"true", b"another")

    helper = os.fork()
    if helper == 0:
        with contextlib.suppress(BaseException):
            _as(NOBODY, be_another)
            os._exit(0)
        os._exit(1)
    Path(f"/proc/{int(os.read(ready[0], 20))}/uid_map").write_text("0 100000 10", encoding="ascii")
    os.write(go[1], b"x")
    assert os.waitpid(helper, 0)[1] == 0
    for end in (*ready, *go):
        os.close(end)

    ((_, facts),) = _read(ring).of(b"true", b"another")
    assert (decode_launch(facts.launch).uid, facts.account) == (100_005, NOBODY)


@pytest.mark.parametrize("uid", [0, NOBODY])
def test_the_largest_command_line_arrives_behind_the_noise_of_another(ring: Unread, uid: int) -> None:
    """6 MB of arguments, as many as the kernel takes, when somebody else has filled what he may fill."""
    largest = _largest()
    _as(_OTHERS[0], _refuse)
    _as(_OTHERS[0], lambda: _start(b"true", *[b"B" * 100_000] * 20, times=20))
    _as(uid, lambda: _start_largest(largest))
    sent = _read(ring)

    line = b"".join(word + b"\0" for word in largest)
    lines = [
        b"".join(piece.argv for piece in sorted(pieces, key=lambda piece: piece.seq))
        for pieces in sent.pieces.values()
        if pieces[0].total == len(line)
    ]
    assert lines == [line]
    assert {uid for uid in ring.lost_by() if uid} == {_OTHERS[0]}


def _start_largest(words: list[bytes]) -> None:
    resource.setrlimit(resource.RLIMIT_STACK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    _start(*words)


def _largest() -> list[bytes]:
    """The kernel takes 6 MB of arguments and environment, with a pointer for each (fs/exec.c)."""
    most, long = 6 << 20, b"x" * 100_000
    words = [b"true", *[long] * ((most - 8192) // (len(long) + 9))]
    rest = most - 8192 - sum(len(word) + 9 for word in words)
    return [*words, b"y" * rest]


def test_the_gap_says_whose_it_was(tmp_path: Path) -> None:
    """The recorder stands still while a user floods it: others' execs are stored, his are counted as his."""
    with recording(tmp_path, "--ring-size", str(_RING_BYTES)) as recorded, paused(recorded):
        _as(NOBODY, _refuse)
        _start(b"true", b"honest", times=_HONEST)
    rows = recorded.rows()
    refused = [row for row in rows if row["kind"] == "failed" and row["uid"] == NOBODY]
    honest = [row for row in rows if row["argv"] == ["true", "honest"]]
    lost = Counter[int | None]()
    for gap in recorded.gaps():
        lost[gap["uid"]] += gap["count"]

    assert [row["ended"] for row in honest] == ["exited"] * _HONEST
    assert lost[NOBODY] == _REFUSALS - len(refused) > 0
