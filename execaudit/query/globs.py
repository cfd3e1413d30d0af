"""What a glob was meant to match, where the kernel writes names in another way. Pure.

A command name is cut to 15 bytes; the paths of images and directories are absolute and without links.
"""

from __future__ import annotations

import fnmatch
import re
from functools import lru_cache
from posixpath import normpath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

COMM_BYTES = 15
"""TASK_COMM_LEN, without the NUL at its end."""
# As compiled() reads them. Each of them but the star is a byte at least.
_TOKEN = re.compile(rb"\*|\?|\[[!^]?\]?[^]]*\]|.", re.DOTALL)
_WILD = re.compile(rb"[*?\[]")


@lru_cache(maxsize=1024)
def compiled(glob: bytes) -> re.Pattern[str]:
    """Returns what matches whole texts, decoded with `surrogateescape`."""
    # fnmatch negates a set with ! alone, shells with ^ too. An open bracket is only itself.
    text = glob.decode("utf-8", "surrogateescape")
    shell = re.sub(r"\[([!^]?)(\]?[^]]*\])", lambda part: f"[{part[1] and '!'}{part[2]}", text)
    return re.compile(fnmatch.translate(shell))


def matching(given: tuple[bytes, ...]) -> Callable[[bytes], bool]:
    """Returns the function that says whether one of the globs matches a whole text."""
    plain = frozenset(glob for glob in given if not _WILD.search(glob))
    wild = [compiled(glob) for glob in given if _WILD.search(glob)]

    def matches(text: bytes) -> bool:
        if text in plain:
            return True
        decoded = text.decode("utf-8", "surrogateescape")
        return any(pattern.match(decoded) for pattern in wild)

    return matches


def matching_names(given: Sequence[str]) -> Callable[[str], bool]:
    """Returns the function that says whether one of the globs matches a name as a whole."""
    matches = matching(tuple(map(_bytes, given)))
    return lambda name: matches(_bytes(name))


def is_wild(glob: str) -> bool:
    """Says whether a glob can match other texts than itself."""
    return _WILD.search(_bytes(glob)) is not None


def literal(text: str) -> str:
    """Returns the glob that matches this text alone."""
    return re.sub(r"[*?\[]", r"[\g<0>]", text)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def tokens(glob: bytes) -> list[bytes]:
    """Returns what a glob is made of: wildcards, sets of characters, and single bytes."""
    return _TOKEN.findall(glob)


def is_wildcard(token: bytes) -> bool:
    """Says whether a token of a glob stands for more than itself."""
    return token in (b"*", b"?") or len(token) > 1


def of_comm(glob: bytes) -> tuple[bytes, ...]:
    """Returns the globs for a command's name; none if no name can match. Of a path, its last part counts."""
    names = [glob]
    if re.match(rb"\.{0,2}/", glob):
        names.append(glob.rpartition(b"/")[2])
    cut = (_cut(name) for name in names)
    return tuple(dict.fromkeys(name for name in cut if name or not glob))


def _cut(glob: bytes) -> bytes:
    """Returns what is left of a glob for a name that the kernel has cut; nothing if nothing can match it."""
    parts = tokens(glob)
    stars = [place for place, token in enumerate(parts) if token == b"*"]
    before = stars[0] if stars else len(parts)
    if before >= COMM_BYTES:
        return b"".join(parts[:COMM_BYTES])
    return glob if len(parts) - len(stars) <= COMM_BYTES else b""


def of_image(glob: bytes, *, here: bytes, real: Callable[[bytes], bytes]) -> tuple[bytes, ...]:
    """Returns the globs for the path of an image.

    `here`: the directory of who asks. `real` gives a path without links.
    """
    return _of_absolute(_within(glob), here, real)


def of_directory(glob: bytes, *, here: bytes, real: Callable[[bytes], bytes]) -> tuple[bytes, ...]:
    """Returns the globs for the path of a directory."""
    return _of_absolute(glob.rstrip(b"/") or glob[:1], here, real)


def of_cgroup(glob: bytes) -> tuple[bytes, ...]:
    """Returns the globs for the path of a cgroup, whose last part will do."""
    glob = glob.rstrip(b"/") or glob[:1]
    return (_anywhere(glob),)


def of_filename(glob: bytes) -> tuple[bytes, ...]:
    """Returns the globs for the path that was asked for, which may be relative; its last part will do."""
    glob = _within(glob)
    return tuple(dict.fromkeys((glob, _anywhere(glob))))


def as_asked(globs: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Returns globs for images as globs for paths that were asked for: those may be relative."""
    return tuple(dict.fromkeys([*globs, *(glob[2:] for glob in globs if glob.startswith(b"*/"))]))


def _within(glob: bytes) -> bytes:
    """Returns the glob for everything in a directory, which ends with a slash."""
    return glob + b"*" if glob.endswith(b"/") else glob


def _anywhere(glob: bytes) -> bytes:
    """Returns the glob for a name in whichever directory."""
    return glob if not glob or glob[:1] in b"/*?[" else b"*/" + glob


def _of_absolute(glob: bytes, here: bytes, real: Callable[[bytes], bytes]) -> tuple[bytes, ...]:
    if glob in (b".", b"..") or glob.startswith((b"./", b"../")):
        glob = _resolved(here + b"/" + glob, normpath)
    glob = _anywhere(glob)
    return tuple(dict.fromkeys((glob, _resolved(glob, real)))) if glob.startswith(b"/") else (glob,)


def _resolved(glob: bytes, real: Callable[[bytes], bytes]) -> bytes:
    """Returns a glob in which the directories before the first wildcard are as `real` has them."""
    wild = _WILD.search(glob)
    if wild is None:
        return _single(real(glob))
    head, slash, _ = glob[: wild.start()].rpartition(b"/")
    return _single(real(head or slash)).rstrip(b"/") + glob[len(head) :]


def _single(path: bytes) -> bytes:
    return b"/" + path.lstrip(b"/")
