"""The tables, as declarations.

The kernel's texts are BLOBs, because they need not be UTF-8. (Debian's SQLite does not match BLOBs with LIKE
and GLOB; on TEXT these stop at a NUL.) Dictionaries are append-only. Only the writer's memory avoids
duplicates, so a value may have two ids: group by value, never by id. This has more than 400 lines, so that
all tables stand in one place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import (
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    event,
)

from execaudit.database import execs_view
from execaudit.database.field_columns import BLOB_FORMS, column_of
from execaudit.database.sealed_streams import ENDS
from execaudit.fields import LAUNCH_FIELDS, ORIGIN_FIELDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from execaudit.fields import Field

metadata = MetaData()

# One value per row: next_id (see exec.id); stream_id (16 random bytes, made with the file); generation
# (raised when rows are deleted: then the writer forgets the ids that it remembers); argv_grams and argv_used
# (how many chunks these tables have); continued (JSON: the id of the last run, and the execs of earlier runs
# that ran when it began); sealing_older (there while rows of before are sealed); hunted (up to which exec the
# rules of the recorder were run; absent: it has none).
meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)

# One row per recorder, from its start to its orderly stop.
run = Table(
    "run",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("boot_id", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("started_ns", Integer, nullable=False),
    # Wall clock of the orderly stop. NULL: it still records, or it was killed.
    Column("stopped_ns", Integer),
    # Wall clock until which all that it captured is stored. If nothing happens, at most a minute old.
    Column("seen_ns", Integer),
    sqlite_strict=True,
)

# Wall clock minus boot clock, as the recorder measured it: a new row whenever the wall clock was stepped.
# exec.ts minus offset_ns is the boot clock again, which is in the exec's id.
clock = Table(
    "clock",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", Integer, ForeignKey("run.id"), nullable=False),
    Column("offset_ns", Integer, nullable=False),
    sqlite_strict=True,
)


def _dictionary(name: str) -> Table:
    return Table(
        name,
        metadata,
        Column("id", Integer, primary_key=True),
        Column("v", LargeBinary, nullable=False),
        sqlite_strict=True,
    )


comm = _dictionary("comm")
# exe, cwd, filename, interpreter, root and cgroup share this one, because the same paths come in several
# roles.
path = _dictionary("path")
# The captured bytes, each argument ended by a NUL, so that ("",) and () differ.
argv = _dictionary("argv")
# The digest (BLAKE2b, 256 bits: equal digests mean the same line) of lines that are too long for the writer
# to remember. Lines that an earlier schema stored, or that a pruning shortened, have none.
long_argv = Table(
    "long_argv",
    metadata,
    Column("argv_id", Integer, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Index("ix_long_argv_digest", "digest", unique=True),
    sqlite_strict=True,
)
# User names, when they were resolved.
user = _dictionary("user")


def _shared(name: str, fields: Sequence[Field]) -> Table:
    """Returns a table of fields that many execs share. NULL: not known. Migrations add columns at the end."""
    columns = [
        Column(column_of(field), LargeBinary if field.form in BLOB_FORMS else Integer) for field in fields
    ]
    return Table(name, metadata, Column("id", Integer, primary_key=True), *columns, sqlite_strict=True)


# Where execs come from. A login session has a few rows, and each row has thousands of execs.
origin = _shared("origin", ORIGIN_FIELDS)
# The program, user and directory of an exec. They repeat, so an exec refers to them by one number.
# inode is unsigned, in two's complement: from 2**63 on it is negative here.
launch = _shared("launch", LAUNCH_FIELDS)

# `exec` is a word of SQL in some databases; SQLAlchemy quotes it there.
exec_ = Table(
    "exec",
    metadata,
    # The writer gives it in the order of recording, and never twice, even after pruning.
    Column("id", Integer, primary_key=True),
    # Wall clock, ns since 1970. Neither unique nor monotonic: clocks are stepped.
    Column("ts", Integer, nullable=False),
    Column("clock_id", Integer, nullable=False),
    # See enum_codes.KINDS.
    Column("kind", Integer, nullable=False),
    Column("pid", Integer, nullable=False),
    # NULL: the pid.
    Column("tid", Integer),
    Column("ppid", Integer),
    # The launch has these two as well. Here a filter finds them without a look at the launch.
    Column("uid", Integer),
    Column("comm_id", Integer),
    Column("launch_id", Integer),
    Column("origin_id", Integer),
    Column("argv_id", Integer, nullable=False),
    # Positive; NULL for a successful exec.
    Column("errno", Integer),
    # NULL when argv is whole; else see enum_codes.TRUNCATIONS, and argv_cut, which has the totals.
    Column("truncated", Integer),
    # exec.id of the exec that led to this one; always a smaller number.
    Column("parent_id", Integer),
    # How long it ran, if it had ended when it was stored; else NULL, see the table exit.
    Column("duration_ns", Integer),
    # As wait(2) gives it. NULL: the process executed another program.
    Column("status", Integer),
    # exec.id of that program.
    Column("replaced_by", Integer),
    # The rowid is an index's implicit last column, so comm and an id range are one search.
    # There is no index on ts (19 bytes a row; `seg` does its work) and none on argv_id (random writes).
    # Measured, both cost more than they gain.
    Index("ix_exec_comm", "comm_id"),
    Index("ix_exec_pid", "pid"),
    Index("ix_exec_parent", "parent_id"),
    sqlite_strict=True,
)

# The totals of the few execs whose argv is not whole, or was redacted. Those of others can be counted.
argv_cut = Table(
    "argv_cut",
    metadata,
    Column("exec_id", Integer, primary_key=True),
    Column("argc", Integer),
    Column("argv_bytes", Integer),
    # JSON, [[offset in the captured bytes, bytes missing there or null], ...]
    Column("holes", Text, nullable=False),
    # JSON, [[index of the argument, bytes of it before the mark], ...]. NULL: nothing was redacted.
    Column("redacted", Text),
    sqlite_strict=True,
)

# The ends of programs that ended after their exec was stored. A row of exec is never changed; one is added
# here.
exit_ = Table(
    "exit",
    metadata,
    # In the order of recording, and never twice, so ends can be sent on from a number on.
    Column("id", Integer, primary_key=True),
    Column("exec_id", Integer, nullable=False),
    Column("duration_ns", Integer, nullable=False),
    # See exec.
    Column("status", Integer),
    Column("replaced_by", Integer),
    Index("ix_exit_exec", "exec_id", unique=True),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

# Ends of programs whose exec is not in the history, because its records were lost.
stray_exit = Table(
    "stray_exit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("clock_id", Integer, nullable=False),
    # Wall clock of the end, ns since 1970.
    Column("ts", Integer, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("duration_ns", Integer, nullable=False),
    Column("status", Integer, nullable=False),
    # Seals and what is forwarded go by the number: none is given twice.
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

# The time index: a range of ids, and the range of their times. The next batch extends the last row until that
# covers enough ids.
seg = Table(
    "seg",
    metadata,
    Column("id_lo", Integer, primary_key=True),
    Column("id_hi", Integer, nullable=False),
    Column("ts_min", Integer, nullable=False),
    Column("ts_max", Integer, nullable=False),
    sqlite_strict=True,
)

# Times in which execs were missed.
gap = Table(
    "gap",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", Integer, ForeignKey("run.id"), nullable=False),
    Column("ts_from", Integer, nullable=False),
    Column("ts_to", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    # NULL: cannot be known.
    Column("count", Integer),
    # Ends of programs that were missed too.
    Column("exits", Integer, nullable=False, server_default="0"),
    # The user whose execs were lost. NULL: not known, or several users.
    Column("uid", Integer),
    # Seals and what is forwarded go by the number: none is given twice.
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

# Execs that were deleted to keep the history within its limits. A row is a pruning; old rows are joined.
pruned = Table(
    "pruned",
    metadata,
    Column("id", Integer, primary_key=True),
    # Wall clock when it began; the last of several.
    Column("at_ns", Integer, nullable=False),
    # No exec above this number was deleted.
    Column("top", Integer, nullable=False),
    # Wall clock, ns since 1970: execs of this time may be gone.
    Column("ts_from", Integer, nullable=False),
    Column("ts_to", Integer, nullable=False),
    Column("execs", Integer, nullable=False),
    # age or size
    Column("reason", Text, nullable=False),
    # 0: it goes on, or was killed.
    Column("finished", Integer, nullable=False),
    sqlite_strict=True,
)

# Detection rules that hit something while it was recorded, as they were then. They are never deleted.
rule = Table(
    "rule",
    metadata,
    Column("id", Integer, primary_key=True),
    # NULL: it has none.
    Column("uuid", Text),
    Column("title", Text, nullable=False),
    # See event.LEVELS. NULL: it has none.
    Column("level", Text),
    # JSON, a list of texts.
    Column("tags", Text, nullable=False),
    Column("file", Text, nullable=False),
    sqlite_strict=True,
)
# What they hit.
hit = Table(
    "hit",
    metadata,
    Column("exec_id", Integer, primary_key=True),
    Column("rule_id", Integer, primary_key=True),
    # So many hits of the rule before this one were too many, and have no row.
    Column("left_out", Integer, nullable=False),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)


def _index(name: str, column: str) -> Table:
    return Table(
        name,
        metadata,
        Column("id", Integer, primary_key=True),
        Column(column, LargeBinary, nullable=False),
        sqlite_strict=True,
    )


# The index of the texts in command lines. The recorder makes it later than the rows, so it lacks the newest
# rows and may lack any others: meta says how many chunks there are.
# The bitmaps of a chunk of lines, see trigram_bitmap; id is the chunk times CHUNK_ROWS, plus the row.
argv_grams = _index("argv_grams", "bits")
# The lines that a chunk of execs uses, see packed_ids; id is the chunk.
argv_used = _index("argv_used", "ids")

# Seals: see seal.chain and docs/seals.md. A chain is what one key vouches for, or, without a key, nobody.
seal_chain = Table(
    "seal_chain",
    metadata,
    Column("id", Integer, primary_key=True),
    # 16 random bytes.
    Column("chain", LargeBinary, nullable=False),
    # 0 or 1
    Column("is_keyed", Integer, nullable=False),
    # See enums.ChainReason.
    Column("reason", Text, nullable=False),
    # Wall clock, ns since 1970.
    Column("begun_ns", Integer, nullable=False),
    sqlite_strict=True,
)
# A segment of entries; there is an entry for each transaction. The last row grows until it is full.
seal = Table(
    "seal",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("chain_id", Integer, ForeignKey("seal_chain.id"), nullable=False),
    # Of the entry before the first one; and its wall clock, microseconds since 1970.
    Column("epoch", Integer, nullable=False),
    Column("at_us", Integer, nullable=False),
    # Up to which number the rows of each stream are sealed, after the last entry.
    *(Column(name, Integer, nullable=False) for name in ENDS),
    # See chain.to_bytes. Empty: all that was sealed here was pruned.
    Column("entries", LargeBinary, nullable=False),
    # See chain.streams_to_bytes.
    Column("streams", LargeBinary, nullable=False),
    # Of the last entry: its hash, and its code. NULL: the chain has no key.
    Column("hash", LargeBinary, nullable=False),
    Column("code", LargeBinary),
    sqlite_strict=True,
)
# The hashes of rows that a pruning deleted, where others of the same segment are left; see seal.tree.
seal_gone = Table(
    "seal_gone",
    metadata,
    Column("seal_id", Integer, primary_key=True),
    # See chain.Stream.
    Column("stream", Integer, primary_key=True),
    # The last pruning that deleted some of them: a row of seal_act.
    Column("act_id", Integer, nullable=False),
    # See tree.to_bytes.
    Column("parts", LargeBinary, nullable=False),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
# What a pruning changed in an exec that it left: the parent, or the line (see codec.line). Others are NULL.
seal_change = Table(
    "seal_change",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("exec_id", Integer, nullable=False),
    Column("parent_was", Integer),
    Column("parent_now", Integer),
    Column("line_was", LargeBinary),
    Column("line_now", LargeBinary),
    Index("ix_seal_change_exec", "exec_id"),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)
# A transaction of a pruning.
seal_act = Table(
    "seal_act",
    metadata,
    Column("id", Integer, primary_key=True),
    # Wall clock, ns since 1970.
    Column("at_ns", Integer, nullable=False),
    # age, size, or asked: by a person
    Column("reason", Text, nullable=False),
    # How many execs it deleted.
    Column("execs", Integer, nullable=False),
    # The hash of the table `pruned` as it was then.
    Column("pruned", LargeBinary, nullable=False),
    # What it left in seal_gone, see seal.acts.
    Column("parts", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)
# Time stamps of heads, see seal.stamps. No stream that is sealed: an authority's signature vouches for each.
seal_timestamp = Table(
    "seal_timestamp",
    metadata,
    Column("id", Integer, primary_key=True),
    # As text, see chain.Head.
    Column("head", Text, nullable=False),
    # By the authority's clock, ns since 1970; and its name.
    Column("at_ns", Integer, nullable=False),
    Column("authority", Text, nullable=False),
    # DER of a TimeStampResp (RFC 3161).
    Column("reply", LargeBinary, nullable=False),
    sqlite_strict=True,
)


@event.listens_for(metadata, "after_create")
def _add_view(_target: MetaData, connection: Connection, **_: object) -> None:
    """Makes the view: SQLAlchemy's metadata has tables only."""
    connection.exec_driver_sql(execs_view.statement())
