"""The bytes of the probe's records."""

from __future__ import annotations

import contextlib
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.capture import probe, wire
from execaudit.enums import Gained
from execaudit.fields import Launch
from execaudit.system.shipped import folder
from tests import wirebytes
from tests.wirebytes import Facts, Head

if TYPE_CHECKING:
    from pathlib import Path

LAYOUT = r"""
#include <stddef.h>
#include <stdio.h>
typedef unsigned char __u8; typedef unsigned short __u16; typedef unsigned int __u32;
typedef unsigned long long __u64; typedef int __s32;
#include "execaudit.h"
#define SHOW(s, m) printf(#s "." #m " %zu %zu\n", offsetof(struct s, m), sizeof(((struct s *)0)->m))
int main(void)
{
	SHOW(ea_head, boot_ns); SHOW(ea_head, tid); SHOW(ea_head, pid); SHOW(ea_head, total);
	SHOW(ea_head, argc); SHOW(ea_head, offset); SHOW(ea_head, len); SHOW(ea_head, missing);
	SHOW(ea_head, size); SHOW(ea_head, type); SHOW(ea_head, flags);
	SHOW(ea_head, seq); SHOW(ea_head, pad);
	SHOW(ea_exec, parent_ns); SHOW(ea_exec, parent_pid); SHOW(ea_exec, caller_tid); SHOW(ea_exec, ppid);
	SHOW(ea_exec, ret); SHOW(ea_exec, cut_from); SHOW(ea_exec, cut_to); SHOW(ea_exec, auid);
	SHOW(ea_exec, session); SHOW(ea_exec, replaces); SHOW(ea_exec, account);
	SHOW(ea_exec, str_len); SHOW(ea_exec, path_flags);
	SHOW(ea_exec, gained); SHOW(ea_exec, pad); SHOW(ea_exec, inode); SHOW(ea_exec, uid); SHOW(ea_exec, gid);
	SHOW(ea_exec, euid); SHOW(ea_exec, egid); SHOW(ea_exec, device); SHOW(ea_exec, nlink); SHOW(ea_exec, dirfd);
	SHOW(ea_exec, mnt_ns); SHOW(ea_exec, traced); SHOW(ea_exec, pad_numbers);
	SHOW(ea_exec, comm); SHOW(ea_exec, parent_comm);
	SHOW(ea_exit, image_ns); SHOW(ea_exit, image_pid); SHOW(ea_exit, status);
	printf("size %zu %zu %zu\n", sizeof(struct ea_head), sizeof(struct ea_exec), sizeof(struct ea_exit));
	printf("launch %zu\n", offsetof(struct ea_exec, str_len));
	printf("losses %zu %zu\n", sizeof(struct ea_loss), sizeof(struct ea_account_loss));
	return 0;
}
"""


def compiled_layout(tmp_path: Path) -> list[list[str]]:
    """Returns name, offset and size of each member, as a C compiler of this machine has them."""
    source = tmp_path / "layout.c"
    source.write_text(LAYOUT)
    program = tmp_path / "layout"
    subprocess.run(["cc", "-Wall", "-Werror", "-I", folder("bpf"), "-o", program, source], check=True)
    output = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return [line.split() for line in output.splitlines()]


def test_python_reads_the_layout_that_the_c_compiler_makes(tmp_path: Path) -> None:
    """Each member of the header's structs has its place and size in wire.py, with no padding."""
    *members, (_, head_size, exec_size, exit_size), (_, launch_at), (_, *losses) = compiled_layout(tmp_path)
    place = 0
    for name, offset, size in members:
        if name == "ea_exit.image_ns":
            assert int(exec_size) == place
            place = int(head_size)
        assert (name, int(offset)) == (name, place)
        place += int(size)

    assert int(head_size) == wire._HEAD.size
    assert int(exec_size) == wire._EXEC_SIZE
    assert int(launch_at) == wire._LAUNCH_AT
    assert losses == [str(probe._LOSS.size), str(probe._ACCOUNT_LOSS.size)]
    assert int(exit_size) == wire._EXIT.size == place


def test_python_has_the_constants_of_the_header() -> None:
    """Types, flags and the unknown number are the header's."""
    header = (folder("bpf") / "execaudit.h").read_text()
    value = {
        name: int(text, 0)
        for name, text in re.findall(r"^#define (EA_\w+)\s+(0x\w+|\d+)", header, re.MULTILINE)
    }

    assert value["EA_UNKNOWN"] == wire.UNKNOWN
    assert value["EA_ACCOUNTS"] == probe._ACCOUNTS
    assert {f"EA_{kind.name}": kind.value for kind in wire.RecordType}.items() <= value.items()
    assert {f"EA_{flag.name}": flag.value for flag in wire.RecordFlag}.items() <= value.items()
    assert {f"EA_PATH_{flag.name}": flag.value for flag in wire.PathFlag}.items() <= value.items()
    assert value["EA_PATH_EXE"] == 1 << wire._EXE_SHIFT
    assert value["EA_PATH_CGROUP"] == 1 << wire._CGROUP_SHIFT
    assert value["EA_PATH_ROOT"] == 1 << wire._ROOT_SHIFT
    assert {f"EA_GAINED_{gained.name}": gained.value for gained in Gained}.items() <= value.items()


names = st.binary(min_size=1, max_size=8).filter(lambda name: not {0, ord("/")} & set(name))
u32 = st.integers(0, 2**32 - 1)
times = st.integers(0, 2**60 - 1)
tasks = st.integers(0, 2**22 - 1)
heads = st.builds(
    Head,
    boot_ns=times,
    tid=tasks,
    pid=tasks,
    total=u32,
    argc=u32,
    offset=u32,
    missing=u32,
    flags=st.integers(0, 7),
    seq=u32,
)
texts = st.binary(max_size=15).filter(lambda text: 0 not in text)
paths = st.lists(names, max_size=5).map(tuple)
facts = st.builds(
    Facts,
    parent=st.tuples(times, tasks),
    replaces=st.integers(0, 1),
    account=u32,
    inode=st.integers(0, 2**64 - 1),
    device=u32,
    nlink=u32,
    gained=st.integers(0, 7),
    caller_tid=tasks,
    ppid=u32,
    uid=u32,
    gid=u32,
    euid=u32,
    egid=u32,
    auid=u32,
    session=u32,
    ret=st.integers(-4095, 0),
    cut_from=u32,
    cut_to=u32,
    dirfd=st.just(-100),
    path_flags=st.just(0),
    comm=texts,
    parent_comm=texts,
    filename=st.none() | st.lists(names).map(b"/".join),
    interpreter=st.none() | st.lists(names).map(b"/".join),
    tty=st.none() | texts.filter(lambda text: not text.startswith(b"pts")),
    cgroup=paths,
    cwd=paths,
    exe=paths,
    root=st.none() | paths,
    mnt_ns=u32,
    traced=u32,
)


_SAME = (
    "uid", "gid", "euid", "egid", "comm", "parent_comm", "filename", "interpreter", "inode", "device", "nlink", "gained",
)  # fmt: skip


def _path(components: tuple[bytes, ...]) -> bytes:
    return b"/" + b"/".join(reversed(components))


@given(heads, facts, st.binary(max_size=50), st.sampled_from([wirebytes.EXEC, wirebytes.FAILED]))
def test_a_first_record_comes_back_as_it_was_packed(head: Head, fact: Facts, argv: bytes, kind: int) -> None:
    """Every number, string and argv byte of a first record is read from its place."""
    piece, decoded = wire.decode(wirebytes.first(kind, head, fact, argv))

    assert piece == (
        head.boot_ns, head.tid, head.pid, head.seq, kind == wirebytes.FAILED, head.total, head.argc,
        head.offset, head.missing, head.flags, argv,
    )  # fmt: skip
    assert decoded is not None
    assert (wire.Image(*fact.parent), bool(fact.replaces)) == (decoded.parent, decoded.replaces)
    assert (fact.caller_tid, fact.ppid, -fact.ret) == (decoded.caller_tid, decoded.ppid, decoded.errno)
    assert (fact.cut_from, fact.cut_to) == (decoded.cut_from, decoded.cut_to)
    assert (fact.auid, fact.session) == decoded.origin[:2]
    assert fact.account == decoded.account
    assert (fact.tty, _path(fact.cgroup[::-1])) == wire.decode_origin(decoded.origin)[3:]
    assert wire.decode_launch(decoded.launch) == Launch(
        **{name: getattr(fact, name) for name in _SAME if name != "gained"},
        privileged=Gained(fact.gained & 7),
        cwd=_path(fact.cwd),
        exe=_path(fact.exe),
        root=None if fact.root is None else _path(fact.root),
        mnt_ns=fact.mnt_ns or None,
        traced=fact.traced or None,
    )


@given(heads, heads, facts, facts)
def test_what_execs_share_are_the_same_bytes(head: Head, other: Head, fact: Facts, own: Facts) -> None:
    """A launch and a place are known again by their bytes, whatever is the exec's own."""
    fields = ("parent", "replaces", "caller_tid", "ppid", "ret", "cut_from", "cut_to", "account")
    same = fact._replace(**{name: getattr(own, name) for name in fields})
    one, two = (
        wire.decode(wirebytes.first(wirebytes.EXEC, *each, b"x"))[1] for each in ((head, fact), (other, same))
    )

    assert one is not None
    assert two is not None
    assert (one.launch, one.origin) == (two.launch, two.origin)


@given(heads, facts, facts)
def test_what_differs_are_other_bytes(head: Head, one: Facts, other: Facts) -> None:
    """No two launches and no two places are taken for each other."""
    first, second = (
        wire.decode(wirebytes.first(wirebytes.EXEC, head, each, b""))[1] for each in (one, other)
    )

    assert first is not None
    assert second is not None
    if first.launch == second.launch:
        assert all(
            getattr(one, name) == getattr(other, name)
            for name in (*_SAME, "cwd", "exe", "root", "mnt_ns", "traced")
        )
    if first.origin == second.origin:
        assert (one.auid, one.session, one.tty, one.cgroup) == (
            other.auid, other.session, other.tty, other.cgroup,
        )  # fmt: skip


@given(heads, st.tuples(times, tasks), u32)
def test_an_end_comes_back_as_it_was_packed(head: Head, image: tuple[int, int], status: int) -> None:
    """An end says when, of which process, what it ran, and its status."""
    record = wirebytes.ended(head, image, status)

    assert wire.is_exit(record)
    assert wire.decode_exit(record) == (head.boot_ns, head.pid, *image, status)


@given(heads, facts, st.sampled_from([wirebytes.EXEC, wirebytes.FAILED]), st.data())
def test_an_exec_is_no_end(head: Head, fact: Facts, kind: int, data: st.DataObject) -> None:
    """Neither an exec's record nor an end that was cut short passes for an end."""
    assert not wire.is_exit(wirebytes.first(kind, head, fact, b"x"))
    whole = wirebytes.ended(head, (1, 2), 3)
    with pytest.raises(wire.WireError):
        wire.decode_exit(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(heads, st.binary(max_size=50), st.sampled_from([wirebytes.EXEC_MORE, wirebytes.FAILED_MORE]))
def test_a_further_record_has_no_facts(head: Head, argv: bytes, kind: int) -> None:
    """A further record carries its piece of the command line and nothing else."""
    piece, decoded = wire.decode(wirebytes.more(kind, head, argv))

    assert decoded is None
    assert (piece.argv, piece.offset, piece.failed) == (argv, head.offset, kind == wirebytes.FAILED_MORE)


@pytest.mark.parametrize(
    "record",
    [
        wirebytes.first(wirebytes.EXEC, Head(boot_ns=2**60), Facts(), b""),
        wirebytes.first(wirebytes.EXEC, Head(pid=2**22), Facts(), b""),
        wirebytes.first(wirebytes.FAILED, Head(tid=2**32 - 1), Facts(), b""),
        wirebytes.first(wirebytes.FAILED, Head(), Facts(caller_tid=2**22), b""),
        wirebytes.first(wirebytes.EXEC, Head(), Facts(parent=(2**64 - 1, 1)), b""),
        wirebytes.first(wirebytes.EXEC, Head(), Facts(parent=(1, 2**22)), b""),
        wirebytes.more(wirebytes.EXEC_MORE, Head(boot_ns=2**60), b"x"),
        wirebytes.more(wirebytes.EXEC_MORE, Head(tid=2**22), b"x"),
        wirebytes.ended(Head(boot_ns=2**60), (1, 1), 0),
        wirebytes.ended(Head(pid=2**22), (1, 1), 0),
        wirebytes.ended(Head(), (2**60, 1), 0),
        wirebytes.ended(Head(), (1, 2**22), 0),
    ],
)
def test_what_no_id_can_name_is_refused(record: bytes) -> None:
    """A time or a task beyond what an id has room for would be taken for another exec's."""
    with pytest.raises(wire.WireError, match="no kernel has"):
        wire.decode_exit(record) if wire.is_exit(record) else wire.decode(record)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_record_raise_the_one_error(noise: bytes) -> None:
    """Whatever comes, decode returns or raises WireError."""
    with contextlib.suppress(wire.WireError):
        piece, _ = wire.decode(noise)
        assert len(piece.argv) <= len(noise)


@given(heads, facts, st.binary(min_size=1, max_size=50), st.data())
def test_a_record_cut_short_is_refused(head: Head, fact: Facts, argv: bytes, data: st.DataObject) -> None:
    """A record that lacks its end is never read as a shorter command line."""
    record = wirebytes.first(wirebytes.EXEC, head, fact, argv)
    cut = record[: data.draw(st.integers(0, len(record) - 1))]

    with pytest.raises(wire.WireError):
        wire.decode(cut)


@given(heads, facts, st.sampled_from([wirebytes.EXEC, wirebytes.FAILED]), st.integers(0, 2**16 - 1))
def test_a_record_of_another_header_is_refused(head: Head, fact: Facts, kind: int, size: int) -> None:
    """A fixed part of another length than ours has other fields in it."""
    record = wirebytes.first(kind, head, fact, b"x")
    other = record[:36] + size.to_bytes(2, "little") + record[38:]

    if other != record:
        with pytest.raises(wire.WireError):
            wire.decode(other)


@pytest.mark.parametrize(
    ("components", "flags", "expected"),
    [
        (b"", 0, b"/"),
        (b"sh\0bin\0", 0, b"/bin/sh"),
        (b"sh\0bin\0", wire.PathFlag.DELETED, b"/bin/sh (deleted)"),
        (b"memfd:x\0", wire.PathFlag.PSEUDO, b"/memfd:x (deleted)"),
        (b"d\0c\0", wire.PathFlag.CUT, b"(cut)/c/d"),
        (b"d\0c\0", wire.PathFlag.CUT | wire.PathFlag.DELETED, b"(cut)/c/d (deleted)"),
        (b"", wire.PathFlag.NONE, None),
        (b"d\0", wire.PathFlag.UNREACHABLE, b"(unreachable)/d"),
        (b"", wire.PathFlag.UNREACHABLE, b"(unreachable)/"),
        (b"d\0", wire.PathFlag.UNREACHABLE | wire.PathFlag.DELETED, b"(unreachable)/d (deleted)"),
    ],
)
def test_paths_read_as_proc_shows_them(components: bytes, flags: int, expected: bytes | None) -> None:
    """Components and flags become what /proc/PID/exe says, and a missing root end is marked."""
    assert expected == wire.path(components, flags)


@pytest.mark.parametrize(
    ("components", "flags", "expected"),
    [
        (b"", 0, b"/"),
        (b"a.slice\0b.scope\0", 0, b"/a.slice/b.scope"),
        (b"a.slice\0b.scope\0", wire.PathFlag.CUT, b"/a.slice/b.scope/(cut)"),
        (b"", wire.PathFlag.CUT, b"/(cut)"),
        (b"", wire.PathFlag.NONE, None),
    ],
)
def test_a_cut_cgroup_keeps_its_root_end(components: bytes, flags: int, expected: bytes | None) -> None:
    """The container's name stands near the root: what is below it is left out, and marked."""
    assert expected == wire.cgroup_path(components, flags)


@pytest.mark.parametrize(
    ("name", "expected"),
    [(b"pts3", b"pts/3"), (b"tty1", b"tty1"), (b"ttyS0", b"ttyS0"), (b"ptsx", b"ptsx"), (b"pts", b"pts")],
)
def test_a_terminal_is_called_as_below_dev(name: bytes, expected: bytes) -> None:
    """The kernel's pts3 is /dev/pts/3; every other terminal has one name."""
    assert wire.terminal(name) == expected


@pytest.mark.parametrize(
    ("dirfd", "filename", "expected"),
    [(-100, b"x", b"x"), (3, b"/x", b"/x"), (3, b"x", b"/dev/fd/3/x"), (3, b"", b"/dev/fd/3")],
)
def test_a_failed_execveat_is_named_as_the_kernel_names_it(
    dirfd: int, filename: bytes, expected: bytes
) -> None:
    """A path relative to a directory descriptor reads as that of a successful execveat does."""
    record = wirebytes.first(wirebytes.FAILED, Head(), Facts(dirfd=dirfd, filename=filename), b"")
    _, decoded = wire.decode(record)

    assert decoded is not None
    assert expected == wire.decode_launch(decoded.launch).filename
