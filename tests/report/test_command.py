"""`execaudit report`: the file needs nothing else, and has what a query finds."""

from __future__ import annotations

import base64
import hashlib
import re
import stat
from typing import TYPE_CHECKING

import pytest

from execaudit.enums import Kind
from execaudit.store.writer import Store
from tests.commands import execaudit, on_terminal
from tests.families import make_family
from tests.histories import begin_run, make_event, make_gap, make_history, make_hit
from tests.reports import Page, report

if TYPE_CHECKING:
    from pathlib import Path

    from tests.families import Family

HOSTILE = (
    b"</script><script>window.pwned=1</script>",
    b"<!-- <img src=x onerror=alert(1)> -->",
    b"a\xe2\x80\xa8b\xe2\x80\xaec\xe2\x80\x8b",  # a line separator, a bidirectional override, a blank of no width
    b"\xff\xfe\x1b[31mred\x1b[0m\x07\r\n",
    b"{{ 7 * 7 }}{% raw %}&amp;&#39;\"'",
)
"""Arguments that would do something in HTML, in a script, in a template, or on a terminal."""


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    """A history with lineage."""
    return make_family(tmp_path_factory.mktemp("family") / "history.db")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history in which every text is an attack."""
    name = b"</style><b>\xe2\x80\xae"
    events = [
        make_event(
            *HOSTILE, seconds=seconds, pid=100 + seconds, comm=name[:15], exe=b"/tmp/" + name, filename=name,
            cwd=b"/" + HOSTILE[1], user="<u>\u202e", tty=b"<tty>", cgroup=b"/" + HOSTILE[0], host=f"<h{seconds}>",
        )
        for seconds in range(2)
    ]  # fmt: skip
    return make_history(tmp_path_factory.mktemp("hostile") / "history.db", events)


@pytest.fixture(scope="module")
def page(family: Family, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """A report about a family."""
    return report(family.path, tmp_path_factory.mktemp("out") / "x.html", "--until=@1795371119")[0]


def test_the_page_may_load_nothing(page: Page) -> None:
    """Its policy allows what stands in it, by hashes, and no element refers to something else."""
    policies = [
        attributes["content"] or ""
        for name, attributes in page.elements
        if name == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    hashes = {
        name: [
            f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            for tag, attributes, text in page.contents
            if tag == name and "type" not in attributes
        ]
        for name in ("script", "style")
    }
    (policy,) = policies
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))

    assert page.is_whole
    assert policy.startswith("default-src 'none'; ")
    assert {f"{name}-src": " ".join(found) for name, found in hashes.items()} == {
        name: rules[name] for name in ("script-src", "style-src")
    }
    assert not {"default-src", "script-src", "style-src", "base-uri", "form-action"} - rules.keys()
    assert not {"link", "img", "iframe", "object", "embed", "base", "a href"} & {
        name for name, _ in page.elements
    }
    targets = {
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href")
    }
    assert {"#explore"} == targets
    assert not [
        name
        for _, attributes in page.elements
        for name in attributes
        if name.startswith("on") or name == "style"
    ]


def test_the_data_are_the_records(family: Family, page: Page) -> None:
    """Each as `query` has it, in the order of recording, and with its parents."""
    assert execaudit("--db", family.path, "query", "--format=jsonl").rows() == page.records()
    assert [] == page.data["context"]
    onward = [page.records()[row]["comm"] for row in page.data["onward"]]
    assert ["gcc"] == onward


def test_what_led_to_an_exec_is_there_too(family: Family, tmp_path: Path) -> None:
    """It is told apart, and is not counted."""
    page, done = report(family.path, tmp_path / "x.html", "--comm=cc1", f"--mark={family.id_of('ls')}")
    names = [record["comm"] for record in page.records()]

    assert ["systemd", "sshd", "-bash", "make", "sh", "gcc", "cc1", "ls"] == names
    assert {"cc1"} == {*names} - {names[row] for row in page.data["context"]}
    assert ["ls"] == [names[row] for row in page.data["marked"]]
    assert "1 exec of 1 program matched the query on web1" in page.shown
    assert b"wrote 8 execs to " in done.err


def test_the_hash_is_that_of_the_line_of_data(family: Family, tmp_path: Path) -> None:
    """The page and the terminal say it, and a shell computes it."""
    page, done = report(family.path, tmp_path / "x.html")
    line = next(line for line in page.text.splitlines() if line.startswith('{"format":1'))
    digest = hashlib.sha256(line.encode()).hexdigest()

    assert page.data_line == line
    assert digest in page.shown
    assert f"SHA-256 of its data: {digest}".encode() in done.err


def test_a_reader_is_told(family: Family, tmp_path: Path) -> None:
    """The heading, who made it, what they say, what is marked, what is missing, and the command."""
    page, _ = report(
        family.path, tmp_path / "x.html", "--title=The build <b>", "--author=Ann O'Nym", "--note=first\nsecond",
        "--note=&third;", f"--mark={family.id_of('attempt')[:20]}", "--until=@1795371119",
    )  # fmt: skip

    assert "The build <b>" in page.shown
    assert "By Ann O'Nym, made " in page.shown
    assert "first\nsecond" in page.shown
    assert "&third;" in page.shown
    assert [row["errno"] for row in page.records() if row["id"] == family.id_of("attempt")] == ["ENOENT"]
    assert family.id_of("attempt") in page.shown
    assert (
        "3 execs missed between 2026-11-22 18:08:44.600 and 2026-11-22 18:08:44.700 (ring_full)" in page.shown
    )
    assert "execaudit --config /dev/null --db " in page.shown
    assert "'--title=The build <b>'" in page.shown
    assert "1 exec failed: ENOENT (1)." in page.shown
    assert ["ring_full"] == [
        gap["reason"] for gap in page.data["gaps"] if gap["reason"] != "recorder_stopped"
    ]


def test_hostile_values_are_inert(hostile: Path, family: Family, tmp_path: Path) -> None:
    """They make no element, and no character of theirs is there that a viewer would obey."""
    page, done = report(
        hostile,
        tmp_path / "x.html",
        "--mark=pid:100",
        b"--title=\xff\x1b[31m</title><script>",
        "--note=<i>\x07\u202e",
    )
    marked = f"--mark={family.id_of('ls')}"
    usual, _ = report(family.path, tmp_path / "y.html", marked, "--note=x", "--until=@1795371119")

    assert page.is_whole
    assert {name for name, _ in page.elements} == {name for name, _ in usual.elements}
    assert ["data", None, None] == [
        attributes.get("id") for name, attributes in page.elements if name == "script"
    ]
    assert re.fullmatch(r"[\x20-\x7e]+", page.data_line)
    assert not set("<>&") & set(page.data_line)
    assert not re.findall(r"[^\n\x20-\x7e]", page.shown.translate(dict.fromkeys(map(ord, usual.shown))))
    assert r"\xff\x1b[31m</title><script>" in page.shown
    assert b"\x1b" not in done.err
    raw = page.records()[0]["argv_base64"]
    assert b"".join(each + b"\0" for each in HOSTILE) == base64.b64decode(raw)
    assert execaudit("--db", hostile, "query", "--format=jsonl").rows() == page.records()


@pytest.mark.parametrize("argument", [b"x" * 70_000, "\u00e9".encode() * 40_000])
def test_long_command_lines_are_cut_and_that_is_said(tmp_path: Path, argument: bytes) -> None:
    """Not those of marked execs; and no character is cut in two."""
    events = [make_event(b"a", argument, b"end", seconds=number, pid=number + 1) for number in range(3)]
    history = make_history(tmp_path / "h.db", events)
    page, _ = report(history, tmp_path / "x.html", "--mark=pid:3")
    cut, whole = page.records()[0], page.records()[2]

    assert [1, 1, 0] == page.column("is_cut")
    assert cut["command"].endswith(" bytes missing...]")
    assert 65_000 < len(cut["argv"][1].encode()) < 65_536
    assert "argv_base64" not in cut
    assert [b"a", argument, b"end"] == [word.encode() for word in whole["argv"]]
    assert "cut in this report (2 execs)" in page.shown


def test_a_file_that_is_there_is_kept(family: Family, tmp_path: Path) -> None:
    """As with export; and others cannot read the new one."""
    out = tmp_path / "x.html"
    out.write_text("mine")
    kept = execaudit("--db", family.path, "report", "-o", out)

    assert 1 == kept.status
    assert kept.failed_in_one_line()
    assert b"is there already" in kept.err
    assert "mine" == out.read_text()
    report(family.path, out, "--force")
    assert out.read_text().startswith("<!doctype html>")
    assert 0o640 == stat.S_IMODE(out.stat().st_mode)
    assert ["x.html"] == [path.name for path in tmp_path.iterdir()]


def test_standard_output_gets_the_page_unless_it_is_a_terminal(family: Family) -> None:
    """Nobody reads HTML there."""
    piped = execaudit("--db", family.path, "report")
    shown = on_terminal("--db", family.path, "report")

    assert 0 == piped.status
    assert b"wrote" not in piped.err
    assert Page(piped.out.decode()).is_whole
    assert (2, b"") == (shown.status, shown.out)
    assert b"name a file with -o" in shown.err


def test_what_cannot_be_found_is_said(family: Family, tmp_path: Path) -> None:
    """And no file is made."""
    for options, status in ((("--mark", "0123456"), 1), (("--mark", "no id"), 2), (("--where", "pid >"), 2)):
        done = execaudit("--db", family.path, "report", *options, "-o", tmp_path / "x.html")

        assert done.failed_in_one_line(), done.err
        assert (status, []) == (done.status, [*tmp_path.iterdir()])


def test_a_report_about_nothing(tmp_path: Path) -> None:
    """It says so."""
    history = make_history(tmp_path / "h.db", [make_event(b"x", kind=Kind.EXEC)], [make_gap(1, 2)])
    page, _ = report(history, tmp_path / "x.html", "--comm=nothing")

    assert 0 == page.data["rows"]
    assert "0 execs of 0 programs matched the query" in page.shown


def test_rules_are_hunted(family: Family, tmp_path: Path) -> None:
    """What they hit is marked, with the rule's title."""
    pytest.importorskip("sigma")
    rule = tmp_path / "rule.yml"
    rule.write_text(
        "title: A <compiler>\nid: 11111111-1111-4111-8111-111111111111\nlevel: high\ntags: [attack.execution]\n"
        "logsource: {product: linux, category: process_creation}\n"
        "detection: {sel: {Image|endswith: /cc1}, condition: sel}\n"
    )
    page, _ = report(family.path, tmp_path / "x.html", f"--hunt={rule}")
    (hit,) = page.data["hits"]

    assert "cc1" == page.records()[hit["row"]]["comm"]
    assert ("A <compiler>", "high", ["attack.execution"]) == (hit["title"], hit["level"], hit["tags"])
    assert "Rules hit 1 time: A <compiler> (1)." in page.shown


def test_what_was_hit_while_it_was_recorded_is_there(tmp_path: Path) -> None:
    """Once, though the rule is hunted again; and only of the range."""
    with Store(tmp_path / "h.db") as store:
        begin_run(store)
        store.append(make_event(b"w", seconds=seconds, pid=seconds + 1) for seconds in range(4))
        store.append_hits([make_hit(2, "odd", "high"), make_hit(4, "odd", "high"), make_hit(2, "more")], 4)
    page, _ = report(tmp_path / "h.db", tmp_path / "x.html", "--until=@1795370922")
    found = {(page.records()[hit["row"]]["pid"], hit["title"]) for hit in page.data["hits"]}

    assert {(2, "odd"), (2, "more")} == found
    assert "Rules hit 2 times: " in page.shown
