"""Make a history of a month on a busy host, as realistic as is known: see `Making` for the mix.

The random numbers are seeded: the same number of execs gives the same history. The recorder's own writer
stores it, with the index. Its CPU time is measured, without the time to make the events.
"""

from __future__ import annotations

import json
import random
import time
from bisect import bisect
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from execaudit.database.revision import REVISION
from execaudit.enums import Gained, Kind
from execaudit.event import ExecEvent, ExitEvent, Nanoseconds
from execaudit.exec_id import ExecKey, boot_prefix, encode_id
from execaudit.fields import Launch, Origin
from execaudit.store.writer import Run, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Raise this after each change of the histories that are made.
_VERSION = 5
FOLDER = Path(__file__).parent.parent / ".cache" / "histories"

_SECOND = 1_000_000_000
_DAYS = 30
_START_NS = 1_792_000_000 * _SECOND
_BATCH = 500  # as the recorder's
_LINES, _EXES, _CWDS, _CGROUPS, _ORIGINS = 20_000, 1487, 5000, 300, 900
_FAMILY = 10_000
_USERS = (("root", 0), ("www-data", 33), ("postgres", 113), *((f"dev{n}", 1000 + n) for n in range(20)))
_STARTERS = (b"bash", b"sh", b"make", b"cron", b"sshd", b"systemd", b"python3", b"containerd-shim", b"node")
_KNOWN_EXES = (
    b"/usr/bin/bash", b"/usr/bin/dash", b"/usr/bin/git", b"/usr/bin/grep", b"/usr/bin/sed", b"/usr/bin/curl",
    b"/usr/bin/python3.11", b"/usr/bin/php8.2", b"/usr/bin/make", b"/usr/bin/ls",
)  # fmt: skip
_COMPILERS = (
    b"/usr/lib/gcc/x86_64-linux-gnu/12/cc1",
    b"/usr/bin/x86_64-linux-gnu-as",
    b"/usr/bin/x86_64-linux-gnu-gcc-12",
)
RARE = b"needle-7f3a9c1e"
"""A text that eleven command lines have, spread over the history."""
_RARE_TIMES = 11
# Bounds for a random number: below the first, the exec has a common line; above the last, it fails.
_COMMON, _OWN_FOLDER, _COMPILES, _FAILS = 0.8, 0.83, 0.95, 0.97
_OPENS = 0.03
_BURST = 0.9
_SHELLS = 40
# Shells in shells: a session, make, its jobs, their scripts.
_DEEPEST = 10
_LAST_PID = 2**22 - 1
# How far the clock was stepped, by the sixth of the time.
_STEPS_NS = {2: 3600 * _SECOND, 4: _SECOND // 2}
_BY_DAY, _LONG_NAMES = range(8, 18), range(2)
# One line of 100 KB in a hundred thousand execs, and one of 1.2 MB in half a million: 4 bytes for each exec.
_LONG_EVERY, _LONG_AT = 100_000, 5
_LONGEST_EVERY, _LONGEST_AT = 500_000, 400_005
_new = tuple.__new__


class Known(NamedTuple):
    """Facts of a history that queries need."""

    execs: int
    end_ns: int
    """Wall clock, right after the last exec."""
    pid: int
    """The pid of an exec of the last days."""
    exec_id: str
    """The id of that exec."""
    family_id: str
    """An exec that has 10 000 descendants, or a tenth of the history if that is less."""
    family: int


class Ingest(NamedTuple):
    """How long the writer took for a tenth of the execs."""

    execs: int
    """How many were stored by then."""
    cpu_us: float
    """CPU time for each exec of this tenth."""
    wall_s: float
    bytes: int
    """The size of the database by then."""


class _Boot:
    """The processes that run, from one boot to the next."""

    def __init__(self, boot_id: str, booted_ns: int) -> None:
        self.id, self.booted_ns = boot_id, booted_ns
        self.prefix = boot_prefix(boot_id) if boot_id else 0
        self._pid = 300
        self._daemons: list[ExecKey | None] = [None]
        self._shells: list[ExecKey | None] = [None] * _SHELLS
        self._depths = [0] * _SHELLS
        self._family: ExecKey | None = None
        self._sub: ExecKey | None = None

    def lineage(self, number: int, *, in_family: bool, opens: bool) -> tuple[int, ExecKey | None, bool]:
        """Returns the next exec's pid, its parent, and whether it replaces its parent."""
        self._pid = self._pid + 1 if self._pid < _LAST_PID else 300
        if in_family:
            return self._pid, self._sub if number % 5 else self._family, False
        # A daemon starts the next shell when shells are nested as deep as they get.
        ends = self._depths[number % _SHELLS] == 0
        if opens or (ends and (number % 10 == 0 or number % 33 == 0)):
            return self._pid, self._daemons[number % len(self._daemons)], False
        parent = self._shells[number % _SHELLS]
        if parent is not None and number % 10 == 0:
            return parent.task, parent, True
        return self._pid, parent, False

    def ran(self, number: int, key: ExecKey, *, replaced: bool, in_family: bool) -> None:
        """Makes some of the successful execs the parents of later ones."""
        if in_family:
            if self._family is None:
                self._family = self._sub = key
            elif number % 5 == 0:
                self._sub = key
        elif replaced or number % 33 == 0:
            self._shells[number % _SHELLS] = key
            self._depths[number % _SHELLS] = (self._depths[number % _SHELLS] + 1) % _DEEPEST
            if number % 3333 == 0:
                self._daemons.append(key)


class Making:
    """Makes the events of a history, in the order of recording, in batches of the recorder's size.

    80 % of the execs have one of 20 000 command lines, by Zipf's law (1.1); each line has a user, one or two
    directories, and one or two origins. 20 % are unique: compilers with temporary names, run ids, and a few
    lines of up to 1.2 MB. 0.2 % are not UTF-8. 3 % of the execs are in a directory of their own. 3 % fail. Of
    the others 95 % end, most of them soon. There are three boots, and the clock is stepped twice. Parents are
    shells, daemons, and one build with all its descendants. `parent_comm` depends on the command line; it is
    not the name in the parent's own record, as it would be in a real history.
    """

    def __init__(self, execs: int) -> None:
        self.execs = execs
        self._random = random.Random(f"{_VERSION} {execs}")  # noqa: S311  # no secret
        self._boots = [f"{n}f6a1c2e-1111-4222-8333-44445555666{n}" for n in range(1, 4)]
        self._make_pools()
        self._rare = {int((n + 0.4) / _RARE_TIMES * execs) for n in range(_RARE_TIMES)}
        self._family_at = int(0.7 * execs)  # in one boot
        self._asked_at = execs - execs // 15  # two days before the end
        self.family = min(_FAMILY, execs // 10)
        self.pid, self.exec_id, self.family_id, self.end_ns = 0, "", "", 0

    def _make_pools(self) -> None:
        rnd = self._random
        names = [
            *_KNOWN_EXES,
            *(b"/usr/%s/tool-%d" % (rnd.choice((b"bin", b"sbin", b"libexec/app")), n) for n in range(_EXES)),
        ]
        exes = names[:_EXES]
        self._cwds = [
            b"/home/dev%d/src/project%d/%s" % (n % 20, n // 20, b"lib" * (n % 3)) for n in range(_CWDS)
        ]
        cgroups = [
            b"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod%032x.slice/cri-containerd-%064x.scope"
            % (rnd.getrandbits(128), rnd.getrandbits(256))
            if n % 5 in _LONG_NAMES
            else b"/system.slice/unit-%d.service" % n
            for n in range(_CGROUPS)
        ]
        self.origins = []
        for n in range(_ORIGINS):
            name, uid = rnd.choice(_USERS)
            login = Origin(uid, n + 1, name, b"pts/%d" % (n % 30)) if n % 3 else Origin()
            self.origins.append(login._replace(cgroup=cgroups[n % _CGROUPS]))
        users = list(accumulate((45, 12, 5, *(38 / 20,) * 20)))
        self.lines = []
        for n in range(_LINES):
            exe = exes[int(_EXES * rnd.random() ** 3)]
            argv = self._argv(exe, n)
            user = _USERS[bisect(users, rnd.random() * users[-1])]
            starter = rnd.choice(_STARTERS)
            launches = [
                self._launch(exe, user, self._cwds[int(_CWDS * rnd.random() ** 2)], starter)
                for _ in range(1 + n % 2)
            ]
            origins = [rnd.choice(self.origins) for _ in range(2)]
            self.lines.append((argv, argv.count(b"\0"), len(argv), launches, origins))
        self.weights = list(accumulate(1 / (n + 1) ** 1.1 for n in range(_LINES)))

    def _argv(self, exe: bytes, number: int) -> bytes:
        rnd = self._random
        known = (
            b"--verbose", b"-f", b"--config=/etc/app%d/main.conf" % (number % 300), b"-o", b"--user=deploy",
            b"https://host%d.example/api/v1/items/%d" % (number % 40, number), b"/var/lib/app/%d/data.json" % number,
            b"--level=%d" % (number % 9), b"SELECT count(*) FROM t%d WHERE x > 1" % (number % 70),
        )  # fmt: skip
        words = [exe.rpartition(b"/")[2], *rnd.choices(known, k=int(rnd.expovariate(1 / 4)) + 1)]
        if number % 500 == 59:  # noqa: PLR2004  # 0.2 % of the lines; and, by its weight, of the execs
            words.append(b"caf\xe9-%d" % number)
        return b"".join(word + b"\0" for word in words)

    def _launch(self, exe: bytes, user: tuple[str, int], cwd: bytes, starter: bytes) -> Launch:
        name, uid = user
        return Launch(
            uid=uid, euid=uid, gid=uid, user=name, comm=exe.rpartition(b"/")[2][:15], filename=exe, exe=exe, cwd=cwd,
            parent_comm=starter, inode=hash_of(exe), device=8_388_609, nlink=1, privileged=Gained(0),
        )  # fmt: skip

    def _times(self) -> Iterator[int]:
        """Yields wall clock times: more by day, and in bursts."""
        rnd = self._random
        weights = [
            (1.6 if hour % 24 in _BY_DAY else 0.6) * rnd.choice((0.7, 1, 1, 1.4))
            for hour in range(_DAYS * 24)
        ]
        until = list(accumulate(weights))
        made, now = 0, _START_NS
        for hour, weight in enumerate(until):
            now = max(now, _START_NS + hour * 3600 * _SECOND)
            # Counted from the start, so that no fraction is lost and the total is exact.
            count = round(self.execs * weight / until[-1]) - made
            made += count
            pause = 3600 * _SECOND / max(count, 1) / (1 - _BURST)
            for _ in range(count):
                yield now
                now += 3_000_000 if rnd.random() < _BURST else int(rnd.expovariate(1 / pause))

    def batches(self) -> Iterator[tuple[str, list[ExecEvent], list[ExitEvent]]]:
        """Yields a boot id, its next events, and its next ends."""
        events: list[ExecEvent] = []
        exits: list[ExitEvent] = []
        late: list[ExitEvent] = []
        boot = _Boot("", 0)
        for number, now in enumerate(self._times()):
            boot_id = self._boots[min(number * len(self._boots) // self.execs, len(self._boots) - 1)]
            if boot_id != boot.id:
                if events:
                    yield boot.id, events, exits
                events, exits, late = [], [], []
                boot = _Boot(boot_id, now - 50 * _SECOND)
            event = self._event(boot, number, now)
            events.append(event)
            if event.kind is Kind.EXEC and number % 20:
                length = 4_000_000 + number % 1000 * 1000
                end = ExitEvent(
                    event.key, Nanoseconds(event.time_ns + length), Nanoseconds(event.boot_ns + length),
                    event.pid, 0 if number % 9 else 256,
                )  # fmt: skip
                (exits if number % 8 else late).append(end)
            self.end_ns = event.time_ns + 1
            if len(events) == _BATCH:
                yield boot.id, events, exits
                # Programs that run longer end in the next batch.
                events, exits, late = [], late, []
        if events:
            yield boot.id, events, exits

    def _event(self, boot: _Boot, number: int, now: int) -> ExecEvent:
        chance = self._random.random()
        if number in self._rare:
            argv = b"tool\0--key=%s-%d\0" % (RARE, number)
            argc, size, launch, origin = 2, len(argv), self.lines[7][3][0], self.origins[7]
        elif chance < _COMMON and number % _LONG_EVERY != _LONG_AT:
            at = bisect(self.weights, self._random.random() * self.weights[-1])
            argv, argc, size, launches, origins = self.lines[at]
            launch, origin = launches[number % len(launches)], origins[number % 7 == 0]
        else:
            argv, launch, origin = self.unique(number, chance)
            argc, size = argv.count(b"\0"), len(argv)
        in_family = self._family_at <= number < self._family_at + self.family
        fails = chance > _FAILS and not in_family
        pid, parent, replaces = boot.lineage(
            number, in_family=in_family, opens=self._random.random() < _OPENS
        )
        replaces = replaces and not fails
        ppid = 1 if parent is None or replaces else parent.task
        boot_ns = now - boot.booted_ns
        key = _new(ExecKey, (boot.prefix, boot_ns, pid))
        if not fails:
            boot.ran(number, key, replaced=replaces, in_family=in_family)
        if number == self._family_at:
            self.family_id = encode_id(key)
        if number == self._asked_at:
            self.pid, self.exec_id = pid, encode_id(key)
        event: ExecEvent = _new(
            ExecEvent,
            (
                Kind.FAILED if fails else Kind.EXEC, "big", boot.id, now + self._stepped_ns(number), boot_ns,
                pid, pid, ppid, argv, argc, size, (), None, 2 if fails else None, launch, origin,
                parent, replaces, None, None, (),
            ),
        )  # fmt: skip
        return event

    def _stepped_ns(self, number: int) -> int:
        """Returns how far ahead the clock is: an hour for a sixth of the time, half a second for another."""
        return _STEPS_NS.get(number * 6 // self.execs, 0)

    def unique(self, number: int, chance: float) -> tuple[bytes, Launch, Origin]:
        """Returns a command line that comes once, its launch and its origin."""
        rnd = self._random
        name, cwd = b"%08x" % rnd.getrandbits(32), self._cwds[number % 300]
        if chance < _OWN_FOLDER:
            cwd = b"/build/%s/debian/tmp" % name
        user = _USERS[3 + number % 4]
        origin = self.origins[number % 20]
        if number % _LONG_EVERY == _LONG_AT:
            count = 46_000 if number % _LONGEST_EVERY == _LONGEST_AT else 4000
            argv = b"xargs\0" + b"".join(b"/srv/files/%s-%d\0" % (name, n) for n in range(count))
            return argv, self._launch(b"/usr/bin/xargs", user, cwd, b"find"), origin
        if chance < _COMPILES:
            exe = _COMPILERS[number % 3]
            file = number // 3 % 4000
            argv = (
                b"%s\0-quiet\0-imultiarch\0x86_64-linux-gnu\0-D_FORTIFY_SOURCE=2\0src/module%d/file%d.c\0-o\0/tmp/cc%s.s\0"
                % (exe.rpartition(b"/")[2], file % 40, file, name)
            )
            return argv, self._launch(exe, user, cwd, b"x86_64-linux-gn"), origin
        exe = b"/usr/local/bin/job"
        argv = b"job\0--run-id=%s-%04x\0--out\0/tmp/tmp.%s\0" % (name, number & 0xFFFF, name[::-1])
        return argv, self._launch(exe, user, cwd, b"cron"), origin


def hash_of(text: bytes) -> int:
    """Returns a number that is always the same for a text, unlike hash()."""
    return int.from_bytes(text[-6:], "little") % 10_000_000


def path_of(execs: int) -> Path:
    """Returns the path of the history of so many execs."""
    return FOLDER / f"{execs}-{_VERSION}-{REVISION}.db"


def known(execs: int, say: Callable[[str], object]) -> tuple[Path, Known, list[Ingest]]:
    """Returns a history of so many execs, its facts, and how long it took to write. It is made only once."""
    path = path_of(execs)
    facts = path.with_suffix(".json")
    if not facts.exists():
        say(f"making a history of {execs} execs in {path.parent}: once, it is kept")
        path.parent.mkdir(parents=True, exist_ok=True)
        # Remove those that are half made or of another version: nothing uses them, and some have gigabytes.
        for old in path.parent.glob(f"{execs}-*"):
            old.unlink()
        found, ingest = write(path, execs, say)
        facts.write_text(json.dumps([found, ingest]), encoding="utf-8")
    read, curve = json.loads(facts.read_text(encoding="utf-8"))
    return path, Known(*read), [Ingest(*each) for each in curve]


def write(
    path: Path, execs: int, say: Callable[[str], object] = lambda _: None
) -> tuple[Known, list[Ingest]]:
    """Writes a history of so many execs."""
    making = Making(execs)
    curve: list[Ingest] = []
    each = max(execs // 10, 1)
    done = marked = 0
    cpu = wall = 0.0
    boot = ""
    with Store(path) as store:
        for boot_id, events, exits in making.batches():
            if boot_id != boot:
                if boot:
                    store.end_run(events[0].time_ns)
                boot = boot_id
                run = Run(
                    boot_id=boot_id,
                    host="big",
                    version="bench",
                    started_ns=Nanoseconds(events[0].time_ns - 1),
                )
                store.begin_run(run)
            begun_cpu, begun = time.process_time(), time.perf_counter()
            store.append(events, (), exits)
            store.index()
            cpu += time.process_time() - begun_cpu
            wall += time.perf_counter() - begun
            done += len(events)
            if done >= each * (len(curve) + 1):
                size = path.stat().st_size
                curve.append(Ingest(done, cpu / (done - marked) * 1e6, wall, size))
                say(f"{done} execs: {curve[-1].cpu_us:.1f} us of CPU each, {size / done:.0f} bytes each")
                marked, cpu, wall = done, 0.0, 0.0
        store.end_run(Nanoseconds(making.end_ns))
        while store.index():
            pass
    asked = Known(done, making.end_ns, making.pid, making.exec_id, making.family_id, making.family - 1)
    return asked, curve
