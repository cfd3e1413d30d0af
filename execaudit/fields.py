"""The table of the record's fields, and the two groups of them that execs share. Pure.

The columns of the database and of queries, JSON, CSV and docs/record.md (tools/record_page.py) are
made from it. A new field is a line in `Launch` or `Origin` and an entry in FIELDS, besides the
probe's struct, `capture.wire` and a migration.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from execaudit.enums import Ended, Gained, GapReason, Kind, Truncated


class Type(str, Enum):
    """The type of a value in JSON."""

    TEXT = "text"
    NUMBER = "number"
    TIME = "time"
    """A text: ISO 8601 in UTC, with nanoseconds."""
    TEXTS = "list of texts"
    PAIRS = "list of pairs"
    """Each a list of two numbers, of which the second may be null."""


class Part(Enum):
    """The part of an event that has a value."""

    EXEC = auto()
    """In the ExecEvent itself."""
    LAUNCH = auto()
    """In its `launch`."""
    ORIGIN = auto()
    """In its `origin`."""
    ARGUMENTS = auto()
    """Computed from its `argv` and `holes`."""
    END = auto()
    """In its `end`."""
    GAP = auto()
    """In a Gap."""


class Form(Enum):
    """The form of a value in an event. It decides how the database stores it and how the record shows it."""

    NUMBER = auto()
    UNSIGNED_64 = auto()
    """A number that may be too large for SQLite and JSON: stored in two's complement, shown as text."""
    TEXT = auto()
    NAME = auto()
    """A user's name. Stored in the dictionary `user`."""
    COMM = auto()
    """The kernel's bytes. Stored in the dictionary `comm`."""
    PATH = auto()
    """The kernel's bytes. Stored in the dictionary `path`."""
    BYTES = auto()
    """The kernel's bytes. Stored in the column itself."""
    WORD = auto()
    """A member of an Enum."""
    GAINED = auto()
    """A Gained: bits. The record shows words."""
    DEVICE = auto()
    """A number. The record shows `major:minor`."""
    ERRNO = auto()
    """A number. The record shows its name."""
    TIME = auto()
    """Nanoseconds since 1970."""
    ID = auto()
    """An ExecKey."""
    CONTAINER = auto()
    """The bytes of a cgroup's path. The record shows the container that it names."""
    TEXTS = auto()
    PAIRS = auto()


_TYPES = {
    Form.NUMBER: Type.NUMBER,
    Form.TIME: Type.TIME,
    Form.TEXTS: Type.TEXTS,
    Form.PAIRS: Type.PAIRS,
}


class Field(NamedTuple):
    """One key of a record."""

    name: str
    part: Part
    form: Form
    null: str | None
    """What null means; None: the value is never null."""
    meaning: str
    example: object
    unit: str | None = None
    values: tuple[str, ...] = ()
    """All possible values, if they are few; several of them can be joined by commas."""
    attribute: str = ""
    """The name of the part's attribute, if it differs from `name`."""

    @property
    def type(self) -> Type:
        """The value's type in JSON."""
        return _TYPES.get(self.form, Type.TEXT)

    @property
    def source(self) -> str:
        """The name of the part's attribute."""
        return self.attribute or self.name


class Launch(NamedTuple):
    """The program, user and directory of an exec. Many execs share it. None: not known."""

    uid: int | None = None
    euid: int | None = None
    gid: int | None = None
    user: str | None = None
    comm: bytes | None = None
    filename: bytes | None = None
    exe: bytes | None = None
    cwd: bytes | None = None
    parent_comm: bytes | None = None
    interpreter: bytes | None = None
    inode: int | None = None
    device: int | None = None
    """major << 20 | minor"""
    nlink: int | None = None
    privileged: Gained | None = None
    root: bytes | None = None
    mnt_ns: int | None = None
    traced: int | None = None
    egid: int | None = None


class Origin(NamedTuple):
    """Where an exec came from: login, terminal, cgroup. Many execs share it. None: not known, or unset."""

    auid: int | None = None
    session: int | None = None
    login_user: str | None = None
    tty: bytes | None = None
    cgroup: bytes | None = None


UNKNOWN_LAUNCH, UNKNOWN_ORIGIN = Launch(), Origin()

_UNKNOWN = "not known"
_NOT_ENDED = "see `ended`"

FIELDS = (
    Field("id", Part.EXEC, Form.ID, None, "The exec's own id, unique across hosts and boots.", "248h24003tbaeqy8g005yy", attribute="key"),
    Field(
        "parent_id", Part.EXEC, Form.ID, "no exec led to it, or that one is not in the history",
        "The id of the exec that led to this one: what this process ran before, or what the process that it was forked from ran. Where the third group of `boot_id` begins with 8, it was inferred.",
        "248h24001p4c1e0a0000pj", attribute="parent",
    ),
    Field(
        "time", Part.EXEC, Form.TIME, None, "When the exec took effect, or failed. Of a snapshot: when recording began.",
        "2026-11-23T03:12:31.402000000Z", attribute="time_ns",
    ),
    Field("host", Part.EXEC, Form.TEXT, None, "The name of the machine.", "web1"),
    Field("boot_id", Part.EXEC, Form.TEXT, None, "The kernel's id of the boot, a UUID. Its third group begins with 4; with 8, the exec was imported from a log that does not name the boot.", "11111111-2222-4333-8444-555555555555"),
    Field(
        "kind", Part.EXEC, Form.WORD, None,
        "`exec`: a program started. `failed`: the kernel refused to start it. `snapshot`: it ran already when recording began.",
        "exec", values=tuple(kind.value for kind in Kind),
    ),
    Field("pid", Part.EXEC, Form.NUMBER, None, "The process id, as the host sees it (initial pid namespace).", 6110),
    Field("tid", Part.EXEC, Form.NUMBER, None, "The thread that called execve. Usually the pid.", 6110),
    Field("ppid", Part.EXEC, Form.NUMBER, _UNKNOWN, "The parent process at that moment; 0 of the first process.", 722),
    Field("uid", Part.LAUNCH, Form.NUMBER, _UNKNOWN, "The user id after the exec. Of a failed exec: the caller's.", 33),
    Field("euid", Part.LAUNCH, Form.NUMBER, _UNKNOWN, "The effective user id after the exec. Of a failed exec: the caller's.", 33),
    Field("gid", Part.LAUNCH, Form.NUMBER, _UNKNOWN, "The group id after the exec. Of a failed exec: the caller's.", 33),
    Field(
        "egid", Part.LAUNCH, Form.NUMBER, "not known; of a snapshot too",
        "The effective group id after the exec. Of a failed exec: the caller's.", 33,
    ),
    Field(
        "auid", Part.ORIGIN, Form.NUMBER, "nobody logged in (a service), or not known",
        "The login uid: who logged in. `su` and `sudo` do not change it.", 1001,
    ),
    Field("session", Part.ORIGIN, Form.NUMBER, "as `auid`", "The audit session of that login.", 31),
    Field("user", Part.LAUNCH, Form.NAME, "the uid has no name, or not known", "The name of `uid` on the host when the exec was recorded.", "www-data"),
    Field("login_user", Part.ORIGIN, Form.NAME, "as `user` and `auid`", "The name of `auid` on the host when the exec was recorded.", "deploy"),
    Field("tty", Part.ORIGIN, Form.BYTES, "there is none, or not known", "The controlling terminal, without `/dev/`.", "pts/3"),
    Field(
        "comm", Part.LAUNCH, Form.COMM, _UNKNOWN, "The command name that the kernel keeps, 15 bytes at most. Of a failed exec: the caller's.", "sh",
    ),
    Field("parent_comm", Part.LAUNCH, Form.COMM, _UNKNOWN, "The command name of the process `ppid`.", "php-fpm8.2"),
    Field("filename", Part.LAUNCH, Form.PATH, _UNKNOWN, "The path as it was given to execve.", "/bin/sh"),
    Field(
        "interpreter", Part.LAUNCH, Form.PATH, "it is not a script, or not known", "Of a script: the program that its first line names.", "/bin/sh",
    ),
    Field(
        "exe", Part.LAUNCH, Form.PATH, _UNKNOWN,
        "The path of the file that runs, as /proc shows it to the host, whatever the root directory of the process is. ` (deleted)`: the file had no name any more."
        " `/memfd:NAME (deleted)`: the file was only in memory. `(unreachable)/PATH`: its file system is not mounted there any more. Of a failed exec: the caller's.",
        "/usr/bin/dash",
    ),
    Field(
        "inode", Part.LAUNCH, Form.UNSIGNED_64, _UNKNOWN, "The inode number of `exe`. A text, because it can be larger than 2^53, which is what a JSON number keeps.",
        "131191",
    ),
    Field("device", Part.LAUNCH, Form.DEVICE, _UNKNOWN, "The device of `exe`, `major:minor`. On btrfs and overlayfs `stat` shows another one.", "8:1"),
    Field("nlink", Part.LAUNCH, Form.NUMBER, _UNKNOWN, "How many names the file `exe` has. 0: it was deleted, or never had a name.", 1),
    Field(
        "privileged", Part.LAUNCH, Form.GAINED, "nothing, or not known",
        "What the file gave to the process that its caller did not have. Several are joined by commas.",
        "setuid", values=tuple(str(one.name).lower() for one in Gained),
    ),
    Field(
        "traced", Part.LAUNCH, Form.NUMBER, "nobody traced it, or not known",
        "The pid of its tracer at the exec (strace, a debugger), which could have changed the arguments.", 6515,
    ),
    Field("cwd", Part.LAUNCH, Form.PATH, _UNKNOWN, "The working directory.", "/var/www/shop/public"),
    Field(
        "root", Part.LAUNCH, Form.PATH, "the host's root, or not known", "The root directory of the process as the host sees it (containers, chroot).",
        "/var/lib/docker/overlay2/5d0f/merged",
    ),
    Field("mnt_ns", Part.LAUNCH, Form.NUMBER, "the host's, or not known", "The inode number of its mount namespace, as in `/proc/PID/ns/mnt`.", 4026532301),
    Field("argv", Part.ARGUMENTS, Form.TEXTS, None, "The arguments. A byte that is not UTF-8 is shown as `\\xNN`.", ["sh", "-c", "id"]),
    Field("argc", Part.EXEC, Form.NUMBER, _UNKNOWN, "How many arguments the exec had.", 3),
    Field("argv_bytes", Part.EXEC, Form.NUMBER, _UNKNOWN, "How many bytes the arguments had, each with its NUL.", 9, unit="bytes"),
    Field(
        "command", Part.ARGUMENTS, Form.TEXT, None,
        "`argv` as one line that bash would take, safe to show. Where something is missing it says `[...N bytes missing...]`.",
        "sh -c 'ping -c 1; id'",
    ),
    Field(
        "truncated", Part.EXEC, Form.WORD, "`argv` is whole",
        "Why `argv` is not whole. `limit`: cut on purpose. `fault`: memory could not be read. `lost`: the kernel's buffer had no room, or an imported log lacks it.",
        "limit", values=tuple(why.value for why in Truncated),
    ),
    Field(
        "argv_missing", Part.ARGUMENTS, Form.PAIRS, "nothing is missing",
        "`[[index, bytes], ...]`: so many bytes are missing before `argv[index]`; null: an unknown number. The arguments before and after may be incomplete.",
        [[3, 69937]], unit="bytes",
    ),
    Field(
        "redacted", Part.ARGUMENTS, Form.PAIRS, "nothing was replaced",
        "`[[index, offset], ...]`: after so many bytes of `argv[index]` the recorder put a mark, `REDACTED:` and 12 characters, in the place of a secret.",
        [[1, 2]], unit="bytes",
    ),
    Field(
        "errno", Part.EXEC, Form.ERRNO, "the exec succeeded, or not known", "Of a failed exec: the name of the error. `E524` is an error that has no name.",
        "ENOENT",
    ),
    Field("cgroup", Part.ORIGIN, Form.PATH, _UNKNOWN, "The path of the cgroup.", "/system.slice/php8.2-fpm.service"),
    Field(
        "container_id", Part.ORIGIN, Form.CONTAINER, "no container is named in `cgroup`",
        "The id of the innermost container that the path names (docker, containerd, CRI-O, podman), or the name of a machine (systemd-nspawn, LXC).",
        "7d1f2ab30c4e5f60718293a4b5c6d7e8f9012a3b4c5d6e7f8091a2b3c4d5e6f7", attribute="cgroup",
    ),
    Field(
        "ended", Part.END, Form.WORD, "the exec failed; also in each line of the JSON log",
        "`exited`. `signaled`: a signal ended it. `replaced`: its process executed another program. `running`: it had not ended when it was read."
        " `unknown`: its end was lost, or nobody recorded then.",
        "exited", values=tuple(how.value for how in Ended), attribute="how",
    ),
    Field("exit_code", Part.END, Form.NUMBER, _NOT_ENDED, "The exit status of a program that exited, 0 to 255.", 0, attribute="code"),
    Field("exit_signal", Part.END, Form.NUMBER, _NOT_ENDED, "The number of the signal that ended it.", 11, attribute="signal"),
    Field(
        "duration_ns", Part.END, Form.NUMBER, _NOT_ENDED,
        "How long it ran: from the exec to the end of its last thread, or to the exec that replaced it. Of a snapshot: from when recording began.",
        64100000000, unit="nanoseconds",
    ),
    Field("replaced_by", Part.END, Form.ID, _NOT_ENDED, "The id of the exec that replaced it.", "248h24003tf15qn8r005zj"),
    Field(
        "argv_base64", Part.ARGUMENTS, Form.TEXT, "all arguments are UTF-8: then the record has no such key",
        "The exact bytes of the arguments in base64, each ended by a NUL.", "cHJpbnRmAP/+G1sySgA=",
    ),
)  # fmt: skip
"""In the order of JSON and CSV."""

BY_NAME = {field.name: field for field in FIELDS}
ALIASES = {"duration": "duration_ns"}
"""Other names, where people write one."""
LAUNCH_FIELDS = tuple(BY_NAME[name] for name in Launch._fields)
"""The fields of a Launch, in the order of its attributes."""
ORIGIN_FIELDS = tuple(BY_NAME[name] for name in Origin._fields)

GAP_FIELDS = (
    Field("kind", Part.GAP, Form.TEXT, None, "Always `gap`: this tells it from an exec.", "gap", values=("gap",)),
    Field(
        "from", Part.GAP, Form.TIME, "nobody recorded before `to`, and the question has no beginning", "Nothing was missed before.",
        "2026-11-22T23:50:52.000000000Z", attribute="from_ns",
    ),
    Field("to", Part.GAP, Form.TIME, "nobody records now", "Nothing was missed after.", "2026-11-22T23:50:54.500000000Z", attribute="to_ns"),
    Field("host", Part.GAP, Form.TEXT, "nobody ever recorded into this history", "The name of the machine.", "web1"),
    Field("reason", Part.GAP, Form.WORD, None, "Why: see below.", "ring_full", values=tuple(why.value for why in GapReason)),
    Field("count", Part.GAP, Form.NUMBER, "nobody can know", "How many execs are missing.", 1184),
    Field("exits", Part.GAP, Form.NUMBER, None, "How many ends of programs are missing.", 0),
    Field("uid", Part.GAP, Form.NUMBER, "not known, or of several users", "Whose execs they were.", 33),
)  # fmt: skip
"""In the order of JSON and CSV."""

GAP_REASONS = {
    GapReason.RING_FULL: "The recorder was too slow, and the kernel's buffer had no room for more, or a user had taken all of his share. Then `uid` says whose execs they were.",
    GapReason.RECURSION: "The kernel did not call the probe: more execs were under way than its kprobes can follow, or it ran already on that processor. `count` is the most that can be missing.",
    GapReason.STORE_FULL: "The database, or the JSON log, could not be written for longer than memory sufficed (a full disk, a lock, a file system that became read-only), or is at its limit.",
    GapReason.UNSTORABLE: "What was captured could not be understood, stored or written. The recorder's log has the reason.",
    GapReason.RECORDER_STOPPED: "Nobody recorded. After kill -9 it begins with what was stored last, or up to a minute before where nothing happened.",
    GapReason.NOT_FORWARDED: "A central database says it: they were deleted on their host before they were forwarded.",
    GapReason.CLOCK: "The wall clock was stepped between these times. Nothing is missing, but times around it mislead.",
}
"""What each reason of a gap means."""
