"""What `execaudit redact` writes."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from execaudit.daemon.redaction_key import KEY_BYTES, path_of
from execaudit.daemon.settings import redact_settings
from execaudit.errors import ConfigError, FilterError
from execaudit.escaping import exact, printable, shell_words
from execaudit.redaction.presets import ALL, presets, rules_of
from execaudit.redaction.redactor import Redactor
from execaudit.redaction.rules import RedactSettings
from execaudit.redaction.ruleset import compile_rules
from execaudit.redaction.words import TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from execaudit.cli.context import State
    from execaudit.redaction.finder import Found
    from execaudit.redaction.rules import Rule

_STANDARD_INPUT = "-"
_OPERATORS = frozenset("();|&`\n")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=").match
_REST = "more than is looked at"


def test(state: State, commands: Sequence[str], names: Sequence[str], *, as_json: bool) -> None:
    """Redacts command lines. Raises ConfigError; FilterError for a line that no shell would take."""
    rules = compile_rules(_settings(state, names))
    redactor = Redactor(rules, _key(state))
    for line in _lines(commands):
        for argv in programs_of(line):
            _say(redactor, argv, as_json=as_json)


def _settings(state: State, names: Sequence[str]) -> RedactSettings:
    if names:
        return RedactSettings(tuple(names), ())
    settings = redact_settings(state.settings())
    if settings is None:
        raise ConfigError(
            f"there is no [redact] in {printable(str(state.settings().path))}", fix="try --preset all"
        )
    return settings


def _key(state: State) -> bytes:
    """Returns the recorder's key, so that marks are those of the history; else one of this run."""
    path = path_of(state.database())
    try:
        with path.open("rb") as file:
            key = file.read(KEY_BYTES + 1)
    except OSError:
        key = b""
    if len(key) == KEY_BYTES:
        return key
    click.echo(
        f"marks are not those of the history: there is no key to read in {printable(str(path))}", err=True
    )
    return os.urandom(KEY_BYTES)


def _lines(commands: Sequence[str]) -> Iterator[str]:
    for command in commands:
        if command == _STANDARD_INPUT:
            for line in sys.stdin.buffer:
                yield os.fsdecode(line.rstrip(b"\n"))
        else:
            yield command


def programs_of(line: str) -> list[list[bytes]]:
    """Returns the arguments of each program that a shell would start for a line.

    Redirections and variables before a command are no arguments.
    """
    programs: list[list[bytes]] = [[]]
    is_file = False
    end = -1
    raw = os.fsencode(line)
    try:
        shlex.split(line)  # whether all quotes end
        for token in TOKEN.finditer(raw):
            text, is_next = os.fsdecode(token[0]), token.start() == end
            end = token.end()
            if text in {"<", ">"}:
                if is_next and not is_file and programs[-1] and programs[-1][-1].isdigit():
                    programs[-1].pop()  # of 2>file
                is_file = True
            elif text[0] in _OPERATORS:
                if not (is_file and text == "&"):  # of >&2
                    programs.append([])
                    is_file = False
            elif is_file or (not programs[-1] and _ASSIGNMENT(text)):
                is_file = False
            else:
                programs[-1] += (os.fsencode(word).replace(b"\0", b"") for word in shlex.split(text))
    except ValueError as exc:
        raise FilterError(
            f"this is no command line: {str(exc).lower()}", fix="end what the quote begins"
        ) from exc
    return [program for program in programs if program]


def _say(redactor: Redactor, program: Sequence[bytes], *, as_json: bool) -> None:
    argv = b"".join(each + b"\0" for each in program)
    found = redactor.find(argv)
    done = redactor.redact(argv)
    redacted, moves = (argv, ()) if done is None else done
    rows = [_row(redacted, move.new_at, move.new_size, each) for move, each in zip(moves, found, strict=True)]
    words = redacted.removesuffix(b"\0").split(b"\0")
    if as_json:
        line: dict[str, Any] = {
            "command": " ".join(shell_words(words)),
            "argv": [exact(word) for word in words],
            "redacted": rows,
        }
        click.echo(json.dumps(line))
        return
    click.echo(" ".join(shell_words(words)))
    for row in rows:
        preset = f" [{row['preset']}]" if row["preset"] else ""
        click.echo(f"  {row['mark']}  {printable(row['rule'])}{preset}")
    if not rows:
        click.echo("  nothing is redacted")


def _row(redacted: bytes, at: int, size: int, found: Found) -> dict[str, Any]:
    """Says what became of a secret, and never which it was."""
    argument = redacted.count(b"\0", 0, at)
    return {
        "argument": argument,
        "offset": at - (redacted.rfind(b"\0", 0, at) + 1),
        "mark": redacted[at : at + size].decode("ascii"),
        "rule": _REST if found.rule is None else found.rule.title,
        "preset": _preset_of(found.rule),
    }


def _preset_of(rule: Rule | None) -> str | None:
    """Returns the first preset that has a rule."""
    return next((name for name, rules in presets().items() if rule in rules), None)


def list_presets(names: Sequence[str], *, as_json: bool) -> None:
    """Lists the rules of presets, of all by default. Raises ConfigError for a name that is none."""
    rules_of(names)
    known = presets()
    for name in known if not names or ALL in names else names:
        if as_json:
            rules = [
                {"kind": type(rule).__name__.removesuffix("Rule").lower(), **_said(rule)}
                for rule in known[name]
            ]
            click.echo(json.dumps({"preset": name, "rules": rules}))
            continue
        click.echo(name)
        for rule in known[name]:
            click.echo(f"  {rule.title}")


def _said(rule: Rule) -> dict[str, Any]:
    return {name: value for name, value in rule._asdict().items() if value}
