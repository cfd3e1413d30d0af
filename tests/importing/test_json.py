"""`execaudit import` of lines of JSON: our own, ECS, Tetragon's."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.event import Redaction
from execaudit.importing import ecs_documents, own_records
from execaudit.importing.importer import Importer
from execaudit.importing.items import Other, Reject, RejectError, Taken
from execaudit.importing.json_log import JsonReader
from execaudit.importing.rejects import Rejects
from execaudit.output import ecs
from execaudit.output.json_lines import json_text
from execaudit.output.record import hit_record, to_record
from execaudit.query import find
from execaudit.query.connection import open_history
from execaudit.query.filter import Filter
from execaudit.store.writer import Store
from tests.commands import execaudit, found
from tests.events import events
from tests.examples import examples
from tests.families import make_family
from tests.histories import make_event, make_hit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from execaudit.event import ExecEvent
    from tests.commands import Finished

AUDITBEAT = {
    "@timestamp": "2026-10-05T16:20:00.123Z",
    "event": {"module": "auditd", "category": ["process"], "type": ["start"], "action": "executed", "outcome": "success"},
    "auditd": {"sequence": 7, "session": "3", "data": {"tty": "pts1", "syscall": "execve"}},
    "host": {"name": "db1"},
    "process": {
        "pid": 300, "parent": {"pid": 200}, "name": "ls", "executable": "/usr/bin/ls", "args": ["ls", "-l é"],
        "working_directory": "/srv", "entity_id": "kx1",
    },
    "user": {"id": "1000", "name": "alice", "group": {"id": "1000"}, "effective": {"id": "0"}, "audit": {"id": "1001", "name": "bob"}},
}  # fmt: skip


def tetragon(kind: str, exec_id: str, time: str, **process: object) -> dict[str, Any]:
    """Returns an event of Tetragon."""
    told = {"exec_id": exec_id, "start_time": "2026-10-05T16:20:01.000000007Z", "pid": 41, "uid": 0, "cwd": "/", "flags": "execve clone", **process}  # fmt: skip
    ends = {name: told.pop(name) for name in ("signal", "status") if name in told}
    return {kind: {"process": told, **ends}, "node_name": "k8s1", "time": time}


def imported(database: Path, *arguments: str | Path) -> Finished:
    """Imports lines."""
    return execaudit("--db", database, "import", *arguments)


def write(path: Path, *lines: object) -> Path:
    """Writes lines of JSON."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_a_history_goes_from_one_database_into_another(tmp_path: Path) -> None:
    """With its ids, lineage, ends and gaps; as records or as ECS, once."""
    family = make_family(tmp_path / "family.db")
    asked = execaudit("--db", family.path, "query")
    own, documents, target = tmp_path / "x.jsonl", tmp_path / "x.ecs.json", tmp_path / "target.db"
    own.write_bytes(json_text(hit_record(make_hit(1))).encode() + b"\n" + asked.out)
    execaudit("--db", family.path, "export", "-o", documents)
    first, again = imported(target, own), imported(target, documents)

    assert b"imported 11, skipped 2 (other events: 2)\n" == first.err
    assert b"imported 0, skipped 15 (already there: 13, other events: 2)\n" == again.err
    answer = execaudit("--db", target, "query")
    assert asked.rows() == answer.rows()
    # Until when the recorder ran after the last exec is not in its records.
    assert asked.gaps()[:-1] == [gap for gap in answer.gaps() if gap["to"]]


def test_documents_of_auditbeat_and_events_of_tetragon(tmp_path: Path) -> None:
    """What they have is in the record, and lineage is theirs, or inferred."""
    child = json.loads(json.dumps(AUDITBEAT))
    child["process"] |= {"pid": 301, "parent": {"pid": 300}, "entity_id": "kx2"}
    child["auditd"]["sequence"] = 8
    logs = write(tmp_path / "beat", AUDITBEAT, child, {"@timestamp": "2026-10-05T16:20:00Z", "event": {"category": "host"}}), write(
        tmp_path / "tetragon",
        tetragon("process_exec", "a", "", binary="/bin/sh", arguments='-c "echo x"', flags="procFS", auid=2**32 - 1),
        tetragon("process_exec", "b", "", binary="/bin/echo", arguments="x", parent_exec_id="a", start_time="2026-10-05T16:20:02.5Z"),
        tetragon("process_exit", "b", "2026-10-05T16:20:03Z", signal="SIGKILL", start_time="2026-10-05T16:20:02.5Z"),
        tetragon("process_exit", "absent", "2026-10-05T16:20:03Z"),
        {"process_kprobe": {}, "node_name": "k8s1", "time": "2026-10-05T16:20:03Z"},
    )  # fmt: skip
    done = imported(tmp_path / "x.db", *logs)
    again = imported(tmp_path / "x.db", *logs)
    beat, ls, sh, echo = found(tmp_path / "x.db")

    assert b"imported 4, skipped 3 (other events: 3)\n" == done.err
    assert b"imported 0, skipped 7 (already there: 4, other events: 3)\n" == again.err
    assert {
        "time": "2026-10-05T16:20:00.123000007Z", "host": "db1", "kind": "exec", "uid": 1000, "euid": 0, "auid": 1001,
        "user": "alice", "login_user": "bob", "tty": "pts/1", "session": 3, "argv": ["ls", "-l é"], "cwd": "/srv",
        "ppid": 200, "parent_id": None,
    }.items() <= beat.items()  # fmt: skip
    assert beat["id"] == ls["parent_id"]
    assert ("snapshot", ["/bin/sh", "-c", "echo x"], None) == (sh["kind"], sh["argv"], sh["auid"])
    assert (sh["id"], "signaled", 9, 500_000_000) == tuple(
        echo[name] for name in ("parent_id", "ended", "exit_signal", "duration_ns")
    )


def endpoint(action: str, second: int, entity: str, parent: str, **process: object) -> dict[str, Any]:
    """Returns a document as Elastic Endpoint makes them on Linux."""
    types = {"fork": ["start"], "exec": ["start"], "end": ["end"]}
    return {
        "@timestamp": f"2026-10-05T16:20:0{second}.123456789Z", "agent": {"type": "endpoint", "version": "8.15.0"},
        "event": {
            "action": action, "category": ["process"], "type": types[action], "kind": "event", "module": "endpoint",
            "dataset": "endpoint.events.process", "sequence": second, "id": f"N{second}", "outcome": "unknown",
        },
        "host": {"name": "web7", "os": {"family": "linux"}}, "user": {"id": 1000, "name": "alice"},
        "group": {"id": 1000, "name": "alice"},
        "process": {
            "entity_id": entity, "pid": 900, "parent": {"entity_id": parent, "pid": 800, "name": "bash"},
            "tty": {"char_device": {"major": 136, "minor": 1}}, "interactive": True, **process,
        },
    }  # fmt: skip


def test_documents_of_elastic_endpoint(tmp_path: Path) -> None:
    """Forks are no execs; the terminal is a device, and numbers are numbers."""
    sudo = {
        "user": {"id": 0, "name": "root"},
        "real_user": {"id": 1000, "name": "alice"},
        "real_group": {"id": 1000},
    }
    log = write(
        tmp_path / "endpoint",
        endpoint("exec", 1, "p1", "p0", pid=800, args=["bash"], args_count=1, executable="/usr/bin/bash", name="bash"),
        endpoint("fork", 2, "f2", "p1"),
        endpoint(
            "exec", 3, "p2", "p1", args=["sudo", "id"], args_count=2, executable="/usr/bin/sudo", name="sudo",
            working_directory="/home/alice", **sudo,
        ),
        endpoint("end", 4, "p2", "p1", exit_code=1),
    )  # fmt: skip
    done = imported(tmp_path / "x.db", log)
    bash, sudo_row = found(tmp_path / "x.db")

    assert b"imported 2, skipped 1 (other events: 1)\n" == done.err
    assert {
        "time": "2026-10-05T16:20:03.123456789Z", "host": "web7", "pid": 900, "ppid": 800, "uid": 1000, "euid": 0,
        "gid": 1000, "tty": "pts/1", "argv": ["sudo", "id"], "exe": "/usr/bin/sudo", "cwd": "/home/alice",
        "parent_id": bash["id"], "ended": "exited", "exit_code": 1, "duration_ns": 1_000_000_000,
    }.items() <= sudo_row.items()  # fmt: skip


@pytest.mark.parametrize(
    ("device", "tty"),
    [((136, 0), "pts/0"), ((137, 2), "pts/258"), ((4, 1), "tty1"), ((4, 64), "ttyS0"), ((5, 1), None)],
)
def test_a_terminal_is_known_by_its_device(device: tuple[int, int], tty: str | None) -> None:
    """Virtual and serial ones too."""
    major, minor = device
    document = endpoint(
        "exec", 1, "a", "b", args=["x"], tty={"char_device": {"major": major, "minor": minor}}
    )
    read = ecs_documents.Documents("web7").read(document)

    assert read is not None
    assert read.event is not None
    assert (None if tty is None else tty.encode()) == read.event.origin.tty


def test_a_wrong_record_says_what_is_wrong(tmp_path: Path) -> None:
    """And the others are taken."""
    right = to_record(make_event(b"a"))
    wrongs = {
        "a name comes twice": json.dumps(right)[:-1] + ', "pid": 1}', "not JSON": "{" * 5000,
        "pid is no number, or out of range": json.dumps({**right, "pid": 2**70}),
        "the id does not fit the boot and the pid": json.dumps({**right, "pid": 7}),
        "the time is out of range": json.dumps({**right, "time": "2999-01-01T00:00:00Z"}),
        "argc or argv_bytes does not fit argv": json.dumps({**right, "argc": 9}),
        "redacted is no number, or out of range": json.dumps({**right, "redacted": [[0, 1]]}),
        "kind is none that is known": json.dumps({**right, "kind": ["exec"]}),
        "neither a record, nor ECS, nor of Tetragon": '{"a": 1}',
    }  # fmt: skip
    log = tmp_path / "x.jsonl"
    log.write_text("\n".join([*wrongs.values(), json.dumps(right)]))
    done = imported(tmp_path / "x.db", log, "--rejects", tmp_path / "rejects")
    kept = [json.loads(line) for line in (tmp_path / "rejects").read_text().splitlines()]

    assert done.err.startswith(b"imported 1, skipped 9 (")
    assert [*enumerate(wrongs, 1)] == [(each["line"], each["reason"]) for each in kept]


def test_one_mark_may_stand_for_many_arguments() -> None:
    """Then argc says how many there were."""
    mark = b"REDACTED:0123456789ab"
    event = make_event(b"mysql", mark)._replace(argc=5000, redacted=(Redaction(1, 0),))

    assert event == own_records.event_of(to_record(event))


@given(events())
def test_a_record_is_read_back(event: ExecEvent) -> None:
    """And a document of ECS, to the last field."""
    record = json.loads(json.dumps(to_record(event)))
    (document,) = islice(ecs.documents(event), 1)
    try:
        taken = own_records.event_of(record)
    except RejectError:
        # A strategy's numbers need not fit: recorders' do.
        assert event.truncated is None
        assert (event.argc, event.argv_bytes) != (event.argv.count(0), len(event.argv))
        return
    other = ecs_documents.own_record(json.loads(json.dumps(document)))

    # `argv_base64` beside a hole has bytes whose place is not certain.
    assert {**record, "argv_base64": None} == {**to_record(taken), "argv_base64": None}
    assert event.holes or record == to_record(taken)
    assert other is not None
    assert taken == own_records.event_of(other)


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2**70) | st.floats() | st.text(max_size=5) | st.sampled_from(["start", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)  # fmt: skip


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Returns the places of all values in JSON."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [each for name, part in inner for each in places(part, (*path, name))]


@st.composite
def changed_lines(draw: st.DrawFn) -> bytes:
    """Draws a line in which some values are others."""
    line = draw(
        st.sampled_from([AUDITBEAT, to_record(make_event(b"a", b"\xff")), tetragon("process_exec", "a", "", binary="/a"),
                         tetragon("process_exit", "a", "2026-10-05T16:20:03Z"), {"kind": "gap", "from": "2026-10-05T16:20:03Z",
                         "to": "2026-10-05T16:20:03Z", "host": "web1", "reason": "clock", "count": 1, "exits": 0, "uid": None}])
    )  # fmt: skip
    copy = json.loads(json.dumps(line))
    for place in draw(st.lists(st.sampled_from(places(copy)), max_size=2)):
        at = copy
        try:
            for name in place[:-1]:
                at = at[name]
            at[place[-1]] = draw(_values)
        except (TypeError, KeyError, IndexError):  # an earlier change took it away
            pass
    return json.dumps(copy).encode()


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Importer]]:
    """An import into a history."""
    path = tmp_path_factory.mktemp("store") / "history.db"
    with Store(path) as store:
        yield path, Importer(store, Rejects(None))


@examples(200)
@given(lines=st.lists(changed_lines() | st.binary(max_size=20), max_size=12))
def test_no_line_does_harm(opened: tuple[Path, Importer], lines: list[bytes]) -> None:
    """Each is taken, or left out with a reason; what is taken is stored, and can be read."""
    (path, importer), reader = opened, JsonReader("web1")
    items = [item for number, line in enumerate(lines, 1) for item in reader.feed(number, line)]
    importer.take("x", items)
    importer.flush()
    with open_history(path, follow=True) as connection:
        ids = [found.event.id for found in find.find(connection, Filter())]

    assert importer.imported == len(ids) == len(set(ids))
    for item in items:
        assert isinstance(item, (Other, Taken)) or not isinstance(item, Reject) or item.reason
