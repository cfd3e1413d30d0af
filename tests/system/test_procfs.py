"""Running processes, as this machine's /proc shows them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from execaudit.system.procfs import Running, in_initial_pid_namespace, scan, start_lookup
from tests.nobody import NOBODY, public_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parents[2]
SHELL = Path("/bin/sh").resolve()
# What a shell does that is to be looked at: it says that it is there, and waits to be told to end.
READY_THEN_WAIT = "echo; read x"
# The leader ends, a thread of it stays until standard input is closed.
LEADERLESS = """
import ctypes, os, threading, sys
def stay():
    while open("/proc/self/stat").read().rpartition(")")[2].split()[0] != "Z":
        pass
    print(threading.get_native_id(), flush=True)
    sys.stdin.read()
    os._exit(0)
threading.Thread(target=stay).start()
ctypes.CDLL(None).pthread_exit(None)
"""


@contextmanager
def waiting(
    program: os.PathLike[str] | str, *arguments: bytes, **how: object
) -> Iterator[subprocess.Popen[bytes]]:
    """A shell of its own file, arguments and surroundings, which has come to its first command."""
    argv = [arguments[0] if arguments else b"sh", "-c", READY_THEN_WAIT, *arguments[1:]]
    with subprocess.Popen(
        argv,
        executable=program,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        **how,  # type: ignore[call-overload]  # any keyword
    ) as shell:
        assert shell.stdout is not None
        assert shell.stdout.readline() == b"\n"
        yield shell


def own_shell(folder: Path, name: str) -> Path:
    """Returns a copy of the shell."""
    program = folder / name
    program.write_bytes(SHELL.read_bytes())
    program.chmod(0o755)
    return program


def test_this_process_is_as_it_knows_itself() -> None:
    """Each fact is what the process can ask the kernel for by other ways."""
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    found = scan()[os.getpid()]
    after = time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    image = Path("/proc/self/exe").stat()
    ticks = os.sysconf("SC_CLK_TCK")
    assert before <= found.read_from_ns < found.read_to_ns <= after
    assert 0 < found.started_ticks / ticks <= before / 1e9
    assert found._replace(read_from_ns=0, read_to_ns=0, started_ticks=0, tty=None, cgroup=None) == Running(
        pid=os.getpid(),
        ppid=os.getppid(),
        started_ticks=0,
        kernel_thread=False,
        read_from_ns=0,
        read_to_ns=0,
        uid=os.getuid(),
        euid=os.geteuid(),
        gid=os.getgid(),
        auid=number_of("loginuid"),
        session=number_of("sessionid"),
        tty=None,
        comm=Path("/proc/self/comm").read_bytes()[:-1],
        cgroup=None,
        exe=os.fsencode(Path("/proc/self/exe").readlink()),
        inode=image.st_ino,
        device=os.major(image.st_dev) << 20 | os.minor(image.st_dev),
        nlink=image.st_nlink,
        root=None,
        mnt_ns=None,
        cwd=os.fsencode(Path.cwd()),
        argv=Path("/proc/self/cmdline").read_bytes(),
    )


def number_of(name: str) -> int | None:
    """Returns a number of this process's audit state."""
    number = int(Path("/proc/self", name).read_text(encoding="ascii"))
    return None if number == 2**32 - 1 else number


def test_bytes_stay_what_they_are(tmp_path: Path) -> None:
    """Names with parentheses, spaces, newlines and no UTF-8, empty and long arguments."""
    folder = os.fsencode(tmp_path) + b"/\xff \n"
    os.mkdir(folder)  # noqa: PTH102  # Path takes no bytes
    program = own_shell(tmp_path, "a) R 1 (b\n")
    arguments = [b"\xfe) S", b"", b"a b\n\x1b", b"\xc3\x28" * 30_000, b""]
    with waiting(program, *arguments, cwd=folder) as shell:
        found = scan()[shell.pid]

    assert found.comm == b"a) R 1 (b\n"
    assert found.exe == os.fsencode(program)
    assert found.cwd == folder
    expected = [arguments[0], b"-c", READY_THEN_WAIT.encode(), *arguments[1:]]
    assert found.argv == b"".join(argument + b"\0" for argument in expected)
    assert found.ppid == os.getpid()


def test_a_deleted_program_says_so(tmp_path: Path) -> None:
    """The image has no name any more, and is still known by its inode."""
    program = own_shell(tmp_path, "gone")
    inode = program.stat().st_ino
    with waiting(program) as shell:
        program.unlink()
        found = scan()[shell.pid]

    assert (found.exe, found.inode, found.nlink) == (os.fsencode(program) + b" (deleted)", inode, 0)


def test_a_second_name_is_counted(tmp_path: Path) -> None:
    """The number of names is the file's."""
    program = own_shell(tmp_path, "one")
    (tmp_path / "two").hardlink_to(program)
    with waiting(program) as shell:
        assert scan()[shell.pid].nlink == 2


def test_a_program_in_memory_has_no_file() -> None:
    """A memfd is shown as /proc shows it."""
    memory = os.memfd_create("x", 0)
    os.write(memory, SHELL.read_bytes())
    writable = f"/proc/self/fd/{memory}"
    # The kernel starts nothing that is open for writing.
    reader = os.open(writable, os.O_RDONLY)
    os.close(memory)
    with waiting(f"/proc/self/fd/{reader}", pass_fds=[reader]) as shell:
        found = scan()[shell.pid]
    os.close(reader)

    assert (found.exe, found.nlink) == (b"/memfd:x (deleted)", 0)


def test_users_are_told_apart() -> None:
    """Real and effective user, and the real group."""
    # A shell would make its effective user the real one.
    wait = "import sys; print(); sys.stdout.flush(); sys.stdin.read()"
    change = ["setpriv", f"--ruid={NOBODY}", "--euid=0", f"--rgid={NOBODY}", "--egid=7", "--clear-groups"]
    command = [*change, sys.executable, "-c", wait]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        program.stdout.readline()
        found = scan()[program.pid]
        program.communicate()

    assert (found.uid, found.euid, found.gid) == (NOBODY, 0, NOBODY)


def test_the_login_is_that_of_the_audit_subsystem() -> None:
    """A login user and session that were set once are those of all children."""
    login = "echo 4242 > /proc/self/loginuid && cat /proc/self/sessionid && echo && read x"
    with subprocess.Popen(
        ["/bin/sh", "-c", login], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as shell:
        assert shell.stdout is not None
        session = int(shell.stdout.readline())
        found = scan()[shell.pid]
        shell.communicate()

    assert (found.auid, found.session) == (4242, session)


def test_the_terminal_is_the_controlling_one() -> None:
    """A session of its own on a pseudo terminal, which is not where its output goes."""
    master, slave = os.openpty()
    name = os.ttyname(slave)
    command = ["setsid", "--ctty", "sh", "-c", READY_THEN_WAIT]
    with subprocess.Popen(command, stdin=slave, stdout=subprocess.PIPE) as shell:
        assert shell.stdout is not None
        shell.stdout.readline()
        found = scan()[shell.pid]
        os.write(master, b"\n")
    os.close(slave)
    os.close(master)

    assert name == "/dev/" + (found.tty or b"").decode()


def test_a_daemon_has_no_terminal() -> None:
    """None, and not a device of number 0."""
    with waiting(SHELL, start_new_session=True) as shell:
        assert scan()[shell.pid].tty is None


def test_a_zombie_runs_nothing() -> None:
    """It has ended, though it has a pid until it is waited for."""
    ended = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, ended, os.WEXITED | os.WNOWAIT)
    found = scan()
    os.waitpid(ended, 0)

    assert ended not in found


def test_a_process_outlives_its_leader() -> None:
    """Its other threads still run the program, and know what the leader has forgotten."""
    with subprocess.Popen(
        [sys.executable, "-c", LEADERLESS, b"\xff"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/"
    ) as program:
        assert program.stdout is not None
        tid = int(program.stdout.readline())
        found = scan()
        program.communicate()

    ours = found[program.pid]
    assert tid not in found
    assert ours.exe == os.fsencode(Path(sys.executable).resolve())
    assert (ours.ppid, ours.uid, ours.cwd) == (os.getpid(), os.getuid(), b"/")
    assert (ours.argv or b"").endswith(b"\0\xff\0")


def test_a_written_title_is_taken_as_it_is() -> None:
    """It has lost the command line, and need not end as one; what stands there does."""
    title = b"title: busy"
    write = (
        "import ctypes, sys;"
        "fields = open('/proc/self/stat').read().rpartition(')')[2].split();"
        "start, end = int(fields[45]), int(fields[46]);"
        f"ctypes.memmove(start, {title!r}.ljust(end - start, b'!'), end - start);"
        "print(end - start, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", write], env={}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        program.stdout.readline()
        argv = scan()[program.pid].argv or b""
        program.communicate()

    assert argv.startswith(title)
    assert argv.endswith(b"!\0")


def test_kernel_threads_are_told_apart() -> None:
    """The first and its children have no program; init has one."""
    found = scan()

    threads = {pid for pid, process in found.items() if process.kernel_thread}
    assert {pid for pid, process in found.items() if process.ppid == 2} <= threads
    assert {found[pid].ppid for pid in threads} == {0, 2}
    assert found[2]._replace(started_ticks=0, read_from_ns=0, read_to_ns=0, cgroup=None) == Running(
        pid=2, ppid=0, started_ticks=0, kernel_thread=True, read_from_ns=0, read_to_ns=0,
        uid=0, euid=0, gid=0, auid=None, session=None, tty=None, comm=b"kthreadd", cgroup=None,
        exe=None, inode=None, device=None, nlink=None, cwd=b"/", root=None, mnt_ns=None, argv=b"",
    )  # fmt: skip
    assert not found[1].kernel_thread


def test_what_comes_and_goes_is_whole_or_not_there() -> None:
    """Programs that end while they are read leave no half of themselves, and no open file."""
    loop = "while :; do /bin/true; done"
    churning = [subprocess.Popen(["/bin/sh", "-c", loop], start_new_session=True) for _ in range(2)]
    files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # the listing's own file counts in both
    pids = {shell.pid for shell in churning}
    seen: list[Running] = []
    try:
        for _ in range(40):
            seen += [found for found in scan().values() if found.ppid in pids]
    finally:
        for shell in churning:
            os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()

    assert {(found.comm, found.exe) for found in seen} <= {
        (b"true", b"/usr/bin/true"),
        (b"sh", os.fsencode(SHELL)),
        (b"sh", b"/usr/bin/true"),  # an exec replaces the memory first, and then the name
    }
    assert [found for found in seen if found.inode is None or found.uid is None or found.cwd is None] == []
    assert files == len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # as above


def test_a_process_of_many_threads_that_execs_is_never_missing(tmp_path: Path) -> None:
    """While a thread takes its leader's place, the process is there all the time."""
    again = tmp_path / "again.py"
    again.write_text(
        "import os, sys, threading, time\n"
        "[threading.Thread(target=time.sleep, args=[60], daemon=True).start() for _ in range(3)]\n"
        "go = lambda: os.execv(sys.executable, [sys.executable, '-S', '-E', *sys.argv])\n"
        "threading.Thread(target=go).start()\n"
        "time.sleep(60)\n",
        encoding="utf-8",
    )
    with subprocess.Popen([sys.executable, "-S", "-E", again]) as program:
        try:
            missing = [turn for turn in range(60) if program.pid not in scan()]
        finally:
            program.kill()

    assert missing == []


def test_a_process_is_known_by_its_start() -> None:
    """To a tick, while it is there; a zombie is still there."""
    started_of = start_lookup()
    assert started_of is not None
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        started_ns = started_of(process.pid)
        assert started_ns is not None
        assert (
            before - 10**9 // os.sysconf("SC_CLK_TCK")
            <= started_ns
            <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        )
    assert started_of(process.pid) is None


def test_who_does_not_see_init_knows_of_no_process(tmp_path: Path) -> None:
    """Where /proc hides the processes of others, one that is not found may run."""
    (tmp_path / "self").mkdir()
    assert start_lookup(tmp_path) is None


def test_the_initial_namespace_is_known() -> None:
    """A container's pids are not the kernel's."""
    ask = "from execaudit.system.procfs import in_initial_pid_namespace as ask; print(ask())"
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", ask]
    inside = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    outside_view = ["unshare", "--pid", "--fork", sys.executable, "-c", ask]
    other = subprocess.run(outside_view, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout

    assert (in_initial_pid_namespace(), inside, other) == (True, "False\n", "False\n")


def test_arguments_without_end_are_cut() -> None:
    """A process says that 3 GB which do not exist are its arguments: what is read of it has a bound."""
    source = CHECKOUT / "tests/hostile/programs/long_cmdline.c"
    with public_folder() as folder:
        program = folder / "long_cmdline"
        subprocess.run(["cc", "-o", program, source], check=True)
        with subprocess.Popen(
            [program, "3000"], user=NOBODY, group=NOBODY, extra_groups=[], stdout=subprocess.PIPE
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == b"there\n"
                found = scan()[process.pid]
            finally:
                process.kill()
        assert (bytes(128 * 1024), True) == (found.argv, found.argv_is_cut)
        assert found.inode == program.stat().st_ino
