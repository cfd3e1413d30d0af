"""Every modifier and every kind of condition, on ordinary and on hostile execs, through the command."""

from __future__ import annotations

import base64

import pytest

from execaudit.enums import Kind, Truncated
from execaudit.event import Hole
from tests.commands import execaudit
from tests.histories import make_event, make_history
from tests.hunt.rules import write_rule

_SECRET = base64.b64encode(b"xx/bin/bash -i").decode()
_MEGABYTE = 2**20
# What each finds, by pid. The execs are below.
CASES: dict[str, tuple[str, set[int]]] = {
    "equal": ("{Image: /usr/bin/curl}", {12}),
    "equal whatever the case": ("{Image: /USR/bin/Curl}", {12}),
    "equal is whole": ("{Image: /usr/bin/cur}", set()),
    "cased": ("{Image|cased: /USR/bin/curl}", set()),
    "cased contains": ("{CommandLine|contains|cased: ' POST '}", {12}),
    "cased contains, other case": ("{CommandLine|contains|cased: ' post '}", set()),
    "no case but that of ascii": ("{CommandLine|contains: 'é'}", set()),
    "not ascii": ("{CommandLine|contains: 'É'}", {12}),
    "contains": ("{CommandLine|contains: ' post '}", {12}),
    "contains across arguments": ("{CommandLine|contains: 'x post http'}", {12}),
    "contains all": ("{CommandLine|contains|all: [http, '-x']}", {12}),
    "contains all, one missing": ("{CommandLine|contains|all: [http, '-y']}", set()),
    "one of several": ("{CommandLine|contains: ['-y', '-x']}", {12}),
    "startswith": ("{CommandLine|startswith: 'CURL -'}", {12}),
    "endswith": ("{Image|endswith: /CURL}", {12}),
    "endswith of a line": ("{CommandLine|endswith: END}", {14}),
    "wildcards": ("{Image: '*/c?rl'}", {12}),
    "wildcard of no character": ("{Image: '*/curl?'}", set()),
    "escaped wildcard": (r"{CommandLine|contains: 'ls \*'}", {20}),
    "a backslash": (r"{CommandLine|contains: 'a\b'}", {20}),
    "a wildcard over a line end and bytes": ("{CommandLine: 'a?b*?'}", {13}),
    "a line end": ('{CommandLine|contains: "A\\nb"}', {13}),
    "a NUL is in no line": ('{CommandLine|contains: "curl\\0-X"}', set()),
    "nothing at all": ("{CommandLine: ''}", {21}),
    "re": ("{CommandLine|re: '^Curl -X [A-Z]{4} '}", {12}),
    "re has a case": ("{CommandLine|re: '^curl'}", set()),
    "re i": ("{CommandLine|re|i: '^curl'}", {12}),
    "re m": ("{CommandLine|re|m: '^b'}", {13}),
    "re without m": ("{CommandLine|re: '^b'}", set()),
    "re s": ("{CommandLine|re|s: 'a.b'}", {13, 20}),
    "re without s": ("{CommandLine|re: 'a.b.*\\?'}", set()),
    "re flags together": ("{CommandLine|re|i|m|s: '^A.B'}", {13}),
    "re looks behind": ("{CommandLine|re: '(?<=X )POST'}", {12}),
    "re of a megabyte": ("{CommandLine|re: 'aEND$'}", {14}),
    "windash": ("{CommandLine|windash|contains: ' -param'}", {16, 17}),
    "windash all": ("{CommandLine|windash|contains|all: [' -param', 'tool']}", {16, 17}),
    "base64": ("{CommandLine|base64|contains: 'xx/bin/bash -i'}", {15}),
    "base64offset": ("{CommandLine|base64offset|contains: /bin/bash}", {15}),
    "base64offset of nothing": ("{CommandLine|base64offset|contains: /bin/dash}", set()),
    "wide base64offset": ("{CommandLine|wide|base64offset|contains: bash}", {22}),
    "cidr": ("{CommandLine|cidr: 10.0.0.0/8}", {18}),
    "cidr of another": ("{CommandLine|cidr: 11.0.0.0/8}", set()),
    "exists": ("{LogonId|exists: true}", {12}),
    "exists not": ("{CurrentDirectory|exists: false}", {13}),
    "null": ("{CurrentDirectory: null}", {13}),
    "null of a parent": ("{ParentImage: null}", {10, 12, 13, 14, 15, 16, 17, 18, 20, 21, 22, 23}),
    "parent exists": ("{ParentCommandLine|exists: true}", {11}),
    "fieldref": ("{Image|fieldref: filename}", {12}),
    "fieldref contains": ("{CommandLine|fieldref|contains: comm}", {12}),
    "fieldref startswith": (
        "{Image|fieldref|startswith: CurrentDirectory, CurrentDirectory|endswith: bin}",
        {14},
    ),
    "fieldref of a parent": ("{CurrentDirectory|fieldref: ParentImage}", set()),
    "number": ("{LogonId: 7}", {12}),
    "number as text": ("{LogonId: '7'}", {12}),
    "number with a wildcard": ("{ProcessId: '1?', LogonId: '*'}", {12}),
    "lt": ("{ProcessId|lt: 11}", {10}),
    "lte": ("{ProcessId|lte: 11}", {10, 11}),
    "gt": ("{ProcessId|gt: 22}", {23}),
    "gte and a fraction": ("{ProcessId|gte: 22.5}", {23}),
    "neq": ("{Image|endswith|neq: '/true', ProcessId|lt: 13}", {10, 11, 12}),
    "user": ("{User: ALICE}", {12}),
    "directory": ("{CurrentDirectory|startswith: /HOME/}", {12}),
    "parent": ("{ParentImage|endswith: /apache2, ParentCommandLine|contains: ' -K '}", {11}),
    "parent alone": ("{ParentCommandLine|startswith: apache2}", {11}),
    "names of the record": ("{exe|endswith: /curl, kind: EXEC, uid: 1000, argv: post}", {12}),
    "an argument": ("{argv|startswith: http}", {12}),
    "the kind": ("{kind: snap*}", {10}),
    "a byte that is no utf-8": (r"{exe: '/tmp/x?'}", {13}),
    "what is missing joins nothing": ("{CommandLine|contains: zx}", set()),
    "beside what is missing": ("{CommandLine|contains: [qz, xv]}", {23}),
    "a list of fields": ("[{Image|endswith: /curl}, {User: www-data}]", {11, 12}),
    "1 of": ("{s1: {Image|endswith: /curl}, s2: {User: www-data}, condition: 1 of s*}", {11, 12}),
    "all of": ("{s1: {Image|endswith: /curl}, s2: {User: alice}, condition: all of them}", {12}),
    "not 1 of": (
        "{s: {ProcessId|lt: 13}, f1: {User: alice}, f2: {Image: x}, condition: s and not 1 of f*}",
        {10, 11},
    ),
    "not all of": (
        "{s: {ProcessId|lt: 13}, f1: {User: alice}, f2: {Image: x}, condition: s and not all of f*}",
        {10, 11, 12},
    ),
    "parentheses": (
        "{a: {ProcessId: 11}, b: {ProcessId: 12}, c: {User: alice}, condition: (a or b) and not (c)}",
        {11},
    ),
    "no parentheses": (
        "{a: {ProcessId: 11}, b: {ProcessId: 12}, c: {User: x}, condition: a or b and c}",
        {11},
    ),
    "several conditions": ("{a: {ProcessId: 11}, b: {ProcessId: 12}, condition: [a, b]}", {11, 12}),
}


@pytest.fixture(scope="module")
def hits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[int]]:
    """Runs all rules at once. Returns the pids of the execs that each hits."""
    folder = tmp_path_factory.mktemp("hunt")
    server = make_event(
        b"apache2", b"-k", b"start", seconds=1, pid=10, exe=b"/usr/sbin/apache2", kind=Kind.SNAPSHOT
    )
    events = [
        server,
        make_event(
            b"whoami", seconds=2, pid=11, exe=b"/usr/bin/whoami", user="www-data", uid=33, parent=server.key
        ),
        make_event(
            b"Curl", b"-X", b"POST", "http://10.1.2.3/É".encode(), seconds=3,
            pid=12, exe=b"/usr/bin/curl", filename=b"/usr/bin/curl", comm=b"curl", user="Alice", uid=1000,
            cwd=b"/home/Alice", session=7,
        ),
        make_event(b"a\nb", b"\xff*?", seconds=4, pid=13, exe=b"/tmp/x\xff", cwd=None),
        make_event(b"a" * _MEGABYTE + b"END", seconds=5, pid=14, cwd=b"/usr/bin"),
        make_event(b"echo", _SECRET.encode(), seconds=6, pid=15),
        make_event(b"tool", b"-param", seconds=7, pid=16),
        make_event(b"tool", b"/param", seconds=8, pid=17),
        make_event(b"10.1.2.3", seconds=9, pid=18),
        make_event(b"curl", seconds=10, pid=19, kind=Kind.FAILED, errno=2, exe=b"/usr/bin/curl"),
        make_event(b"ls", b"*", rb"a\b", seconds=11, pid=20),
        make_event(seconds=12, pid=21),
        make_event(b"echo", base64.b64encode("a bash".encode("utf-16le")), seconds=13, pid=22),
        make_event(
            b"qzxv", seconds=14, pid=23, holes=(Hole(2, 5),), truncated=Truncated.LIMIT, argc=1, argv_bytes=10
        ),
    ]  # fmt: skip
    history = make_history(folder / "history.db", events)
    for title, (detection, _) in CASES.items():
        write_rule(folder / "rules" / f"{title}.yml", detection)
    done = execaudit("--db", history, "hunt", "--strict", "--format=jsonl", folder / "rules")
    assert (done.status, b"not hunted" in done.err) == (0, False), done.err.decode()
    found: dict[str, set[int]] = {title: set() for title in CASES}
    for row in done.rows():
        found[row["rule"]["title"]].add(row["exec"]["pid"])
    return found


@pytest.mark.parametrize("title", CASES)
def test_a_rule_finds_what_it_says(hits: dict[str, set[int]], title: str) -> None:
    """Just the execs that the rule's author means."""
    assert CASES[title][1] == hits[title]
