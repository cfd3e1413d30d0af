"""Which container a cgroup belongs to, by the shape of its path. Pure.

Engines put a container's full id, 64 hexadecimal digits, into the name of its cgroup;
systemd-nspawn and LXC the machine's or container's name. The innermost one counts, so that a container in a
container is told from the outer one. What an engine runs beside the container, to watch it,
has a cgroup that looks nearly the same, and is not in it. tests/test_container.py names the
sources of the shapes.
"""

from __future__ import annotations

import re
from functools import lru_cache

from execaudit.escaping import exact

# A component of the path: `ENGINE-ID.scope` is systemd's unit, `ENGINE-ID` is of the cgroupfs
# drivers, and the bare id too: below `docker/`, `podUID/`, a namespace of containerd, or what
# --cgroup-parent named. `SLICE:ENGINE:ID` is runc's when the drivers of the two sides differ.
_ID = re.compile(
    rb"(?:(?:docker|cri-containerd|nerdctl|crio|libpod|libpod-payload)-|[^/]*:[a-z-]+:)?"
    rb"([0-9a-f]{64})(?:\.scope)?"
).fullmatch
_MACHINE = re.compile(rb"(?:machine-(.+)\.scope|systemd-nspawn@(.+)\.service)").fullmatch
# LXC's groups: `lxc.payload.NAME` since 4.0, `lxc.payload/NAME` in a few versions before, and
# `lxc/NAME` in older ones. Where a name is taken already, LXC appends -1, -2, ...; that is left as it is,
# because a container may be called so. A container's monitor has a group beside it, and is not in it.
_LXC = re.compile(rb"lxc\.payload\.(.+)").fullmatch
_LXC_FOLDERS = frozenset({b"lxc", b"lxc.payload"})
# Debian's units for LXC and its socket are no containers: they end like this.
_UNIT = re.compile(rb".+\.(?:service|scope|slice|socket|mount)").fullmatch
_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")
# What systemd-nspawn keeps beside its payload.
_SUPERVISOR = b"supervisor"
# libvirt registers its virtual machines with systemd as well.
_VIRTUAL_MACHINE = b"qemu-"
_ID_DIGITS, _SHORTEST_PREFIX = 64, 4


# A path may have 4 KB, and its user may make many.
@lru_cache(maxsize=512)
def container_id(cgroup: bytes | None) -> str | None:
    """Returns the full id of the container, or the machine's name; None if there is none."""
    if cgroup is None:
        return None
    within = b""
    parts = cgroup.split(b"/")
    for part, above in zip(reversed(parts), [*reversed(parts[:-1]), b""], strict=True):
        if found := _ID(part):
            return exact(found[1])
        if (found := _MACHINE(part)) and within != _SUPERVISOR:
            name = _ESCAPED.sub(lambda code: bytes([int(code[1], 16)]), found[1] or found[2])
            if not name.startswith(_VIRTUAL_MACHINE):
                return exact(name)
        if found := _LXC(part):
            return exact(found[1])
        if above in _LXC_FOLDERS and part and not _UNIT(part):
            return exact(part)
        within = part
    return None


def is_named(container: str | None, text: str) -> bool:
    """Says whether a text names a container: its name, its id, or the id's first four digits or more."""
    if container is None or len(container) != _ID_DIGITS:
        return container == text
    return len(text) >= _SHORTEST_PREFIX and container.startswith(text)
