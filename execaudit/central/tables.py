"""The tables of a central database, for every engine. Pure.

One flat row an exec: launches, origins and command lines stand in it. A host's history is a stream, and
`seq` is the row's number there, so (stream, seq) is an exec for good. All texts are bytes, because the
kernel's need not be UTF-8, and may have what an engine's own text type refuses.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from execaudit.fields import LAUNCH_FIELDS, ORIGIN_FIELDS, Form

if TYPE_CHECKING:
    from execaudit.fields import Field


class Type(Enum):
    """What a column holds."""

    BIG = auto()
    """A signed integer of 64 bits."""
    SMALL = auto()
    """A signed integer of 16 bits."""
    BYTES = auto()
    """Any bytes."""
    WORD = auto()
    """Bytes, of which a table has few different values."""


class Column(NamedTuple):
    """A column of a table."""

    name: str
    type: Type
    is_null: bool = False
    """It may be NULL: not known."""


class Table(NamedTuple):
    """A table. Rows of an append-only one never change; of the others the newest version counts."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    """What tells a row from all others."""
    day: str | None = None
    """The column, in nanoseconds since 1970, by whose day the rows are kept together and dropped."""
    is_append_only: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in the order of a row."""
        return tuple(column.name for column in self.columns)


_SMALL = frozenset({Form.GAINED})
_WORDS = frozenset({Form.NAME, Form.COMM, Form.PATH, Form.BYTES})


def _of_field(field: Field) -> Column:
    """Returns the column of a field that many execs share; the value is as the local database has it."""
    kind = Type.WORD if field.form in _WORDS else Type.SMALL if field.form in _SMALL else Type.BIG
    return Column(field.name, kind, is_null=True)


def _not_null(kind: Type, *names: str) -> tuple[Column, ...]:
    return tuple(Column(name, kind) for name in names)


def _null(kind: Type, *names: str) -> tuple[Column, ...]:
    return tuple(Column(name, kind, is_null=True) for name in names)


_KEY = _not_null(Type.BIG, "stream", "seq")
# As in the local table `exec`: a program's end, if it was known when the exec was stored; else see EXIT.
_END = _null(Type.BIG, "duration_ns", "status", "replaced_by")

EXEC = Table(
    "exec",
    (
        *_KEY,
        *_not_null(Type.BIG, "ts", "boot_ns", "run"),
        *_not_null(Type.WORD, "host", "boot_id"),
        *_not_null(Type.SMALL, "kind"),
        *_not_null(Type.BIG, "pid", "tid"),
        *_null(Type.BIG, "ppid", "parent"),
        *map(_of_field, LAUNCH_FIELDS),
        *map(_of_field, ORIGIN_FIELDS),
        *_not_null(Type.BYTES, "argv"),
        *_null(Type.BIG, "argc", "argv_bytes"),
        *_null(Type.SMALL, "truncated"),
        *_null(Type.BYTES, "holes", "redacted"),
        *_null(Type.BIG, "errno"),
        *_END,
    ),
    key=("stream", "seq"),
    day="ts",
)
"""`parent` and `replaced_by` are seqs of the same stream, `run` an id of RUN. `kind` and `truncated` are
database.enum_codes; `holes` and `redacted` are JSON, NULL where the command line is whole (local `truncated`
NULL); argc and argv_bytes are there for every exec. `tid` is the pid where the local column is NULL."""

EXIT = Table(
    "exit",
    (
        *_KEY,
        *_not_null(Type.BIG, "ts", "id"),
        *_not_null(Type.BIG, "duration_ns"),
        *_null(Type.BIG, "status", "replaced_by"),
    ),
    key=("stream", "seq"),
    day="ts",
)
"""An end that came after its exec was stored. `seq` and `ts` are the exec's; `id` grows in the order of
recording."""

HIT = Table(
    "hit",
    (*_KEY, *_not_null(Type.BIG, "ts", "rule", "left_out")),
    key=("stream", "seq", "rule"),
    day="ts",
)
"""What a detection rule hit while it was recorded. `seq` and `ts` are the exec's."""

RULE = Table(
    "rule",
    (
        *_not_null(Type.BIG, "stream", "id"),
        *_null(Type.BYTES, "uuid"),
        *_not_null(Type.BYTES, "title"),
        *_null(Type.BYTES, "level"),
        *_not_null(Type.BYTES, "tags", "file"),
    ),
    key=("stream", "id"),
)

RUN = Table(
    "run",
    (
        *_not_null(Type.BIG, "stream", "id"),
        *_not_null(Type.BYTES, "boot_id", "host", "version"),
        *_not_null(Type.BIG, "started_ns"),
        *_null(Type.BIG, "stopped_ns", "seen_ns"),
    ),
    key=("stream", "id"),
    is_append_only=False,
)

GAP = Table(
    "gap",
    (
        *_not_null(Type.BIG, "stream", "id"),
        *_not_null(Type.BYTES, "host"),
        *_not_null(Type.BIG, "ts_from", "ts_to"),
        *_not_null(Type.BYTES, "reason"),
        *_null(Type.BIG, "count"),
        *_not_null(Type.BIG, "exits"),
        *_null(Type.BIG, "uid"),
    ),
    key=("stream", "id"),
)
"""Ids below zero are gaps of the forwarder: what was pruned on the host before it could be shipped."""

PRUNED = Table(
    "pruned",
    (
        *_not_null(Type.BIG, "stream", "id", "at_ns", "top", "ts_from", "ts_to", "execs"),
        *_not_null(Type.BYTES, "reason"),
        *_not_null(Type.SMALL, "finished"),
    ),
    key=("stream", "id"),
    is_append_only=False,
)
"""What was deleted on the host: all prunings of a kind as one, since the host joins its old ones too. `id` is
the kind's. The central database still has what was shipped before."""

STREAM = Table(
    "stream",
    (
        *_not_null(Type.BIG, "stream"),
        *_not_null(Type.BYTES, "stream_id", "host", "version"),
        *_not_null(Type.BIG, "epoch", "first_ns", "contact_ns", "last_seq"),
        *_not_null(Type.BIG, "exec_seq", "exit_id", "hit_seq", "run_id", "gap_id", "rule_id"),
        *_null(Type.BIG, "live_run", "lost_ns"),
        *_not_null(Type.BYTES, "continued", "shifts"),
    ),
    key=("stream",),
    is_append_only=False,
)
"""One history of one host.

`stream_id` is `meta.stream_id` in hex, and `epoch` tells copies of a history on several hosts apart;
`stream` is made of both, see stream_number(). `host` and `version` are those of the newest run. `first_ns`
and `contact_ns` are wall clock of the host: when it first and last shipped. `last_seq` is the newest exec of
the host then; `exec_seq`, `exit_id`, `hit_seq`, `run_id`, `gap_id` and `rule_id` say up to which number of
this stream what has arrived. `live_run`, `lost_ns` and `continued` (JSON, a list of seqs) are
query.rows.Recording as it was then.

When the host's file was put back to an older copy, it gives numbers again that were shipped before. What
comes then gets higher ones here, so nothing that was shipped is replaced or hidden: `shifts` (JSON) says
which.
"""

PROGRAM = Table(
    "program",
    (*_not_null(Type.WORD, "exe"), *_not_null(Type.BIG, "stream", "first_ts")),
    key=("exe", "stream"),
    is_append_only=False,
)
"""When a program (exe) was first seen in each stream; the least time counts."""

RETIRED = Table(
    "retired",
    (
        *_not_null(Type.BIG, "stream"),
        *_not_null(Type.BYTES, "host"),
        *_not_null(Type.BIG, "heard_ns", "at_ns"),
    ),
    key=("stream", "host"),
    is_append_only=False,
)
"""A host that its owner took out of service, and each of its streams.

`heard_ns` is the stream's contact_ns as it was then, by the host's clock: when that is another one, or when
there is another stream of the host, it is back. `at_ns` is when it was retired, by the clock of who did it.
"""

HEAD = Table(
    "head",
    (
        *_not_null(Type.BIG, "stream"),
        *_not_null(Type.BYTES, "chain"),
        *_not_null(Type.BIG, "epoch", "at_ns"),
        *_not_null(Type.BYTES, "hash"),
    ),
    key=("stream", "chain", "epoch"),
)
"""A seal of the host's file, as it was when something was shipped: `verify --against` asks for them.

`chain` and `hash` are the texts that a head has (seal.chain.Head), `at_ns` is the host's wall clock.
"""

SEAL_CHAIN = Table(
    "seal_chain",
    (
        *_not_null(Type.BIG, "stream", "id"),
        *_not_null(Type.BYTES, "chain"),
        *_not_null(Type.SMALL, "is_keyed"),
        *_not_null(Type.BYTES, "reason"),
        *_not_null(Type.BIG, "begun_ns"),
    ),
    key=("stream", "id", "chain"),
)
"""A row of the host's `seal_chain`. A history that was put back may give its number again."""

SEAL = Table(
    "seal",
    (
        *_not_null(Type.BIG, "stream", "id", "ts", "number", "place"),
        *_not_null(Type.BYTES, "chain"),
        *_not_null(Type.BIG, "chain_id", "epoch", "at_us", "last_epoch"),
        *_not_null(
            Type.BYTES, "start", "entries", "roots", "runs", "oldest", "gone", "shifts", "before", "hash"
        ),
        *_null(Type.BYTES, "code"),
    ),
    key=("stream", "id"),
    day="ts",
)
"""Entries of the host's seals that follow each other: a piece of a segment; see seal.pieces. `id` counts them
in the order in which they were shipped. `ts` is the wall clock of the last entry."""

SEAL_ACT = Table(
    "seal_act",
    (
        *_not_null(Type.BIG, "stream", "seal", "id", "at_ns"),
        *_not_null(Type.BYTES, "reason"),
        *_not_null(Type.BIG, "execs"),
        *_not_null(Type.BYTES, "pruned", "parts"),
    ),
    key=("stream", "seal", "id"),
)
"""A row of the host's `seal_act`, which has the host's number. `seal` is the piece that seals it."""

SEAL_CHANGE = Table(
    "seal_change",
    (
        *_not_null(Type.BIG, "stream", "seal", "id", "exec"),
        *_null(Type.BIG, "parent_was", "parent_now"),
        *_null(Type.BYTES, "line_was", "line_now"),
    ),
    key=("stream", "seal", "id"),
)
"""A row of the host's `seal_change`, with the host's numbers. `seal` is the piece that seals it."""

DROPPED = Table(
    "dropped",
    _not_null(Type.BIG, "stream", "at_ns", "before_ns", "keep_ns"),
    key=("stream", "at_ns"),
    is_append_only=False,
)
"""What the owner deleted at the centre: all days before `before_ns`. Or else `keep_ns` is above 0: the server
deletes by itself what is as old as that. `stream` is 0: it is of all streams. `at_ns` is when, by the clock
of who did it."""

TABLES = (
    EXEC, EXIT, HIT, RULE, RUN, GAP, PRUNED, STREAM, PROGRAM, RETIRED, HEAD, SEAL_CHAIN, SEAL, SEAL_ACT, SEAL_CHANGE,
    DROPPED,
)  # fmt: skip
OF_THE_OWNER = frozenset({RETIRED, DROPPED})
"""Only the owner of the tables writes into these."""

OLDEST_DAYS, NEWEST_DAYS = 400, 8
"""Rows are kept by the day of their time if it is so long ago, or ahead, when they arrive. Whoever sets a
host's clock decides on its times: of other days there may be any number."""
MOST_SEQ, MOST_PID = 2**40 - 1, 2**22
"""No number of an exec, and no pid, is greater."""

_STREAM_BYTES = 8


def stream_number(stream_id: bytes, epoch: int) -> int:
    """Returns the number of a stream: 63 bits of its 16 random ones, moved on by the epoch."""
    first = int.from_bytes(stream_id[:_STREAM_BYTES], "big")
    return (first + epoch) & (2**63 - 1)
