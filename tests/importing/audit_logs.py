"""Audit logs, written by hand as the kernel and auditd write them; and a writer of any exec."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# The kernel's tables: arch and numbers of execve and execveat.
X86_64, I386, ARM64, ARM = (
    ("c000003e", 59, 322),
    ("40000003", 11, 358),
    ("c00000b7", 221, 281),
    ("40000028", 11, 387),
)
START = 1_791_217_198
"""2026-10-05 16:19:58 UTC."""


def stamp(milliseconds: int, serial: int) -> str:
    """Returns the time and number of an event, so long after START."""
    seconds, rest = divmod(START * 1000 + milliseconds, 1000)
    return f"msg=audit({seconds}.{rest:03d}:{serial})"


def syscall(  # noqa: PLR0913  # each is a field
    at: str, pid: int, ppid: int, comm: str, exe: str, *, arch: str = "c000003e", number: int = 59,
    success: str = "yes", code: int = 0, auid: int = 1000, uid: int = 1000, euid: int | None = None,
    tty: str = "pts1", ses: int = 3, enriched: str = "",
) -> str:  # fmt: skip
    """Returns a SYSCALL record."""
    euid = uid if euid is None else euid
    return (
        f"type=SYSCALL {at}: arch={arch} syscall={number} success={success} exit={code} a0=55d0c8 a1=55d0d0 a2=55d0e8"
        f" a3=8 items=2 ppid={ppid} pid={pid} auid={auid} uid={uid} gid={uid} euid={euid} suid={euid} fsuid={euid}"
        f' egid={uid} sgid={uid} fsgid={uid} tty={tty} ses={ses} comm={comm} exe={exe} subj=unconfined key="exec"{enriched}'
    )


def path(  # noqa: PLR0913  # each is a field
    at: str, item: int, name: str, inode: int, *, mode: str = "0100755", kind: str = "NORMAL"
) -> str:
    """Returns a PATH record."""
    return (
        f"type=PATH {at}: item={item} name={name} inode={inode} dev=fd:01 mode={mode} ouid=0 ogid=0 rdev=00:00"
        f" nametype={kind} cap_fp=0 cap_fi=0 cap_fe=0 cap_fver=0 cap_frootid=0"
    )


LOADER = '"/lib64/ld-linux-x86-64.so.2"'


def session() -> str:
    """A login shell, what it runs, and two events whose records stand among each other."""
    a, b, c, d = stamp(0, 900), stamp(1500, 901), stamp(2000, 902), stamp(2000, 903)
    e, f, g = stamp(2001, 904), stamp(2100, 906), stamp(3000, 907)
    names = '\x1dARCH=x86_64 SYSCALL=execve AUID="alice" UID="alice" GID="alice" EUID="root"'
    return "\n".join((
        f"type=DAEMON_START msg=audit({START - 1}.500:4711): op=start ver=3.0.9 format=raw kernel=6.1.0 auid=4294967295 pid=501 uid=0 ses=4294967295 res=success",
        syscall(a, 2000, 1990, '"bash"', '"/usr/bin/bash"', enriched=names),
        f'type=EXECVE {a}: argc=1 a0="-bash"',
        f'type=CWD {a}: cwd="/home/alice"',
        path(a, 0, '"/bin/bash"', 131_191), path(a, 1, LOADER, 131_300),
        f'type=PROCTITLE {a}: proctitle="-bash"',
        # A script. Its argument has a blank and a quote.
        syscall(b, 2001, 2000, '"deploy.sh"', '"/usr/bin/dash"', uid=0, auid=1000),
        f'type=EXECVE {b}: argc=3 a0="/bin/sh" a1="./deploy.sh" a2=6120226222',
        f'type=CWD {b}: cwd="/srv/my app"'.replace('"/srv/my app"', b"/srv/my app".hex().upper()),
        path(b, 0, '"./deploy.sh"', 77), path(b, 1, '"/bin/sh"', 131_192), path(b, 2, LOADER, 131_300),
        f"type=PROCTITLE {b}: proctitle=2F62696E2F7368002E2F6465706C6F792E7368",
        # Two at once: the first is split over two records, the second failed.
        syscall(c, 2002, 2001, '"curl"', '"/usr/bin/curl"'),
        f'type=EXECVE {c}: argc=3 a0="curl" a1_len=12 a1[0]=C3A920',
        syscall(d, 2003, 2001, '"sh"', '"/usr/bin/dash"', success="no", code=-2),
        f"type=EXECVE {c}: a1[1]=200A41 a2=22",
        f'type=CWD {d}: cwd="/"',
        f'type=CWD {c}: cwd="/"',
        path(d, 0, '"/usr/local/bin/jq"', 0, kind="UNKNOWN").replace(" inode=0 dev=fd:01", ""),
        path(c, 0, '"/usr/bin/curl"', 400), path(c, 1, LOADER, 131_300),
        f"type=PROCTITLE {c}: proctitle=6375726C",
        f"type=PROCTITLE {d}: proctitle=7368002D63006A71",
        # The shell of 2003 goes on with another program. `sudo` is setuid.
        syscall(e, 2003, 2001, '"sudo"', '"/usr/bin/sudo"', euid=0),
        f'type=EXECVE {e}: argc=2 a0="sudo" a1="-l"',
        path(e, 0, '"/usr/bin/sudo"', 500, mode="0104755"), path(e, 1, LOADER, 131_300),
        "type=USER_CMD " + stamp(2050, 905) + ": pid=2003 uid=1000 auid=1000 ses=3 msg='cwd=\"/\" cmd=\"-l\" terminal=pts/1 res=failed'",
        syscall(f, 2003, 2001, '"less"', '"/usr/bin/less"', tty="(none)", ses=2**32 - 1, auid=2**32 - 1),
        f'type=EXECVE {f}: argc=1 a0="less"',
        # Another call is no exec.
        syscall(g, 2003, 2001, '"less"', '"/usr/bin/less"', number=257),
        path(g, 0, '"/etc/passwd"', 9),
        "",
    ))  # fmt: skip


def machines() -> str:
    """The same of other architectures, and other machines."""
    lines = []
    for number, (arch, execve, execveat) in enumerate((X86_64, I386, ARM64, ARM)):
        for at, call in enumerate((execve, execveat, execve + 1)):
            when = stamp(10 * number + at, 10 * number + at)
            lines.append(
                "node=db1 " + syscall(when, 100 + number, 1, '"ls"', '"/usr/bin/ls"', arch=arch, number=call)
            )
            lines.append(f"node=db1 type=PROCTITLE {when}: proctitle=6C73002D6C")
    return "\n".join(lines) + "\n"


def write(folder: Path, name: str, text: str) -> Path:
    """Writes a log, and returns its path."""
    at = folder / name
    at.write_text(text, encoding="utf-8")
    return at
