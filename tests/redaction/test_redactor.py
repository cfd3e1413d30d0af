"""What is replaced, where the marks are, and what bounds the work."""

from __future__ import annotations

import itertools
import re

import pytest

from execaudit.event import MARK_BYTES
from execaudit.redaction import finder
from execaudit.redaction.marks import mark
from execaudit.redaction.redactor import Move, Redactor, shifted
from execaudit.redaction.rules import RedactSettings
from execaudit.redaction.ruleset import compile_rules
from tests.redaction.making import KEY, argv, redactor, secrets, with_rules


def test_a_secret_becomes_a_mark() -> None:
    """It needs no quotes in a shell, and says nothing of the secret without the key."""
    line = argv("mysql", "-u", "root", "-phunter2", "shop")
    done = redactor().redact(line)

    assert done is not None
    redacted, (move,) = done
    assert re.fullmatch(rb"mysql\0-u\0root\0-p(REDACTED:[a-z2-7]{12})\0shop\0", redacted)
    assert Move(16, 7, 16, MARK_BYTES) == move
    assert redacted[16 : 16 + MARK_BYTES] == mark(b"hunter2", KEY)


def test_nothing_to_redact_is_none() -> None:
    """The caller keeps what it has."""
    assert redactor().redact(argv("ls", "-l")) is None
    assert redactor().redact(argv("docker", "run", "-p", "8080:80", "nginx")) is None
    assert redactor().redact(b"") is None


def test_equal_secrets_have_equal_marks() -> None:
    """Whatever wrote them; and with another key they have others."""
    lines = (
        argv("mysql", "-phunter2"),
        argv("curl", "-u", "bob:hunter2", "https://h"),
        argv("sh", "-c", "PGPASSWORD='hunter2' psql -h db"),
        argv("psql", "postgres://a:hunter2@db/x"),
    )
    other = Redactor(compile_rules(RedactSettings(("all",), ())), b"another")
    marks = {
        found
        for line in lines
        for found in re.findall(rb"REDACTED:\w+", (redactor().redact(line) or (b"",))[0])
    }
    others = {
        found for line in lines for found in re.findall(rb"REDACTED:\w+", (other.redact(line) or (b"",))[0])
    }

    assert {mark(b"hunter2", KEY)} == marks
    assert len(others) == 1
    assert marks != others


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("mysql -p'my secret' shop; curl -u a:b h", [b"my secret", b"b"]),
        ("mysql -psecret | cat -p other", [b"secret"]),
        ("cd /x && mysql -p$DB_PW && mysql -p${X} -e 1", []),
        ("mysql -p'$ecret'; mysql -p\"$PW\"; mysql -p$(cat f)", [b"$ecret"]),
        ("sudo sh -c 'mysql -psecret shop'", [b"secret"]),
        ('ssh h "mysql -p\\"my secret\\" shop"', [b"my secret"]),
        ("PGPASSWORD=x psql -c 'select 1'", [b"x"]),
        ("(mysql -pa) && $(mysql -pb) `mysql -pc`", [b"a", b"b", b"c"]),
        ("docker exec c mysql -ppw\nssh -p 22 h", [b"pw"]),
    ],
)
def test_rules_work_inside_of_scripts(script: str, expected: list[bytes]) -> None:
    """A whole command line is one argument of a shell."""
    assert expected == secrets(redactor(), argv("sh", "-c", script))


def test_an_argument_is_one_value_with_its_blanks() -> None:
    """Outside of a script nothing splits it."""
    assert [b"a b; c"] == secrets(redactor(), argv("mysql", "-pa b; c"))
    assert [b"a b; c"] == secrets(redactor(), argv("env", "DB_PASSWORD=a b; c", "./x"))
    assert [b"a $b"] == secrets(redactor(), argv("sshpass", "-p", "a $b", "ssh", "h"))
    assert [b"$x"] == secrets(redactor(), argv("mysql", "-p$x"))


def test_a_cut_argument_is_redacted() -> None:
    """The last one may lack its end, and its NUL."""
    assert [b"hun"] == secrets(redactor(), b"mysql\0-phun")
    assert [b"hun"] == secrets(redactor(), b"sh\0-c\0mysql -p'hun"[:-4] + b"hun")
    assert redactor().redact(b"mysql\0-p") is None


def test_places_move() -> None:
    """What was at a place in argv is at another: before, in and behind a secret."""
    line = argv("mysql", "-pab", "-pabc", "x")
    done = redactor().redact(line)
    assert done is not None
    redacted, moves = done

    for at in (0, 7, line.index(b"-pabc"), line.index(b"x\0"), len(line)):
        assert line[at:][-2:] == redacted[shifted(at, moves) :][-2:]
    assert 8 + MARK_BYTES == shifted(9, moves)


def test_many_secrets_end_with_one_mark_for_the_rest() -> None:
    """Work is bounded, and nothing is shown for it."""
    line = argv("mysql", *(f"-psecret{number}" for number in range(3000)))
    done = redactor().redact(line)

    assert done is not None
    redacted, moves = done
    assert len(moves) == finder.MOST_PLACES + 1
    assert b"secret" not in redacted
    assert redacted.endswith(b"\0")
    assert moves[-1].old_at + moves[-1].old_size == len(line) - 1


def test_a_long_list_of_files_is_not_touched_beyond_what_is_looked_at() -> None:
    """The rest is redacted only if a rule could apply in it, from there on."""
    files = [f"f{number}" for number in range(finder.MOST_STEPS * 2)]
    mysql = ("tar", "czf", "x.tgz", "/var/lib/mysql")

    assert redactor().redact(argv(*mysql, *files)) is None
    assert [b"DB_PASSWORD=x\0b"] == secrets(redactor(), argv(*mysql, *files, "a", "DB_PASSWORD=x", "b"))
    assert [b"-px\0b"] == secrets(redactor(), argv(*mysql, *files, "a", "-px", "b"))


HOSTILE = {
    "options": b"mysql\0" + b"-p\0" * 60_000,
    "values": b"mysql\0" + b"-px\0" * 60_000,
    "words": b"mysql\0" + b"ab\0" * 60_000,
    "pairs": b"password=a;" * 20_000,
    "no pairs": b"password=;" * 20_000,
    "names": b"password" * 25_000,
    "urls": b"://a:b@" * 30_000,
    "script": b"sh\0-c\0" + b"mysql -pa;" * 20_000,
    "quotes": b'mysql \'"\\"' * 20_000,
    "nested": b"-c\0" + b"'\"mysql " * 20_000,
    "JSON": b'"password":"' * 17_000,
    "headers": b"Authorization: x\0" * 12_000,
    "blanks": b"password = " + b" " * 200_000,
    "keys": b"-----BEGIN PRIVATE KEY-----a\0" * 7000,
    "token": b"ghp_" + b"a" * 200_000,
    "SQL": b"identified by '" * 13_000,
}


def looked_at(text: bytes, monkeypatch: pytest.MonkeyPatch) -> tuple[list[finder.Found], int]:
    """Returns what is found in a text, and how many steps that took."""
    taken = 0
    step = finder.Finder._step

    def count(self: finder.Finder, at: int, cost: int = 1) -> None:
        nonlocal taken
        taken += cost
        step(self, at, cost)

    with monkeypatch.context() as patched:
        patched.setattr(finder.Finder, "_step", count)
        return redactor().find(text), taken


@pytest.mark.parametrize("name", HOSTILE)
def test_work_is_bounded_whatever_is_written(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attacker's argv costs so many steps, whatever its size."""
    for text in (HOSTILE[name], HOSTILE[name] * 5):
        found, taken = looked_at(text, monkeypatch)

        assert len(found) <= finder.MOST_PLACES + 1
        assert all(first.end <= second.start for first, second in itertools.pairwise(found))
        # Expressions and words are counted apart.
        assert taken <= 2 * (finder.MOST_STEPS + finder._MATCH)


def test_own_rules_come_first() -> None:
    """They may say that an option of a preset has no secret."""
    line = argv("mysql", "-p3306")
    settings = RedactSettings(
        ("mysql",), with_rules({"program": "mysql", "option": "-p", "value": "none"})._rules.rules
    )

    assert [b"3306"] == secrets(redactor("mysql"), line)
    assert [] == secrets(Redactor(compile_rules(settings), KEY), line)


@pytest.mark.parametrize(
    ("rule", "line", "expected"),
    [
        ({"option": "--pin"}, argv("x", "--pin", "1234", "--pin=99", "--pins", "7"), [b"1234", b"99"]),
        ({"option": "--pin", "value": "next"}, argv("x", "--pin=99", "--pin", "12"), [b"12"]),
        ({"program": "x*", "option": "-s"}, argv("/bin/xyz", "-s", "a", "-sb"), [b"a", b"b"]),
        ({"program": "x", "option": "-s"}, argv("y", "-s", "a"), []),
        ({"program": "x", "option": "-s", "flags": "vq"}, argv("x", "-vqs", "a", "-zsb"), [b"a"]),
        ({"program": "x", "option": "-c", "after": ":", "before": "@"}, argv("x", "-c", "u:s@h"), [b"s"]),
        (
            {"program": "x", "option": "-p", "command": "login"},
            argv("x", "-p", "1", "login", "-p", "2"),
            [b"2"],
        ),
        ({"program": "x", "arguments": "add * SECRET"}, argv("x", "-v", "add", "bob", "s3", "t"), [b"s3"]),
        ({"program": "x", "arguments": "SECRET", "needs": "-b"}, argv("x", "a"), []),
        ({"program": "x", "arguments": "SECRET", "needs": "-b"}, argv("x", "-b", "a"), [b"a"]),
        (
            {"name": "*pin*", "except": "*_len"},
            argv("A_PIN=1x", "PIN_LEN=5", "x?mypin=22&a=1"),
            [b"1x", b"22"],
        ),
        ({"userinfo": True}, argv("https://u:pw@h:80/a@b", "http://h:80/"), [b"pw"]),
        ({"header": "X-Key"}, argv("x-key: Bearer abc", "y: z"), [b"abc"]),
        ({"regex": "id-([0-9]+)-([a-z]+)"}, argv("a id-12-ab b"), [b"12", b"ab"]),
        ({"regex": "^s.*$"}, argv("secret one", "no secret", "s2"), [b"secret one", b"s2"]),
        ({"regex": "(?:ü)+"}, argv("xüüx"), ["üü".encode()]),
    ],
    ids=str,
)
def test_each_kind_of_rule(rule: dict[str, object], line: bytes, expected: list[bytes]) -> None:
    """As docs/redaction.md says."""
    assert expected == secrets(with_rules(rule), line)
