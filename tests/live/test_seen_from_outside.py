"""What a user does to hide where he runs a program, or which: as the host sees it, on the live kernel."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.commands import NOBODY, PATIENCE
from tests.live.recording import recording

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live.recording import Recorded, Row
    from tests.truth.programs import Programs

_IN_JAIL = "/usr/sbin/sshd"
_BY_CHROOT, _BY_PIVOT, _BY_UNSHARE, _PLAIN = "chroot", "pivot-root", "mount-namespace", "plain"
_CHROOTED_ELSEWHERE = "chroot-in-mount-namespace"
# The mark comes first among the arguments that `acts` ignores: {0} is the jail.
_HIDEOUTS = {
    _PLAIN: "exec {0}/usr/sbin/sshd",
    _BY_CHROOT: f"exec unshare -r chroot {{0}} {_IN_JAIL}",
    _BY_UNSHARE: "exec unshare -rm {0}/usr/sbin/sshd",
    _CHROOTED_ELSEWHERE: f"exec unshare -rm chroot {{0}} {_IN_JAIL}",
    _BY_PIVOT: (
        "exec unshare -rm sh -c 'mount --rbind {0} {0} && cd {0} && pivot_root . old && "
        f'exec {_IN_JAIL} "$@"\' sh'
    ),
}
_LINKS = ("exe", "cwd", "root")


class Seen(NamedTuple):
    """What was run while a recorder ran, and before it."""

    jail: Path
    """The folder that programs took for their root."""
    recorded: Recorded
    rows: list[Row]
    outside: dict[str, dict[str, str]]
    """What /proc says of each sleeper, read from the host, by its mark; `pid` too."""

    def row(self, mark: str) -> Row:
        """Returns the record of a sleeper."""
        kind = "snapshot" if mark.startswith("before") else "exec"
        pid = int(self.outside[mark]["pid"])
        (row,) = (
            row
            for row in self.rows
            if (row["kind"], row["pid"]) == (kind, pid) and row["exe"].endswith("/sshd")
        )
        return row


def _jail(built: Programs) -> Path:
    jail = built.folder / "jail"
    (jail / "usr/sbin").mkdir(parents=True)
    (jail / "tmp").mkdir()
    (jail / "old").mkdir()
    (jail / "tmp").chmod(0o1777)
    shutil.copy(built.acts, jail / _IN_JAIL[1:])
    return jail


@contextlib.contextmanager
def _sleepers(jail: Path, when: str) -> Iterator[dict[str, dict[str, str]]]:
    """Programs that nobody has started in each hideout, until the end; what /proc says of them."""
    outside: dict[str, dict[str, str]] = {}
    with contextlib.ExitStack() as undo:
        for name, script in _HIDEOUTS.items():
            mark = f"{when}-{name}"
            ready, done = jail / f"tmp/{mark}-ready", jail / f"tmp/{mark}-done"
            inside = "" if "chroot" in name or name == _BY_PIVOT else str(jail)
            acts = ("touch", f"{inside}/tmp/{ready.name}", "await", f"{inside}/tmp/{done.name}")
            process = undo.enter_context(
                subprocess.Popen(
                    ["sh", "-c", f'{script.format(jail)} "$@"', "sh", *acts],
                    cwd=jail, user=NOBODY, group=NOBODY, extra_groups=[],
                )
            )  # fmt: skip
            undo.callback(done.touch)
            deadline = time.monotonic() + PATIENCE
            while not ready.exists():
                assert process.poll() is None, mark
                assert time.monotonic() < deadline, mark
                time.sleep(0.01)
            folder = Path(f"/proc/{process.pid}")
            outside[mark] = {name: str((folder / name).readlink()) for name in _LINKS}
            outside[mark] |= {"pid": str(process.pid), "mnt_ns": str((folder / "ns/mnt").readlink())}
        yield outside


@pytest.fixture(scope="module")
def seen(built: Programs, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Sleepers in each hideout before the recorder starts, and while it runs."""
    jail = _jail(built)
    with (
        _sleepers(jail, "before") as before,
        recording(tmp_path_factory.mktemp("outside")) as recorded,
        _sleepers(jail, "during") as during,
    ):
        outside = {**before, **during}
    return Seen(jail, recorded, recorded.rows(), outside)


sleepers = pytest.mark.parametrize(
    "mark", [f"{when}-{name}" for when in ("before", "during") for name in _HIDEOUTS]
)


@sleepers
def test_paths_are_those_that_proc_shows_from_outside(seen: Seen, mark: str) -> None:
    """Neither a chroot nor a mount namespace makes of a program one of the host's."""
    row, outside = seen.row(mark), seen.outside[mark]

    assert (outside["exe"], outside["cwd"]) == (row["exe"], row["cwd"])


@sleepers
def test_root_is_said_where_it_is_not_the_hosts(seen: Seen, mark: str) -> None:
    """The folder as the host sees it; the top of another namespace that shows the host's root is that."""
    is_host = mark.partition("-")[2] in (_PLAIN, _BY_UNSHARE)
    expected = None if is_host else seen.outside[mark]["root"]

    assert expected == seen.row(mark)["root"]


@sleepers
def test_mount_namespace_is_said_where_it_is_not_the_hosts(seen: Seen, mark: str) -> None:
    """By the number that /proc/PID/ns/mnt has."""
    number = int(seen.outside[mark]["mnt_ns"].removeprefix("mnt:[").removesuffix("]"))
    of_the_host = Path("/proc/self/ns/mnt").stat().st_ino

    assert (None if number == of_the_host else number) == seen.row(mark)["mnt_ns"]


def test_chroot_of_a_user_is_found_by_the_path_of_the_host(seen: Seen) -> None:
    """Who looks for the file finds its exec, whatever the program took for its root."""
    row = seen.row(f"during-{_BY_CHROOT}")
    found = seen.recorded.rows("--exe", f"{seen.jail}{_IN_JAIL}")

    assert (f"{seen.jail}{_IN_JAIL}", str(seen.jail), _IN_JAIL) == (row["exe"], row["root"], row["filename"])
    assert row["id"] in {one["id"] for one in found}


def test_detached_mount_is_unreachable(built: Programs, tmp_path: Path) -> None:
    """A path in a mount that is in no tree any more says so, as getcwd(2) does."""
    folder = built.folder / "detached"
    folder.mkdir()
    script = (
        f"mount -t tmpfs none {folder} && cp {built.noop} {folder}/gone && cd {folder} && umount -l . && "
        f"./gone {folder}; ./not {folder}"
    )
    with recording(tmp_path) as recorded:
        _as_nobody("unshare", "-rm", "sh", "-c", script)
    # By its argument: others may be in such a place at the same time.
    ran, failed = (
        [row for row in recorded.rows("--args", str(folder), *filters) if row["cwd"] == "(unreachable)/"]
        for filters in ((), ("--failed",))
    )

    assert "(unreachable)/gone" in {row["exe"] for row in ran}
    assert {"./not"} == {row["filename"] for row in failed}


def test_tracer_is_named(built: Programs, tmp_path: Path) -> None:
    """Who traces a program at its exec can rewrite what it runs: the record says who that was."""
    with recording(tmp_path) as recorded:
        said = _as_nobody(str(built.rewriter), "/bin/sh")
    rows = recorded.rows()
    (rewriter,) = (one for one in rows if one["exe"] == str(built.rewriter))
    # By its parent: others may run this test at the same time.
    (row,) = (
        one
        for one in rows
        if one["argv"][1:] == ["-c", "echo harmless; : rewritten"] and one["parent_id"] == rewriter["id"]
    )

    assert said == "another\n"
    assert row["ppid"] == row["traced"]
    assert (row["ppid"], None) == (rewriter["pid"], rewriter["traced"])


def _as_nobody(*command: str) -> str:
    return subprocess.run(
        command, user=NOBODY, group=NOBODY, extra_groups=[], check=False, stdout=subprocess.PIPE, text=True,
        cwd="/", timeout=PATIENCE,
    ).stdout  # fmt: skip
