"""Migrate a large history from the schema before the last large change, and kill the migration several times.

`python -m bench.upgrade 10000000` makes such a history from one of bench.history, upgrades it, and compares
each exec with the original. For ten million this takes a quarter of an hour, and 6 GB of disk meanwhile.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from itertools import zip_longest
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from bench import history
from execaudit.system import shipped

_COMMAND = str(Path(sys.executable).parent / "execaudit")
_BEFORE = "0003"
_KILLS = 5
_SAME = ("run", "clock", "comm", "path", "argv", "user", "origin", "argv_cut", "seg", "gap", "stray_exit")
_OLD_EXECS = (
    "INSERT INTO exec (id, ts, clock_id, kind, pid, tid, ppid, uid, euid, gid, user_id, comm_id, filename_id, exe_id, cwd_id,"
    " argv_id, errno, truncated, parent_id, parent_comm_id, origin_id, image_id)"
    " SELECT e.id, e.ts, e.clock_id, e.kind, e.pid, coalesce(e.tid, e.pid), e.ppid, e.uid, l.euid, l.gid, l.user_id, e.comm_id,"
    " l.filename_id, l.exe_id, l.cwd_id, e.argv_id, e.errno, e.truncated, e.parent_id, l.parent_comm_id, e.origin_id, e.launch_id"
    " FROM new.exec AS e LEFT JOIN new.launch AS l ON l.id = e.launch_id ORDER BY e.id"
)
_OLD_EXITS = (
    "INSERT OR IGNORE INTO exit SELECT id, duration_ns, status, replaced_by FROM new.exec WHERE duration_ns IS NOT NULL"
    " UNION ALL SELECT exec_id, duration_ns, status, replaced_by FROM new.exit"
)
_EVERYTHING = (
    "SELECT e.id, e.ts, e.clock_id, e.kind, e.pid, e.tid, e.ppid, e.uid, e.comm_id, e.origin_id, e.argv_id, e.errno, e.truncated,"
    " e.parent_id, coalesce(e.duration_ns, d.duration_ns), iif(e.duration_ns IS NULL, d.status, e.status),"
    " iif(e.duration_ns IS NULL, d.replaced_by, e.replaced_by),"
    " l.uid, l.euid, l.gid, l.user_id, l.comm_id, l.filename_id, l.exe_id, l.cwd_id, l.parent_comm_id, l.interpreter_id,"
    " l.inode, l.device, l.nlink, l.privileged FROM exec AS e LEFT JOIN launch AS l ON l.id = e.launch_id"
    " LEFT JOIN exit AS d ON d.exec_id = e.id ORDER BY e.id"
)


def make_old(new: Path, old: Path) -> None:
    """Writes the content of a history into a new one of the older schema."""
    engine = sa.create_engine(f"sqlite:///{old}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(shipped.folder("migrations")))
        config.attributes["connection"] = connection
        command.upgrade(config, _BEFORE)
    engine.dispose()
    with contextlib.closing(sqlite3.connect(old)) as connection:
        connection.execute("ATTACH ? AS new", (str(new),))
        for table in _SAME:
            columns = ", ".join(row[1] for row in connection.execute(f"PRAGMA main.table_info({table})"))
            connection.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM new.{table}")  # noqa: S608  # ours
        connection.execute(
            "INSERT INTO image SELECT id, inode, device, nlink, privileged, interpreter_id FROM new.launch"
        )
        connection.execute(_OLD_EXECS)
        connection.execute(_OLD_EXITS)
        connection.execute("UPDATE meta SET value = (SELECT value FROM new.meta AS n WHERE n.key = meta.key)")
        connection.commit()


def upgrade(path: Path, seconds: float | None) -> int:
    """Runs `db upgrade`, and kills it after so many seconds. Returns its status."""
    process = subprocess.Popen([_COMMAND, "--db", str(path), "db", "upgrade"])
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(seconds)
    process.kill()
    return process.wait()


def _copied(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        there = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'exec_new'").fetchone()[0]
        return int(connection.execute("SELECT count(*) FROM exec_new").fetchone()[0]) if there else 0


def differences(one: Path, other: Path) -> int:
    """Returns how many execs differ between two histories that have the same dictionaries."""
    with (
        contextlib.closing(sqlite3.connect(one)) as left,
        contextlib.closing(sqlite3.connect(other)) as right,
    ):
        return sum(
            mine != theirs
            for mine, theirs in zip_longest(left.execute(_EVERYTHING), right.execute(_EVERYTHING))
        )


def main(execs: int) -> None:
    """Makes a history of the older schema, migrates it, and prints what happened."""
    kept, _, _ = history.known(execs, print)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        path = Path(folder) / "old.db"
        make_old(kept, path)
        print(f"{execs} execs of schema {_BEFORE}, {path.stat().st_size / 1e6:.0f} MB", flush=True)
        rnd = random.Random(execs)  # noqa: S311  # no secret
        for _ in range(_KILLS):
            seconds = rnd.uniform(0.2, 1) * execs / 250_000
            status = upgrade(path, seconds)
            print(
                f"killed after {seconds:.1f} s (status {status}): {_copied(path)} execs are copied",
                flush=True,
            )
        begun = time.monotonic()
        status = upgrade(path, None)
        took = time.monotonic() - begun
        print(
            f"the last upgrade ended with {status} after {took:.0f} s, {path.stat().st_size / 1e6:.0f} MB",
            flush=True,
        )
        print(f"{differences(kept, path)} of {execs} execs differ", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
