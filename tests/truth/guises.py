"""Start a program that prints its identity, in every guise. This module does not look at records."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.truth.acts import Play, play
from tests.truth.guise_setup import AS_NOBODY, NOBODY, Guises

if TYPE_CHECKING:
    from collections.abc import Callable

LOGGED_IN = NOBODY
NO_NAME = 54_321
"""A uid that has no user."""
ODD_NAME = b"o\x1b\xff \"'(x)\n"
CONTAINER = "0123456789abcdef" * 4
FAILED = "/nonexistent/execaudit-guise"
_ODD_GROUP = b"caf\xe9 (\x1b) x"
_NET_RAW = "cap_net_raw"
_LOGIN = Path("/proc/self/loginuid")


class Guise(NamedTuple):
    """One way to start the program."""

    name: str
    run: Callable[[Guises, str], Play]
    privileged: str | None = None
    interpreter: str | None = None
    """The text of a script; `{}` is the program that prints its identity."""


# ---- users


def _plain(guises: Guises, name: str) -> Play:
    return play(guises.copy(name), "one", "two words")


def _nobody(guises: Guises, name: str) -> Play:
    return guises.as_nobody(guises.copy(name))


def _setpriv(guises: Guises, name: str) -> Play:
    return play("setpriv", "--reuid=1", "--regid=2", "--clear-groups", guises.copy(name))


def _su(guises: Guises, name: str) -> Play:
    return play("su", "-s", guises.copy(name), "nobody")


def _sudo(guises: Guises, name: str) -> Play:
    return play("sudo", "--user=nobody", guises.copy(name))


def _login(guises: Guises, name: str) -> Play:
    uid = str(NO_NAME if name == "login-without-name" else LOGGED_IN)
    # The starter has the login too, not only the program.
    return guises.acts("write", _LOGIN, uid, "fork", "[", "exec", guises.copy(name), "]")


def _login_then_su(guises: Guises, name: str) -> Play:
    return guises.acts("write", _LOGIN, str(LOGGED_IN), "become", "1", "1", "exec", guises.copy(name))


# ---- terminals and parents


def _terminal(guises: Guises, name: str) -> Play:
    pairs = [os.openpty() for _ in range(3)]
    try:
        return play("setsid", "--ctty", "--wait", guises.copy(name), stdin=pairs[-1][1])
    finally:
        for end in (end for pair in pairs for end in pair):
            os.close(end)


def _without_terminal(guises: Guises, name: str) -> Play:
    return guises.acts("fork", "[", "setsid", "exec", guises.copy(name), "]")


def _oddly_named_parent(guises: Guises, name: str) -> Play:
    return guises.acts("name", ODD_NAME, "fork", "[", "exec", guises.copy(name), "]")


def _forked_by_named_thread(guises: Guises, name: str) -> Play:
    program = guises.copy(name)
    return guises.acts(
        "name", "leader", "thread", "[", "name", "forker", "fork", "[", "exec", program, "]", "]"
    )


def _traced(guises: Guises, name: str) -> Play:
    return guises.acts("name", "parent", "traced", "[", "name", "child", "exec", guises.copy(name), "]")


def _sibling(guises: Guises, name: str) -> Play:
    acts = ("fork", "[", "name", "maker", "sibling", "[", "exec", guises.copy(name), "]", "]")
    return guises.acts("name", "parent", *acts, "reap")


def _orphan(guises: Guises, name: str) -> Play:
    return guises.acts("leave", "[", "leave", "[", "orphan", "exec", guises.copy(name), "]", "]")


# ---- cgroups


def _in_unified_group(guises: Guises, name: str) -> Play:
    return guises.in_groups(guises.group(guises.unified, name))


def _in_pids_group(guises: Guises, name: str) -> Play:
    return guises.in_groups(guises.group(guises.pids or guises.unified, name))


def _in_both_groups(guises: Guises, name: str) -> Play:
    groups = [guises.group(root, f"{name}-{root.name}") for root in (guises.unified, guises.pids) if root]
    return guises.in_groups(*groups)


def _in_deep_group(guises: Guises, name: str) -> Play:
    return guises.in_groups(guises.group(guises.unified, name, *(f"level-{n:02}" for n in range(20))))


def _in_oddly_named_group(guises: Guises, name: str) -> Play:
    return guises.in_groups(guises.group(guises.unified, name, os.fsdecode(_ODD_GROUP)))


def _in_container(guises: Guises, name: str) -> Play:
    """Starts it as a container engine does: with new namespaces, in a new cgroup."""
    group = guises.group(guises.unified, name, "docker", CONTAINER)
    unshare = ("unshare", "--pid", "--fork", "--mount", "--uts", "--ipc", "--cgroup", "--mount-proc")
    return guises.acts(
        "host-proc", "write", group / "cgroup.procs", "0",
        "exec", shutil.which(unshare[0]) or "", *unshare[1:], guises.copy(name),
    )  # fmt: skip


def _below_container(guises: Guises, name: str) -> Play:
    """Starts it in cgroups that root in a container may make."""
    part, times = BELOW_CONTAINER[name]
    groups = (part for _ in range(times))
    return guises.in_groups(guises.group(guises.unified, name, "docker", CONTAINER, *groups))


def _in_user_namespace(guises: Guises, name: str) -> Play:
    unshare = shutil.which("unshare") or ""
    return guises.acts(*AS_NOBODY, "exec", unshare, "--user", "--map-root-user", guises.copy(name))


# ---- privileges


def _setid(mode: int) -> Callable[[Guises, str], Play]:
    def run(guises: Guises, name: str) -> Play:
        return guises.as_nobody(guises.setid(name, mode))

    return run


def _setuid_as_root(guises: Guises, name: str) -> Play:
    return play(guises.setid(name, 0o4755))


def _setuid_to_nobody_as_root(guises: Guises, name: str) -> Play:
    return play(guises.setid(name, 0o4755, NOBODY))


def _setuid_to_itself(guises: Guises, name: str) -> Play:
    return guises.as_nobody(guises.setid(name, 0o6755, NOBODY))


def _setuid_twice(guises: Guises, name: str) -> Play:
    """Executes two files; the second gives nothing, because the caller's effective user is root already."""
    first = Path(shutil.copy(guises.programs.acts, guises.suid / f"{name}-first"))
    first.chmod(0o4755)
    return guises.acts(*AS_NOBODY, "exec", first, "exec", guises.setid(name, 0o4755))


def _lowered_root(program: Path) -> Play:
    """Starts it from a caller whose real user is root and whose effective user is not."""
    return play("setpriv", f"--euid={NOBODY}", program)


def _from_lowered_root(guises: Guises, name: str) -> Play:
    return _lowered_root(guises.copy(name))


def _setuid_from_lowered_root(guises: Guises, name: str) -> Play:
    return _lowered_root(guises.setid(name, 0o4755))


def _setuid_without_new_privileges(guises: Guises, name: str) -> Play:
    return guises.acts(*AS_NOBODY, "no-new-privileges", "exec", guises.setid(name, 0o4755))


def _setuid_on_nosuid(guises: Guises, name: str) -> Play:
    return guises.as_nobody(guises.copy(name, 0o4755, guises.nosuid))


def _setuid_script(guises: Guises, name: str) -> Play:
    script = Path(shutil.copy(_script(guises, name, "#!{}\n"), guises.suid))
    script.chmod(0o4755)
    return guises.as_nobody(script)


def _capable(guises: Guises, name: str, flags: str) -> Path:
    program = guises.setid(name, 0o755)
    subprocess.run(["setcap", f"{_NET_RAW}={flags}", program], check=True)
    return program


def _with_capability(guises: Guises, name: str) -> Play:
    return guises.as_nobody(_capable(guises, name, "ep"))


def _with_capability_to_take(guises: Guises, name: str) -> Play:
    return guises.as_nobody(_capable(guises, name, "p"))


def _with_capability_twice(guises: Guises, name: str) -> Play:
    """Executes two files; the second gives capabilities that its caller has in its permitted set."""
    first = Path(shutil.copy(guises.programs.acts, guises.suid / f"{name}-first"))
    subprocess.run(["setcap", f"{_NET_RAW}=ep", first], check=True)
    return guises.acts(*AS_NOBODY, "exec", first, "exec", _capable(guises, name, "ep"))


def _with_capability_without_new_privileges(guises: Guises, name: str) -> Play:
    return guises.acts(*AS_NOBODY, "no-new-privileges", "exec", _capable(guises, name, "ep"))


def _with_capability_as_root(guises: Guises, name: str) -> Play:
    return play(_capable(guises, name, "ep"))


def _with_ambient_capability(guises: Guises, name: str) -> Play:
    caps = f"+{_NET_RAW.removeprefix('cap_')}"
    return play(
        "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
        "--inh-caps", caps, "--ambient-caps", caps, guises.copy(name),
    )  # fmt: skip


# ---- images


def _script(guises: Guises, name: str, content: str) -> Path:
    program = guises.copy(f"{name}-interpreter")
    path = guises.folder / name
    path.write_text(content.format(program))
    path.chmod(0o755)
    return path


def _as_script(guises: Guises, name: str) -> Play:
    return play(_script(guises, name, "#! {} -e with words\n"))


def _as_script_of_script(guises: Guises, name: str) -> Play:
    inner = _script(guises, f"{name}-inner", "#!{}\n")
    return play(_script(guises, name, f"#!{inner} -x\n"))


def _as_relative_script(guises: Guises, name: str) -> Play:
    guises.copy(f"{name}-interpreter")
    return play(_script(guises, name, f"#!./{name}-interpreter\n"), cwd=guises.folder)


def _hard_link(guises: Guises, name: str) -> Play:
    program = guises.folder / name
    program.hardlink_to(guises.copy(f"{name}-other"))
    return play(program)


def _deleted(guises: Guises, name: str) -> Play:
    path = guises.copy(name)
    file = os.open(path, os.O_RDONLY)
    path.unlink()
    return _started_by_descriptor(file)


def _in_memory(guises: Guises, name: str) -> Play:
    file = os.memfd_create(name)
    os.write(file, guises.programs.introspect.read_bytes())
    return _started_by_descriptor(file)


def _started_by_descriptor(file: int) -> Play:
    try:
        return play(f"/proc/self/fd/{file}", pass_fds=[file])
    finally:
        os.close(file)


# ---- failures


def _after_failure(guises: Guises, name: str) -> Play:
    """Makes an exec fail in a guise, and the next one succeed."""
    group = guises.group(guises.unified, name)
    ours, theirs = os.openpty()
    acts = (
        "write", _LOGIN, str(LOGGED_IN), "write", group / "cgroup.procs", "0", "name", "parent",
        "fork", "[", *AS_NOBODY, "fail", FAILED, name, "exec", guises.copy(name), "]",
    )  # fmt: skip
    try:
        return play("setsid", "--ctty", "--wait", guises.programs.acts, *acts, stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)


FROM_LOWERED_ROOT = "setuid-from-lowered-root"
"""Guises that give privileges which the real user had all the time, so the kernel does not set AT_SECURE."""
AFTER_FAILURE = "after-failure"
IN_CONTAINER = "in-container"
BELOW_CONTAINER = {"in-long-groups": ("g" * 240, 6), "in-very-deep-groups": ("g", 100)}
"""Names of nested cgroups whose path is longer, or deeper, than the record keeps."""
IN_USER_NAMESPACE = "in-user-namespace"
GUISES = {
    guise.name: guise
    for guise in (
        Guise("plain", _plain),
        Guise("nobody", _nobody),
        Guise("setpriv", _setpriv),
        Guise("su", _su),
        Guise("sudo", _sudo),
        Guise("login", _login),
        Guise("login-without-name", _login),
        Guise("login-then-other-user", _login_then_su),
        Guise("terminal", _terminal),
        Guise("without-terminal", _without_terminal),
        Guise("oddly-named-parent", _oddly_named_parent),
        Guise("forked-by-named-thread", _forked_by_named_thread),
        Guise("traced", _traced),
        Guise("sibling", _sibling),
        Guise("orphan", _orphan),
        Guise("in-unified-group", _in_unified_group),
        Guise("in-pids-group", _in_pids_group),
        Guise("in-both-groups", _in_both_groups),
        Guise("in-deep-group", _in_deep_group),
        Guise("in-oddly-named-group", _in_oddly_named_group),
        Guise(IN_CONTAINER, _in_container),
        *(Guise(name, _below_container) for name in BELOW_CONTAINER),
        Guise(IN_USER_NAMESPACE, _in_user_namespace),
        Guise("setuid", _setid(0o4755), "setuid"),
        Guise("setgid", _setid(0o2755), "setgid"),
        Guise("setuid-and-setgid", _setid(0o6755), "setuid,setgid"),
        Guise("setgid-without-group-execute", _setid(0o2745)),
        Guise("setuid-as-root", _setuid_as_root),
        Guise("setuid-to-nobody-as-root", _setuid_to_nobody_as_root, "setuid"),
        Guise("setuid-to-itself", _setuid_to_itself),
        Guise("setuid-twice", _setuid_twice),
        Guise("from-lowered-root", _from_lowered_root),
        Guise(FROM_LOWERED_ROOT, _setuid_from_lowered_root, "setuid"),
        Guise("setuid-without-new-privileges", _setuid_without_new_privileges),
        Guise("setuid-on-nosuid", _setuid_on_nosuid),
        Guise("setuid-script", _setuid_script, None, "{}-interpreter"),
        Guise("with-capability", _with_capability, "capabilities"),
        Guise("with-capability-to-take", _with_capability_to_take, "capabilities"),
        Guise("with-capability-twice", _with_capability_twice),
        Guise("with-capability-without-new-privileges", _with_capability_without_new_privileges),
        Guise("with-capability-as-root", _with_capability_as_root),
        Guise("with-ambient-capability", _with_ambient_capability),
        Guise("script", _as_script, None, "{}-interpreter"),
        Guise("script-of-script", _as_script_of_script, None, "{}-inner-interpreter"),
        Guise("relative-script", _as_relative_script, None, "./relative-script-interpreter"),
        Guise("hard-link", _hard_link),
        Guise("deleted", _deleted),
        Guise("in-memory", _in_memory),
        Guise(AFTER_FAILURE, _after_failure),
    )
}
