"""Make the test vectors of docs/seals.md: `python3 -m tests.seal.vectors` writes vectors.json.

Bytes are {"bytes": hex} where a value may be of several types, and hex elsewhere.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from execaudit.database.sealed_streams import Stream
from execaudit.enums import Gained
from execaudit.fields import Launch, Origin
from execaudit.seal import chain, codec, tree
from execaudit.seal.chain import Added, ChainRow, Cursors, Entry, RunState
from tests.seal.histories import KEY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from execaudit.seal.codec import Value

PATH = Path(__file__).with_name("vectors.json")
_LAUNCH = Launch(
    uid=33, euid=0, gid=33, user="www-data", comm=b"sh", filename=b"/bin/sh", exe=b"/usr/bin/dash", cwd=b"/\xff", inode=2**63 + 5,
    device=2049, nlink=1, privileged=Gained.SETUID, egid=33,
)  # fmt: skip
_ORIGIN = Origin(auid=1001, session=31, login_user="deploy", tty=b"pts/3", cgroup=b"/user.slice")
_NUMBERS = (7, 1795370919123456789, 123456789, 1, 0, 6110, 6110, 722, None, None, 5, None, 9)
_LINES: tuple[tuple[bytes, tuple[Value, ...] | None], ...] = (
    (b"sh\0-c\0id\0", None),
    (b"sh\0", (1, None, None, "[[3,null]]", None)),
    (b"x" * 256, None),
    (b"x" * 257, None),
    (b"x" * 257, (0, 2, 400, "[[128,143]]", "[[0,1]]")),
)
_ROWS: tuple[tuple[Value, ...], ...] = (
    (1, 7, 1000, 256, None),
    (1, "11111111-2222-4333-8444-555555555555", "web1", "1.0"),
    (-1, -(2**63) + 1, 2**63 - 1, b"", b"\0\xff", "", "\udcff", "é"),
)
_CHAIN = ChainRow(1, KEY.chain, 1, "begun", 1795370919000000000)
_US = 1795370919000000
_ENTRIES = (
    (
        Entry(0, _US, (RunState(1, _US * 1000 - 5, None, None),), (Added(Stream.RUN, 1, 1, 1),)),
        [[b"\1" * 32]],
    ),
    (
        Entry(
            1,
            _US - 3,
            (RunState(1, _US * 1000 - 5, _US * 1000, _US * 1000),),
            (Added(Stream.EXEC, 3, 300, 9), Added(Stream.HIT, 1, 300, 0)),
        ),
        [[bytes([at]) * 32 for at in range(9)], []],
    ),
)


def make() -> dict[str, object]:
    """Returns the vectors, as JSON has them."""
    return {
        "key": {"text": KEY.to_text(), "chain": KEY.chain.hex(), "root": KEY.root.hex()},
        "epochs": {str(epoch): KEY.key_of(epoch).hex() for epoch in (0, 1, 2, 1000, 2**40 - 1)},
        "rows": [
            {"row": to_json(row), "bytes": codec.values(row).hex(), "hash": codec.row_hash(row).hex()}
            for row in _ROWS
        ],
        "execs": [_exec(argv, cut) for argv, cut in _LINES],
        "roots": [
            {"leaves": count, "root": tree.root([bytes([at]) * 32 for at in range(count)]).hex()}
            for count in (0, 1, 8, 9, 65)
        ],
        "entries": list(_entries()),
    }


def to_json(row: Iterable[Value]) -> list[object]:
    """Returns values as JSON has them."""
    return [{"bytes": value.hex()} if isinstance(value, bytes) else value for value in row]


def _exec(argv: bytes, cut: tuple[Value, ...] | None) -> dict[str, object]:
    packed = codec.pack_exec(*(codec.NULL if number is None else number for number in _NUMBERS))
    line = codec.line(argv, cut)
    launch, origin = codec.launch_hash(_LAUNCH), codec.origin_hash(_ORIGIN)
    return {
        "numbers": list(_NUMBERS),
        "launch": to_json(codec._as_stored(_LAUNCH, codec._LAUNCH)),
        "origin": to_json(codec._as_stored(_ORIGIN, codec._ORIGIN)),
        "argv": argv.hex(),
        "cut": None if cut is None else to_json(cut),
        "line": line.hex(),
        "hash": codec.exec_hash(packed, launch, origin, line).hex(),
    }


def _entries() -> Iterable[dict[str, object]]:
    before, cursors = chain.BEFORE_ALL, Cursors()
    digest, code = chain.segment_hash(chain.NOTHING, 1, _CHAIN, before, cursors), chain.NOTHING
    yield {
        "segment": 1,
        "chain": to_json(_CHAIN),
        "ends": [cursors[stream] for stream in Stream],
        "hash": digest.hex(),
    }
    for entry, leaves in _ENTRIES:
        raw = chain.to_bytes(entry, before, cursors)
        roots = [tree.root(each) for each in leaves]
        digest = chain.entry_hash(digest, raw, roots)
        code = chain.entry_code(KEY.key_of(entry.epoch), code, digest)
        yield {
            "epoch": entry.epoch,
            "at_us": entry.at_us,
            "runs": [[*run] for run in entry.runs],
            "added": [[int(each.stream), *each[1:]] for each in entry.added],
            "bytes": raw.hex(),
            "roots": [root.hex() for root in roots],
            "hash": digest.hex(),
            "code": code.hex(),
            "head": str(chain.head(KEY.chain, entry.epoch, digest)),
        }
        chain.advance(cursors, entry)
        before = entry


if __name__ == "__main__":
    PATH.write_text(json.dumps(make(), indent=1) + "\n")
