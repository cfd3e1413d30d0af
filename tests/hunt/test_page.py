"""docs/hunting.md: its rules can be hunted, its settings are taken, and its JSON has the keys."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path

import pytest

from execaudit.event import Hit, HuntRule, Nanoseconds
from execaudit.output.record import hit_record
from tests.commands import execaudit
from tests.families import born
from tests.histories import make_history
from tests.hunt.rules import write_rule

_PAGE = (Path(__file__).parents[2] / "docs/hunting.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", _PAGE, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(text) for _, text in found]


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rules of the page, and the one that its correlation counts."""
    folder = tmp_path_factory.mktemp("rules")
    shell, many = _blocks("yaml")
    (folder / "shell.yml").write_text(shell, encoding="utf-8")
    (folder / "many.yml").write_text(many, encoding="utf-8")
    write_rule(folder / "sudo.yml", "{Image|endswith: /sudo}", more="name: sudo_call\n")
    return folder


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A web server's shell and its script, which is no shell of the rule; and ten calls of sudo."""
    server = born(None, b"nginx: worker", pid=1, seconds=0, exe=b"/usr/sbin/nginx")
    shell = born(server, b"sh", b"-c", b"id", pid=2, seconds=1, exe=b"/usr/bin/sh")
    script = born(server, b"sh", b"/usr/lib/cgi-bin/x", pid=3, seconds=2, exe=b"/usr/bin/sh")
    calls = [
        born(shell, b"sudo", b"-n", pid=10 + n, seconds=3 + n, exe=b"/usr/bin/sudo", user="bob")
        for n in range(10)
    ]
    return make_history(tmp_path_factory.mktemp("page") / "history.db", [server, shell, script, *calls])


def test_the_rules_of_the_page_are_hunted(history: Path, rules: Path) -> None:
    """None is refused. The first finds the shell that was no CGI script; the second, ten calls."""
    done = execaudit("--db", history, "hunt", rules, "--strict", "--format=jsonl")
    hits = [json.loads(line) for line in done.out.splitlines()]

    assert (0, b"") == (done.status, done.err)
    assert [("A web server starts a shell", 2), ("Many sudo calls of one user", 19)] == [
        (hit["rule"]["title"], hit["exec"]["pid"]) for hit in hits if "rule" in hit
    ]


def test_the_lines_of_the_page_have_the_keys(history: Path, rules: Path) -> None:
    """Those of a hit in `hunt`, and of a hit in the JSON log."""
    logged, shown = map(json.loads, _blocks("json"))
    done = execaudit("--db", history, "hunt", rules / "shell.yml", "--format=jsonl")
    hit = json.loads(done.out.splitlines()[0])
    rule = HuntRule("7e0f", "A web server starts a shell", "high", (), "my-rule.yml")
    record = hit_record(Hit(1, rule, 0, hit["exec"]["id"], Nanoseconds(1), "web1", 7, 33, None, "sh", None))

    assert ["rule", "exec"] == list(shown) == list(hit)
    assert list(hit["rule"]) == list(shown["rule"]) == list(logged["rule"])
    assert list(logged) == list(record)


def test_the_settings_of_the_page_are_taken(history: Path, rules: Path, tmp_path: Path) -> None:
    """The folder is another one; of level medium are both rules, and the one that is counted is not shown."""
    (settings,) = _blocks("toml")
    config = tmp_path / "config.toml"
    config.write_text(settings.replace("/etc/execaudit/rules", str(rules)), encoding="utf-8")
    done = execaudit("--config", config, "--db", history, "hunt", "--format=table")

    assert b"A web server starts a shell" in done.out
    assert b"Many sudo calls of one user" in done.out
