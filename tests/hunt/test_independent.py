"""The same hits as another implementation: pySigma's own SQLite backend, over a plain table of the records.

The rules below are our own. If the environment variable EXECAUDIT_TEST_SIGMA names a folder with others,
those are compared as well.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import re
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from sigma.backends.sqlite import sqliteBackend
from sigma.collection import SigmaCollection

from tests.commands import execaudit
from tests.histories import make_event, make_history
from tests.hunt.rules import write_rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from execaudit.event import ExecEvent

_PUBLIC = os.environ.get("EXECAUDIT_TEST_SIGMA")
_OWN = {
    "shell": "{ParentImage|endswith: [/nginx, /php-fpm], Image|endswith: [/sh, /bash]}",
    "fetch": r"{a: {Image|endswith: [/curl, /wget]}, b: {CommandLine|contains: [.sh, '-o ', ' *']}, f: {User: root}, condition: a and b and not f}",
    "cron": "{s1: {CommandLine|contains|all: [/etc/cron, tee]}, s2: {CommandLine|re: 'cron(tab)? +-[re]'}, condition: 1 of s*}",
    "hidden": "{Image|re: '/\\.[a-z]+/', CurrentDirectory|startswith: [/tmp, /dev/shm]}",
    "wild": "{CommandLine: ['nc -? /bin/*sh', '*--user=*:*'], ParentCommandLine|startswith: su}",
    "cased": "{CommandLine|contains|cased: [X-Forwarded, LD_PRELOAD], ProcessId|gt: 20}",
    "base64": "{CommandLine|base64offset|contains: [/bin/sh, import os]}",
    "dash": "{CommandLine|windash|contains|all: [' -enc', ' -w ']}",
    "nested": "[{Image|endswith: /id, User|startswith: www}, {CommandLine: '', LogonId: 0}, {ProcessId: [7, 8, 9]}]",
}
_EACH = 40


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The rules' files."""
    folder = tmp_path_factory.mktemp("rules")
    own = [write_rule(folder / f"{name}.yml", detection) for name, detection in _OWN.items()]
    return own + (sorted(Path(_PUBLIC).rglob("*.yml")) if _PUBLIC else [])


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory, rules: list[Path]) -> tuple[Path, list[dict[str, Any]]]:
    """A history with execs that each rule hits, and some that it nearly hits. Every exec has a parent."""
    path = tmp_path_factory.mktemp("history") / "history.db"
    made: list[ExecEvent] = [make_event(b"init", pid=1)]
    for place, file in enumerate(rules):
        for event in _near(file, random.Random(place), len(made)):
            made.append(event._replace(parent=made[max(0, len(made) - 1 - event.pid % 7)].key))
    make_history(path, made)
    return path, execaudit("--db", path, "query").rows()


def _near(file: Path, chance: random.Random, start: int) -> Iterator[ExecEvent]:
    """Yields execs that are made of the values of a rule."""
    found: dict[str, list[str]] = {}
    for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
        _collect(document["detection"], found)
    for number in range(start, start + _EACH):
        chosen = {
            name: chance.sample(found[name], min(len(found[name]), chance.randint(0, 3))) for name in found
        }
        image = _text(chosen, ("Image", "ParentImage"), chance, "/") or "/usr/bin/true"
        line = _text(chosen, ("CommandLine", "ParentCommandLine"), chance, " ")
        yield make_event(
            *[word.encode() for word in line.split(" ")] if line else (),
            seconds=number, pid=number, exe=image.encode(), cwd=(_text(chosen, ("CurrentDirectory",), chance, "/") or "/").encode(),
            user=_text(chosen, ("User",), chance, "") or chance.choice(("root", "alice")), session=chance.randint(0, 1),
        )  # fmt: skip


def _collect(value: Any, found: dict[str, list[str]], name: str = "") -> None:  # noqa: ANN401  # YAML's
    if isinstance(value, dict):
        for key, inner in value.items():
            _collect(inner, found, key.partition("|")[0] if "|" in key or key[:1].isupper() else name)
    elif isinstance(value, list):
        for inner in value:
            _collect(inner, found, name)
    elif name and value is not None:
        found.setdefault(name, []).append(str(value))


def _text(chosen: dict[str, list[str]], names: tuple[str, ...], chance: random.Random, joint: str) -> str:
    words = [word for name in names for word in chosen.get(name, ()) if chance.random() < 0.9]
    if chance.random() < 0.2:
        words += [base64.b64encode(word.encode()).decode() for word in words]
    if chance.random() < 0.3:
        words = [word.swapcase() for word in words]
    return joint.join(re.sub(r"[*?\\]", "x" if chance.random() < 0.5 else "", word) for word in words)


def test_the_hits_are_those_of_another_implementation(
    rules: list[Path], records: tuple[Path, list[dict[str, Any]]]
) -> None:
    """Exec by exec and rule by rule."""
    path, rows = records
    done = execaudit("--db", path, "hunt", "--strict", *rules)
    assert done.status == 0, done.err
    hits = {
        (row["rule"]["id"], row["exec"]["pid"])
        for row in map(json.loads, done.out.splitlines())
        if "rule" in row
    }
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        _fill(connection, rows)
        expected: set[tuple[str, int]] = set()
        unhit: list[Path] = []
        for file in rules:
            collection = SigmaCollection.from_yaml(file.read_text(encoding="utf-8"))
            (rule,) = collection.rules
            (query,) = sqliteBackend().convert(collection)
            pids = connection.execute(
                query.replace("<TABLE_NAME>", "logs").replace("SELECT *", "SELECT ProcessId")
            ).fetchall()
            unhit += [file] * (not pids)
            expected |= {(str(rule.id), pid) for (pid,) in pids}

    assert expected == hits
    # No exec was made for a few, as for a regular expression.
    assert len(unhit) <= len(rules) // 5, unhit


def _fill(connection: sqlite3.Connection, rows: list[dict[str, Any]]) -> None:
    connection.create_function(
        "REGEXP", 2, lambda regex, text: text is not None and bool(re.search(regex, text))
    )
    texts = "Image", "CommandLine", "ParentImage", "ParentCommandLine", "CurrentDirectory", "User"
    # The backend writes a value without wildcards as `=`, and Sigma has no case there either.
    columns = ", ".join(f"{name} COLLATE NOCASE" for name in texts)
    connection.execute(f"CREATE TABLE logs ({columns}, LogonId, ProcessId)")
    by_id = {row["id"]: row for row in rows}
    for row in rows:
        parent = by_id.get(row["parent_id"])
        connection.execute(
            "INSERT INTO logs VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                row["exe"], " ".join(row["argv"]), parent and parent["exe"], parent and " ".join(parent["argv"]),
                row["cwd"], row["user"], row["session"], row["pid"],
            ),
        )  # fmt: skip
