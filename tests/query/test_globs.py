"""What a glob was meant to match."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.query import globs

LINKS = {b"/bin": b"/usr/bin", b"/usr/bin/vi": b"/usr/bin/vim.basic"}


def real(path: bytes) -> bytes:
    """Returns a path without the links that there are."""
    for link, target in LINKS.items():
        if path == link or path.startswith(link + b"/"):
            return real(target + path[len(link) :])
    return path


@pytest.mark.parametrize(
    ("glob", "meant"),
    [
        (b"curl", (b"curl",)),
        (b"", (b"",)),
        (b"swapper/0", (b"swapper/0",)),
        (b"systemd-journald", (b"systemd-journal",)),
        (b"systemd-journald*", (b"systemd-journal",)),
        (b"systemd-journal*", (b"systemd-journal",)),
        (b"systemd-journa*", (b"systemd-journa*",)),
        (b"systemd-[j]ournald", (b"systemd-[j]ournal",)),
        (b"s*-a-long-name-that-ends", ()),
        (b"/usr/bin/curl", (b"/usr/bin/curl", b"curl")),
        (b"/usr/lib/systemd/systemd-journald", (b"/usr/lib/system", b"systemd-journal")),
        (b"./curl", (b"./curl", b"curl")),
        (b"*", (b"*",)),
    ],
)
def test_of_comm(glob: bytes, meant: tuple[bytes, ...]) -> None:
    """The kernel cuts a name to 15 bytes, and keeps no directory."""
    assert meant == globs.of_comm(glob)


@given(st.text("ab", min_size=1, max_size=30), st.text("ab*?", max_size=30))
def test_a_name_is_found_as_the_kernel_has_it(name: str, glob: str) -> None:
    """A glob that matches a name matches what is left of it, unless its own end says more than is left."""
    meant = globs.of_comm(glob.encode())
    cut = name[: globs.COMM_BYTES]
    found = any(fnmatchcase(cut, each.decode()) for each in meant)

    if fnmatchcase(name, glob) and (len(name) <= globs.COMM_BYTES or "*" not in glob):
        assert found
    if not meant:
        assert not fnmatchcase(cut, glob)


@pytest.mark.parametrize(
    ("glob", "meant"),
    [
        (b"/usr/bin/curl", (b"/usr/bin/curl",)),
        (b"/bin/curl", (b"/bin/curl", b"/usr/bin/curl")),
        (b"/bin/c*", (b"/bin/c*", b"/usr/bin/c*")),
        (b"/bin/vi", (b"/bin/vi", b"/usr/bin/vim.basic")),
        (b"/bin/", (b"/bin/*", b"/usr/bin/*")),
        (b"//bin/x", (b"//bin/x", b"/bin/x")),
        (b"/*", (b"/*",)),
        (b"true", (b"*/true",)),
        (b"bin/true", (b"*/bin/true",)),
        (b"*/true", (b"*/true",)),
        (b"?bin", (b"?bin",)),
        (b"./x", (b"/home/a/x",)),
        (b"../x*", (b"/home/x*",)),
        (b"", (b"",)),
    ],
)
def test_of_image(glob: bytes, meant: tuple[bytes, ...]) -> None:
    """The kernel has absolute paths without links."""
    assert meant == globs.of_image(glob, here=b"/home/a", real=real)


@pytest.mark.parametrize(
    ("glob", "meant"),
    [
        (b"/srv/", (b"/srv",)),
        (b"/", (b"/",)),
        (b"//", (b"/",)),
        (b".", (b"/home/a",)),
        (b"..", (b"/home",)),
        (b"src/", (b"*/src",)),
        (b"/bin/", (b"/bin", b"/usr/bin")),
        (b"", (b"",)),
    ],
)
def test_of_directory(glob: bytes, meant: tuple[bytes, ...]) -> None:
    """A slash at its end says nothing."""
    assert meant == globs.of_directory(glob, here=b"/home/a", real=real)


def test_of_cgroup() -> None:
    """Its last part will do."""
    assert [(b"/user.slice",), (b"*/ssh.service",), (b"/",), (b"/docker/*",)] == [
        globs.of_cgroup(glob) for glob in (b"/user.slice/", b"ssh.service", b"/", b"/docker/*")
    ]


def test_of_filename() -> None:
    """It may be relative, and has links as it was asked for."""
    assert [(b"true", b"*/true"), (b"./x", b"*/./x"), (b"/bin/x",), (b"/opt/*",)] == [
        globs.of_filename(glob) for glob in (b"true", b"./x", b"/bin/x", b"/opt/")
    ]


def test_as_asked() -> None:
    """What may be in any directory may be in the caller's."""
    assert (b"*/x", b"/bin/y", b"x") == globs.as_asked((b"*/x", b"/bin/y"))
