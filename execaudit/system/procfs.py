"""Read the running processes from /proc.

/proc shows what a process runs now, but not since when. So this is used only for the processes that run when
a recording starts, and never for a part of an exec that the probe captured.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from execaudit.system import clock
from execaudit.system.procread import Folder, Reader, read_file

if TYPE_CHECKING:
    from collections.abc import Callable

_INIT = 1
_SECOND_NS = 1_000_000_000
# include/linux/proc_ns.h, PROC_PID_INIT_INO
_INITIAL_PID_NAMESPACE = 0xEFFFFFFC
# include/linux/sched.h
_PF_KTHREAD = 0x00200000
# The value of loginuid and sessionid that are not set: (unsigned)-1.
_UNSET = 4294967295
# A thread that execs takes the leader's place in two steps: the leader ends, then the thread's own tid does.
# Each step makes a reading fail, although the process exists all the time.
_ATTEMPTS = 4
# Positions of fields in /proc/PID/stat, counted from the state, which is field 3 of proc_pid_stat(5).
_STATE, _PPID, _TTY, _FLAGS, _THREADS, _STARTED, _MEMORY = 0, 1, 4, 6, 17, 19, 20
# Documentation/admin-guide/devices.txt
_TTY_MAJOR, _FIRST_SERIAL = 4, 64
_FIRST_PTS_MAJOR, _LAST_PTS_MAJOR, _PTS_OF_MAJOR = 136, 143, 256
# The process ended before or after its file was opened, or this user may not read the file.
_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)


class Running(NamedTuple):
    """A process as /proc shows it. None means: could not be read.

    Texts are the kernel's bytes. Numbers are as in the initial pid and user namespace.
    """

    pid: int
    ppid: int
    """0 for init and kthreadd."""
    started_ticks: int
    """When it was forked, in clock ticks since the boot. With `pid`, this identifies the process."""
    kernel_thread: bool
    read_from_ns: int
    """CLOCK_BOOTTIME before anything of it was read."""
    read_to_ns: int
    """CLOCK_BOOTTIME after everything of it was read."""
    uid: int | None
    euid: int | None
    gid: int | None
    auid: int | None
    """Login uid; None when unset too."""
    session: int | None
    """Audit session; None when unset too."""
    tty: bytes | None
    """The controlling terminal below /dev: `pts/3`."""
    comm: bytes | None
    cgroup: bytes | None
    """As the probe sends it: the first path that is not `/`, of the unified hierarchy, the pids controller
    and the memory controller; else `/`."""
    exe: bytes | None
    """` (deleted)` included. None for a kernel thread, and for a process whose exe this user may not see."""
    inode: int | None
    """`inode`, `device` and `nlink` belong to the file `exe`."""
    device: int | None
    """major << 20 | minor, as stat gives it."""
    nlink: int | None
    cwd: bytes | None
    root: bytes | None
    """Its root directory; None if that is the host's."""
    mnt_ns: int | None
    """Its mount namespace; None if that is the host's."""
    argv: bytes | None
    """Each argument ended by a NUL. If the program overwrote its command line to show a title in ps, this is
    the title."""
    argv_is_cut: bool = False
    """The rest was not read, because it was longer than one process may have."""


class _Host(NamedTuple):
    """The mount namespace and root of processes that are in no container."""

    mnt_ns: int | None
    root: Folder | None


class _Stat(NamedTuple):
    """The fields of a stat file that are used."""

    comm: bytes
    ppid: int
    tty_nr: int
    kernel_thread: bool
    threads: int
    started_ticks: int
    runs: bool
    """It has not ended. One that has ended is a zombie, or has no memory any more and will be a zombie."""


def in_initial_pid_namespace() -> bool:
    """Says whether /proc shows this process the pids of the initial namespace.

    Those of another one are a container's own numbers, which the probe does not know.
    """
    try:
        # If /proc belongs to another namespace, `self` is missing or has another namespace's number.
        return Path("/proc/self/ns/pid").stat().st_ino == _INITIAL_PID_NAMESPACE
    except OSError:
        return False


def start_lookup(root: Path = Path("/proc")) -> Callable[[int], int | None] | None:
    """Returns a function that says when the process of a pid was forked.

    The time is in ns since the boot, rounded down to a tick. It is None if there is no such process, and 0 if
    it cannot be read. None instead of a function: this program does not see all processes of the host, or
    sees them with the pids or the boot clock of another namespace.
    """
    if not in_initial_pid_namespace() or clock.namespace_offset_s(root):
        return None
    ticks_per_second = os.sysconf("SC_CLK_TCK")

    def started_ns(pid: int) -> int | None:
        try:
            folder = os.open(f"{root}/{pid}", os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            return None
        except OSError:
            return 0
        try:
            stat = _read_stat(folder, b"")
        except OSError:
            return 0
        finally:
            os.close(folder)
        return None if stat is None else stat.started_ticks * _SECOND_NS // ticks_per_second

    # A /proc that hides other users' processes (hidepid=) hides init as well.
    return started_ns if started_ns(_INIT) is not None else None


def scan(root: Path = Path("/proc"), sysfs: Path = Path("/sys")) -> dict[int, Running]:
    """Returns the processes that run a program, and the kernel threads, by pid.

    A process that ends while it is read is left out. Raises OSError if there is no proc file system
    at `root`, or memory or descriptors are too few to read it.
    """
    found: dict[int, Running] = {}
    with Reader() as reader:
        host = _read_host(root, reader)
        for name in os.listdir(root):  # noqa: PTH208  # a Path for each costs as much as a file
            if not name.isdigit():
                continue
            try:
                # A file that is opened below this descriptor belongs to this same process, and cannot be
                # opened when the process is gone. A path could lead to another process with the same pid.
                folder = os.open(f"{root}/{name}", os.O_PATH | os.O_DIRECTORY)
            except _GONE:
                continue
            try:
                for _ in range(_ATTEMPTS):
                    running = _read_process(int(name), folder, sysfs, host, reader)
                    if running is not None:
                        found[running.pid] = running
                        break
            finally:
                os.close(folder)
    return found


def _read_process(pid: int, folder: int, sysfs: Path, host: _Host, reader: Reader) -> Running | None:
    """Returns the process of an open folder, or None if it ends or changes meanwhile."""
    read_from_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    first = _read_stat(folder, b"")
    if first is None:
        return None
    # The first thread may end before the other threads of the process. Then it has no exe or cwd any more,
    # but they do.
    task = b"" if first.runs else _living_thread(folder) if first.threads > 1 else None
    if task is None:
        return None
    uids, gids = _read_ids(folder, task)
    risky = reader.read(folder, task, uids[0])
    mnt_ns = _mount_namespace(folder, task + b"ns/mnt")
    facts = Running(
        pid=pid,
        ppid=first.ppid,
        started_ticks=first.started_ticks,
        kernel_thread=first.kernel_thread,
        read_from_ns=read_from_ns,
        read_to_ns=0,
        uid=uids[0],
        euid=uids[1],
        gid=gids[0],
        auid=_read_login(folder, task + b"loginuid"),
        session=_read_login(folder, task + b"sessionid"),
        tty=_terminal(first.tty_nr, sysfs),
        comm=first.comm,
        cgroup=_read_cgroup(folder, task),
        exe=_read_link(folder, task + b"exe"),
        inode=risky.inode,
        device=risky.device,
        nlink=risky.nlink,
        cwd=_read_link(folder, task + b"cwd"),
        root=_read_root(folder, task + b"root", is_host=mnt_ns == host.mnt_ns or risky.root == host.root),
        mnt_ns=None if mnt_ns == host.mnt_ns else mnt_ns,
        argv=_terminated(risky.argv),
        argv_is_cut=risky.argv_is_cut,
    )
    last = _read_stat(folder, b"")
    if last is None or last.started_ticks != first.started_ticks:
        return None
    if task:
        last = _read_stat(folder, task)
    if last is None or not last.runs:
        return None
    return facts._replace(read_to_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME))


def _living_thread(folder: int) -> bytes | None:
    """Returns the folder of a thread that has not ended, or None."""
    try:
        threads = os.open(b"task", os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
    except _GONE:
        return None
    try:
        tids = os.listdir(threads)  # noqa: PTH208  # Path takes no descriptor
    except _GONE:
        return None
    finally:
        os.close(threads)
    for tid in tids:
        task = b"task/%s/" % tid.encode()
        stat = _read_stat(folder, task)
        if stat is not None and stat.runs:
            return task
    return None


def _read_link(folder: int, name: bytes) -> bytes | None:
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError:
        return None  # also for a path that is longer than a page


def _mount_namespace(folder: int, name: bytes) -> int | None:
    link = _read_link(folder, name)
    return int(link[5:-1]) if link else None  # mnt:[4026531841]


def _read_root(folder: int, name: bytes, *, is_host: bool) -> bytes | None:
    """Returns a root directory as the host sees it, or None if it is the host's.

    `is_host`: the process is in the host's mount namespace, or its root directory is the host's.
    """
    path = _read_link(folder, name)
    return None if path == b"/" and is_host else path


def _terminated(argv: bytes | None) -> bytes | None:
    return argv + b"\0" if argv and not argv.endswith(b"\0") else argv


def _read_host(root: Path, reader: Reader) -> _Host:
    """Reads the mount namespace and the root directory of init: they are the host's.

    If this user may not read init's links, it reads those of kthreadd, and else those of this process.
    """
    for name in ("1", "2", "self"):
        try:
            folder = os.open(root / name, os.O_PATH | os.O_DIRECTORY)
        except _GONE:
            continue
        try:
            mnt_ns = _mount_namespace(folder, b"ns/mnt")
            if mnt_ns is not None:
                return _Host(mnt_ns, reader.read(folder, b"", 0).root)
        finally:
            os.close(folder)
    return _Host(None, None)


def _read_stat(folder: int, task: bytes) -> _Stat | None:
    content = read_file(folder, task + b"stat")
    if not content:
        return None
    # The name may contain any byte, parentheses and newlines too. After it there is no parenthesis.
    end = content.rindex(b")")
    fields = content[end + 1 :].split()
    kernel_thread = int(fields[_FLAGS]) & _PF_KTHREAD != 0
    return _Stat(
        content[content.index(b"(") + 1 : end],
        int(fields[_PPID]),
        int(fields[_TTY]),
        kernel_thread,
        int(fields[_THREADS]),
        int(fields[_STARTED]),
        fields[_STATE] not in {b"Z", b"X"} and (kernel_thread or fields[_MEMORY] != b"0"),
    )


def _read_ids(folder: int, task: bytes) -> tuple[list[int], list[int]] | tuple[list[None], list[None]]:
    """Returns the real, effective, saved and file system ids of the user, and those of the group."""
    content = read_file(folder, task + b"status")
    if not content:
        return [None] * 4, [None] * 4
    # The name comes before them, with its newlines escaped.
    uids = content.index(b"\nUid:\t") + 6
    gids = content.index(b"\nGid:\t", uids) + 6
    return (
        [int(uid) for uid in content[uids : content.index(b"\n", uids)].split()],
        [int(gid) for gid in content[gids : content.index(b"\n", gids)].split()],
    )


def _read_login(folder: int, name: bytes) -> int | None:
    """Returns a number of the audit subsystem; None if it is not set, or the kernel has no audit."""
    content = read_file(folder, name)
    number = int(content) if content else _UNSET
    return number if number != _UNSET else None


def _read_cgroup(folder: int, task: bytes) -> bytes | None:
    content = read_file(folder, task + b"cgroup")
    if not content:
        return None
    paths: dict[bytes, bytes] = {}
    for line in content.removesuffix(b"\n").split(b"\n"):  # splitlines() would split at \r too
        _, controllers, path = line.split(b":", 2)
        paths.update(dict.fromkeys(controllers.split(b","), path))
    # The order of append_cgroup in bpf/cgroup.h. The unified hierarchy's name is empty.
    for controller in (b"", b"pids", b"memory"):
        path = paths.get(controller, b"/")
        if path != b"/":
            return path
    return b"/"


def _terminal(number: int, sysfs: Path) -> bytes | None:
    """Returns the path below /dev of the terminal with this device number, which is a number of `stat`."""
    # Encoded by new_encode_dev() in include/linux/kdev_t.h, and printed as a signed number.
    major, minor = number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00
    if number == 0:
        return None
    if _FIRST_PTS_MAJOR <= major <= _LAST_PTS_MAJOR:
        return b"pts/%d" % ((major - _FIRST_PTS_MAJOR) * _PTS_OF_MAJOR + minor)
    if major == _TTY_MAJOR:
        return b"tty%d" % minor if minor < _FIRST_SERIAL else b"ttyS%d" % (minor - _FIRST_SERIAL)
    try:
        facts = (sysfs / "dev/char" / f"{major}:{minor}" / "uevent").read_bytes()
    except OSError:
        return None
    names = [line.removeprefix(b"DEVNAME=") for line in facts.splitlines() if line.startswith(b"DEVNAME=")]
    return names[0] if names else None
