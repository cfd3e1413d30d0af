"""Make bundles, take them apart, put others together, and verify them, in this process."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

from execaudit.bundle import archive, check, layout, make
from execaudit.enums import Kind, Truncated
from execaudit.event import Hole, Redaction
from execaudit.exec_id import ExecKey
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.query.local_history import LocalHistory
from execaudit.store.writer import Store
from tests.histories import at, begin_run, make_event, make_exit, make_gap
from tests.seal.histories import KEY, make_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from execaudit.bundle.check import BundleResult
    from execaudit.event import ExecEvent
    from execaudit.seal.chain import Head
    from execaudit.seal.keys import VerificationKey

Files = dict[str, bytes]
"""What is in a bundle, by name, without the manifest."""


def rich_history(path: Path, key: VerificationKey | None = KEY) -> Path:
    """Records what records can be made of, in several transactions. Returns the path."""
    if key is not None:
        make_key(path, key)
    with Store(path) as store:
        begin_run(store)
        shell = make_event(b"sh", seconds=1, pid=100, kind=Kind.SNAPSHOT)
        store.append([shell])
        for batch in range(6):
            store.append([*_batch(shell, batch)], [make_gap(batch, batch + 0.5)])
            ended = make_event(
                b"run", b"%d" % batch, seconds=10 + 10 * batch, pid=1000 + batch, parent=shell.key
            )
            store.append([], exits=[make_exit(ended.key, 15 + 10 * batch, status=batch << 8)])
        store.append([], exits=[make_exit(shell.key, 99)])
        store.end_run(at(1000))
    return path


def _batch(shell: ExecEvent, batch: int) -> Iterator[ExecEvent]:
    seconds = 10 + 10 * batch
    first = make_event(b"run", b"%d" % batch, seconds=seconds, pid=1000 + batch, parent=shell.key)
    yield first
    yield make_event(
        b"\xffraw", b"", seconds=seconds + 1, pid=2000 + batch, parent=first.key, cwd=b"/\xc3\x28"
    )
    yield make_event(b"x" * 300, seconds=seconds + 2, pid=2100 + batch, user=None, login_user="me", auid=7)
    yield make_event(
        b"cut", seconds=seconds + 3, pid=2200 + batch, argc=9, argv_bytes=400, holes=(Hole(4, 396),),
        truncated=Truncated.LIMIT,
    )  # fmt: skip
    yield make_event(
        b"curl", b"REDACTED:0123456789ab", seconds=seconds + 4, pid=2300 + batch, redacted=(Redaction(1, 0),)
    )
    yield make_event(b"no", seconds=seconds + 5, pid=2400 + batch, kind=Kind.FAILED, errno=2)
    # One that replaces the first of the next program's.
    old = make_event(b"old", seconds=seconds + 6, pid=2500 + batch, parent=first.key)
    yield old
    yield make_event(b"new", seconds=seconds + 7, pid=2500 + batch, parent=old.key, replaces=True)


def bundle_of(path: Path, wanted: Filter | None = None, *, is_sparse: bool = False) -> bytes:
    """Returns a bundle of what is wanted of a history."""
    out = io.BytesIO()
    with open_history(path) as connection, find.one_moment(connection):
        make.write(LocalHistory(connection), wanted or Filter(), out, {}, no_bar, is_sparse=is_sparse)
    return out.getvalue()


@contextlib.contextmanager
def no_bar(_label: str, _length: Callable[[], int]) -> Iterator[Callable[[int], None]]:
    """Shows nothing."""
    yield lambda _: None


def files_of(bundle: bytes) -> Files:
    """Returns what is in a bundle."""
    with zipfile.ZipFile(io.BytesIO(bundle)) as opened:
        return {name: opened.read(name) for name in layout.FILES[:-1]}


def manifest_of(files: Files) -> bytes:
    """Returns the manifest for files: whoever changes one can change that too."""
    entries = {
        name: {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()} for name, raw in files.items()
    }
    raw = {"bundle": "execaudit-bundle", "version": 1, "files": entries}
    return json.dumps(raw, separators=(",", ":")).encode() + b"\n"


def put_together(path: Path, files: Files, manifest: bytes | None = None) -> Path:
    """Writes a bundle of these files. Returns the path."""
    with zipfile.ZipFile(path, "w") as made:
        for name, raw in {**files, layout.MANIFEST: manifest or manifest_of(files)}.items():
            made.writestr(name, raw)
    return path


def checked(path: Path, keys: Iterable[VerificationKey] = (KEY,), heads: Iterable[Head] = ()) -> BundleResult:
    """Verifies a bundle."""
    with archive.opened(path) as reader:
        return check.check(reader, keys, heads, lambda _: None)


def lines_of(files: Files, name: str) -> list[dict[str, Any]]:
    """Returns the lines of a file as JSON."""
    return [json.loads(line) for line in files[name].splitlines()]


def with_lines(files: Files, name: str, lines: Iterable[Mapping[str, Any]]) -> Files:
    """Returns the files with other lines in one of them, written as ours are."""
    text = "".join(f"{json.dumps(line, separators=(',', ':'))}\n" for line in lines)
    return {**files, name: text.encode("ascii")}


def key_of(event: ExecEvent) -> ExecKey:
    """Returns what names an exec."""
    return ExecKey(*event.key)
