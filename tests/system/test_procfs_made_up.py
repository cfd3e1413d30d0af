"""Running processes, as the /proc of another machine may show them: in files that the tests write."""

from __future__ import annotations

import os
import re
import threading
from itertools import chain, repeat
from typing import TYPE_CHECKING

import pytest

from execaudit.system.procfs import Running, scan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Tree:
    """A /proc and a /sys of our own making."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.sys = folder / "proc", folder / "sys"
        self.proc.mkdir()
        (self.proc / "meminfo").write_bytes(b"")
        (self.proc / "self").symlink_to("7")

    def add(  # noqa: PLR0913  # each a field of the kernel's
        self,
        pid: int = 7,
        *,
        state: str = "S",
        tty: int = 0,
        flags: int = 0,
        threads: int = 1,
        started: int = 100,
        memory: int = 4096,
        below: str = "",
        **files: bytes,
    ) -> Path:
        """Makes a process, or a thread of it; of its files only stat and those given here."""
        folder = self.proc / str(pid) / below
        folder.mkdir(parents=True)
        (folder / "stat").write_bytes(stat(pid, state, tty, flags, threads, started, memory))
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return folder

    def scan(self) -> dict[int, Running]:
        """Scans it."""
        return scan(self.proc, self.sys)


def stat(pid: int, state: str, tty: int, flags: int, threads: int, started: int, memory: int) -> bytes:  # noqa: PLR0913, PLR0917  # its fields
    """Returns a stat file."""
    return (
        f"{pid} (x) {state} 1 7 7 {tty} -1 {flags} 0 0 0 0 0 0 0 0 20 0 {threads} 0 {started} {memory} 200 "
        + "0 " * 28
    ).encode() + b"0\n"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """An empty /proc."""
    return Tree(tmp_path)


def test_what_cannot_be_read_is_none(tree: Tree) -> None:
    """A kernel without audit, cgroups, and a process that hides its files, is still a process."""
    tree.add()
    found = tree.scan()

    facts = found[7]._replace(read_from_ns=0, read_to_ns=0)
    assert list(found) == [7]
    assert facts == Running(
        pid=7, ppid=1, started_ticks=100, kernel_thread=False, read_from_ns=0, read_to_ns=0, comm=b"x",
        argv_is_cut=False,
        **dict.fromkeys((
            "uid", "euid", "gid", "auid", "session", "tty", "cgroup", "exe", "inode", "device", "nlink",
            "cwd", "root", "mnt_ns", "argv",
        )),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "path"),
    [
        (b"0::/system.slice/ssh.service\n", b"/system.slice/ssh.service"),
        (b"0::/\n", b"/"),
        (b"9:name=systemd:/user\n8:pids:/docker/f00\n4:memory:/m\n0::/system.slice\n", b"/system.slice"),
        (b"9:name=systemd:/user\n8:pids:/docker/f00\n4:memory:/m\n0::/\n", b"/docker/f00"),
        (b"8:cpu,pids:/docker/f00\n4:memory:/m\n", b"/docker/f00"),
        (b"9:name=systemd:/user\n8:pids:/\n4:memory:/m\n0::/\n", b"/m"),
        (b"9:name=systemd:/user\n8:pids:/\n4:memory:/\n", b"/"),
        (b"0::/a:b/\xff c\n", b"/a:b/\xff c"),
        (b"0::/a\rb\x0bc\n", b"/a\rb\x0bc"),
        (b"", None),
    ],
)
def test_the_cgroup_is_the_one_that_the_probe_names(tree: Tree, lines: bytes, path: bytes | None) -> None:
    """The unified hierarchy's; where that has only a root, that of the controllers of v1."""
    tree.add(cgroup=lines)

    assert path == tree.scan()[7].cgroup


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (0, None),
        (34816, b"pts/0"),
        (34816 + 255, b"pts/255"),
        (1083392 + 1, b"pts/257"),  # minor 257 of major 136
        (137 << 8, b"pts/256"),  # as old kernels count
        (143 << 8 | 7, b"pts/1799"),
        (-(2**31) + 34816, b"pts/524288"),  # the kernel prints it signed
        (4 << 8 | 1, b"tty1"),
        (4 << 8 | 63, b"tty63"),
        (4 << 8 | 64, b"ttyS0"),
        (4 << 8 | 67, b"ttyS3"),
        (229 << 8, b"hvc0"),
        (188 << 8 | 1, None),
        (144 << 8, None),
    ],
)
def test_a_terminal_has_its_name_below_dev(tree: Tree, number: int, name: bytes | None) -> None:
    """By the kernel's numbers, and for drivers of their own by what sysfs says."""
    folder = tree.sys / "dev/char/229:0"
    folder.mkdir(parents=True)
    (folder / "uevent").write_bytes(b"MAJOR=229\nMINOR=0\nDEVNAME=hvc0\n")
    folder = tree.sys / "dev/char/144:0"
    folder.mkdir(parents=True)
    (folder / "uevent").write_bytes(b"MAJOR=144\nMINOR=0\n")
    tree.add(tty=number)

    assert name == tree.scan()[7].tty


def test_unset_logins_are_none(tree: Tree) -> None:
    """The kernel says it by its largest number; 0 is root."""
    tree.add(7, loginuid=b"4294967295", sessionid=b"4294967295")
    tree.add(8, loginuid=b"0", sessionid=b"1")
    found = tree.scan()

    assert (found[7].auid, found[7].session) == (None, None)
    assert (found[8].auid, found[8].session) == (0, 1)


def test_ids_are_found_behind_any_name(tree: Tree) -> None:
    """The kernel escapes the newline of a name; the order is real, effective, saved, of files."""
    tree.add(status=b"Name:\t\\nUid:\t9\nUmask:\t0022\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t0\n")
    found = tree.scan()[7]

    assert (found.uid, found.euid, found.gid) == (1, 2, 5)


def test_every_argument_ends(tree: Tree) -> None:
    """What lacks its NUL gets one; nothing stays nothing."""
    tree.add(7, cmdline=b"a\0b")
    tree.add(8, cmdline=b"a\0\0")
    tree.add(9, cmdline=b"")
    found = tree.scan()

    assert [found[pid].argv for pid in (7, 8, 9)] == [b"a\0b\0", b"a\0\0", b""]


@pytest.mark.parametrize("end", [{"state": "Z"}, {"state": "X"}, {"memory": 0}])
def test_what_has_ended_is_left_out(tree: Tree, end: dict[str, str | int]) -> None:
    """A zombie, and a process that has given its memory back and is about to be one."""
    tree.add(7, **end)  # type: ignore[arg-type]  # str is of state alone
    tree.add(8, threads=2, **end)  # type: ignore[arg-type]  # as above
    tree.add(8, below="task/8", **end)  # type: ignore[arg-type]  # as above
    tree.add(8, below="task/9", started=105, cmdline=b"thread\0")
    found = tree.scan()

    assert list(found) == [8]
    assert (found[8].started_ticks, found[8].argv) == (100, b"thread\0")


def test_a_kernel_thread_has_no_memory(tree: Tree) -> None:
    """That is no end of it."""
    tree.add(flags=0x200040, memory=0)

    assert tree.scan()[7].kernel_thread


@pytest.mark.parametrize(
    ("looks", "started"),
    [
        ([("S", 1), ("S", 1)], 1),
        ([("S", 1), ("S", 2), ("S", 2)], 2),
        ([("S", 1), ("S", 2), ("S", 3), ("S", 4), ("S", 5), ("S", 5)], 5),
        ([("S", ticks) for ticks in range(20)], None),
        ([("S", 1), ("Z", 1)], None),
    ],
)
def test_a_torn_reading_is_not_taken(
    tree: Tree, looks: Sequence[tuple[str, int]], started: int | None
) -> None:
    """A process that is another one, or ends, before it was read to the end, is read again."""
    path = tree.add() / "stat"
    path.unlink()
    os.mkfifo(path)
    done = threading.Event()

    def answer() -> None:
        for state, ticks in chain(looks, repeat(looks[-1])):
            with path.open("wb") as pipe:  # waits until it is read
                if done.is_set():
                    return
                # Whoever opens it next must not read on where this one ends.
                following = path.with_name("following")
                os.mkfifo(following)
                following.replace(path)
                pipe.write(stat(7, state, 0, 0, 1, ticks, 4096))

    answering = threading.Thread(target=answer)
    answering.start()
    found = tree.scan()
    done.set()
    path.read_bytes()
    answering.join()

    assert started == (found[7].started_ticks if 7 in found else None)


def test_a_folder_that_is_no_proc_is_an_error(tmp_path: Path) -> None:
    """No processes at all is not an answer."""
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path))):
        scan(tmp_path / "none")
