"""What a forwarder of somebody who means harm ships into a stream of its own: the answers of others stay."""

from __future__ import annotations

import json
import random
import re
from typing import TYPE_CHECKING

import psycopg
import pytest

from execaudit.central.tables import (
    EXEC,
    EXIT,
    GAP,
    HIT,
    PROGRAM,
    PRUNED,
    RETIRED,
    RULE,
    RUN,
    SEAL,
    SEAL_ACT,
    SEAL_CHAIN,
    SEAL_CHANGE,
    STREAM,
    TABLES,
    Type,
)
from execaudit.exec_id import boot_prefix, encode_id
from tests.commands import execaudit
from tests.fleet.centre import Centre, ship
from tests.fleet.recording import appended
from tests.fleet.test_central_database import roles
from tests.histories import make_event, make_history

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from execaudit.central.tables import Table
    from tests.fleet.servers import PostgresServer

_NUMBERS = (None, -(2**63), -(2**31), -1, 0, 1, 2, 7, 255, 40_000, 2**31, 2**40, 2**62, 2**63 - 1)
_SMALL = (None, -(2**15), -1, 0, 1, 2, 3, 7, 255, 2**15 - 1)
_TEXTS = (
    None, b"", b"\0", b"\0\0\0", b"a", b"\xff", b"\x1b[2J", b"null", b"[", b"[]", b"{}", b"[[]]", b"[,]", b"[1]", b"[-1]", b"[1e400]",
    b"[[1]]", b"[[1,2]]", b"[[1,2,3]]", b"[[1,null]]", b"[[-1,-1]]", b'[["a","b"]]', b'["a"]', b"[null]", b"NaN", b'{"exec":[[1,2]]}',
    b'{"exec":[[9223372036854775807,1e3]]}', b'{"x":1}', b"[" * 100_000, b"[" + b"9" * 5000 + b"]", b"[[" + b"9" * 5000 + b",1]]", b"a" * 5000,
    b"aaaaaaaa-2222-4333-8444-555555555555", b"aaaaaaaa-\xff\n", b"clock", b"high",
)  # fmt: skip
_VALUES = {Type.BIG: _NUMBERS, Type.SMALL: _SMALL, Type.BYTES: _TEXTS, Type.WORD: _TEXTS}
_ASKED: tuple[tuple[str, ...], ...] = (
    ("query", "--format=jsonl"),
    ("query", "--format=table", "--limit=50"),
    ("query", "--host=good", "--format=jsonl"),
    ("export", "--format=csv"),
    ("stats",),
    ("stats", "--by=host"),
    ("tree",),
    ("fleet", "status"),
    ("fleet", "status", "--format=json"),
)


@pytest.fixture
def users(centre: Centre, postgres: PostgresServer) -> tuple[str, str]:
    """Returns URLs of two forwarders."""
    suffix = centre.url.rpartition("_")[2]
    names = [f"{name}_{suffix}" for name in ("good", "evil")]
    with psycopg.connect(centre.url, autocommit=True) as owner:
        for statement in roles():
            owner.execute(re.sub(r"execaudit_(forward|read)", rf"\1o_{suffix}", statement).encode())
        for name in names:
            owner.execute(f"CREATE ROLE {name} LOGIN IN ROLE forwardo_{suffix}".encode())
    good, evil = (postgres.url(centre.url.rpartition("/")[2], name) for name in names)
    return good, evil


class _Evil:
    """Ships what no forwarder would."""

    def __init__(self, url: str, centre: Centre) -> None:
        self.connection = psycopg.connect(url, autocommit=True)
        ((self.stream,),) = centre.rows("SELECT stream FROM stream WHERE host = 'evil'")
        self.rows = {
            table: [row for row in centre.table(table) if row[table.names.index("stream")] == self.stream]
            for table in TABLES
            if "stream" in table.names
        }
        self.rows[HIT] = [(self.stream, 5, self.rows[EXEC][4][2], 1, 0)]
        self.seq = 1000
        self.taken = 0

    def ship(self, table: Table, odd: Mapping[str, object]) -> None:
        """Adds a row that has odd values; or changes the row, if there is one of each stream."""
        # Of some tables an ordinary history ships nothing.
        plain = [b"" if column.type in (Type.BYTES, Type.WORD) else 0 for column in table.columns]
        row = dict(zip(table.names, [*self.rows[table], plain][0], strict=True)) | {"stream": self.stream}
        self.seq += 1
        if table in (EXEC, EXIT):
            row["seq"] = self.seq
        elif table is HIT:
            # Each hits an exec that is there.
            row["rule"] = self.seq
        elif table in (RUN, GAP, RULE, PRUNED, SEAL, SEAL_ACT, SEAL_CHAIN, SEAL_CHANGE):
            row["id"] = self.seq
        row |= odd
        try:
            if table in (STREAM, PROGRAM):
                said = ", ".join(f'"{name}" = %s' for name in odd)
                done = self.connection.execute(
                    f'UPDATE "{table.name}" SET {said} WHERE "stream" = {self.stream}'.encode(),
                    [*odd.values()],
                )
                self.taken += done.rowcount
                return
            columns = ", ".join(f'"{name}"' for name in row)
            self.connection.execute(
                f'INSERT INTO "{table.name}" ({columns}) VALUES ({", ".join(["%s"] * len(row))})'.encode(),
                [*row.values()],
            )
            self.taken += 1
        except (
            psycopg.DataError,
            psycopg.IntegrityError,
            psycopg.ProgrammingError,
            psycopg.OperationalError,
        ):
            # It is refused.
            return

    def ship_all(self, table: Table) -> None:
        """Ships each odd value of each column."""
        for column in table.columns:
            for value in _VALUES[column.type]:
                self.ship(table, {column.name: value})

    def ship_mixed(self, table: Table, chosen: random.Random) -> None:
        """Ships rows with several odd values."""
        for _ in range(100):
            columns = chosen.sample(table.columns, min(3, len(table.columns)))
            self.ship(table, {each.name: chosen.choice(_VALUES[each.type]) for each in columns})

    def exec_id(self, centre: Centre) -> str:
        """Returns the id of an exec that was hit by odd rules."""
        ((boot_ns, pid, boot),) = centre.rows(
            "SELECT boot_ns, pid, boot_id FROM exec WHERE stream = %s AND seq = 5", self.stream
        )
        return encode_id((boot_prefix(boot.decode()), boot_ns, pid))


def _prepared(centre: Centre, users: Sequence[str], folder: Path) -> dict[tuple[str, ...], bytes]:
    """Ships two histories. Returns the answers about the good one."""
    good, evil = (folder / f"{name}.db" for name in ("good", "evil"))
    make_history(good, [make_event(b"a", b"%d" % n, seconds=n, pid=n, host="good") for n in range(1, 9)])
    appended(evil, 1, 20)
    for path, url in zip((good, evil), users, strict=True):
        ship(path, url)
    with psycopg.connect(centre.url, autocommit=True) as owner:
        owner.execute("UPDATE stream SET host = 'evil' WHERE host <> 'good'")
    return _answers(centre)


def _answers(centre: Centre) -> dict[tuple[str, ...], bytes]:
    """Returns what commands say of the good host. None of them fails."""
    found: dict[tuple[str, ...], bytes] = {}
    for command in _ASKED:
        done = execaudit(f"--db={centre.url}", *command)
        assert b"Traceback" not in done.err, (command, done.err.decode(errors="replace")[-3000:])
        assert done.status in ({0, 1} if command[0] == "fleet" else {0}), (command, done.err[-2000:])
        assert b"\x1b[2J" not in done.out + done.err
        if command == ("query", "--format=jsonl"):
            lines = [line for line in done.out.splitlines() if json.loads(line).get("host") == "good"]
            found[command] = b"\n".join(lines)
        elif "--host=good" in command:
            found[command] = done.out
    return found


def test_odd_values_of_one_host_change_no_answer_about_another(
    centre: Centre, users: tuple[str, str], tmp_path: Path
) -> None:
    """Whatever stands in the columns that a forwarder may write to: one that is odd, and several at once."""
    before = _prepared(centre, users, tmp_path)
    evil = _Evil(users[1], centre)
    chosen = random.Random(16)  # no secret
    with evil.connection:
        for table in TABLES:
            if table is not RETIRED:
                evil.ship_all(table)
                evil.ship_mixed(table, chosen)
    assert evil.taken > 500

    after = _answers(centre)
    assert before == after
    shown = execaudit(f"--db={centre.url}", "show", evil.exec_id(centre))
    assert shown.status in {0, 1}
    assert b"Traceback" not in shown.err
