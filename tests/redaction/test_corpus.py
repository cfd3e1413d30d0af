"""How many secrets of the corpus are found, and how much is redacted that is none."""

from __future__ import annotations

import pytest

from execaudit.redaction.marks import mark
from execaudit.redaction.presets import presets
from tests.redaction.corpus import Line, lines
from tests.redaction.making import KEY, redactor

WITH, WITHOUT = lines("with_secrets.txt"), lines("without_secrets.txt")
# What no rule finds: `key` and a command in an option's value say too little.
MISSED = {
    "msmtp --passwordeval 'echo ⟦ms⟧' a@b",
    "ffmpeg -i in.mp4 -f flv rtmp://live.example.org/app/stream?key=⟦streamkey⟧",
}
# More is replaced than the secret.
TOO_MUCH = {
    "s3cmd --access_key=AKIDX --secret_key=⟦s3sec⟧ ls s3://bucket",
    (
        "aws opensearch create-domain --advanced-security-options "
        "'MasterUserOptions={MasterUserName=a,MasterUserPassword=⟦os⟧}'"
    ),
}
# They have the form of a secret.
NO_SECRETS = {
    "git checkout -b token=refactor",
    "redis-cli get session:token=3",
    "aws ssm put-parameter --name /prod/host --type String --value web1",
    """jq '.password = "x"' f""",
}


def places(line: Line, *chosen: str) -> list[tuple[int, int]]:
    """Returns where secrets were found in a line."""
    return [(each.start, each.end) for each in redactor(*chosen).find(line.argv)]


def is_found(line: Line, *chosen: str) -> bool:
    """Says whether each byte of each secret is replaced."""
    found = places(line, *chosen)
    return all(any(start <= first and last <= end for start, end in found) for first, last in line.places)


def test_the_corpus_is_large_and_various() -> None:
    """At least 300 lines of each kind, a third or so written after the rules, and secrets of each preset."""
    for each in (WITH, WITHOUT):
        assert len(each) >= 300
        assert 0.25 < sum(line.is_held_out for line in each) / len(each) < 0.45
        assert len({line.text for line in each}) == len(each)
    assert {line.preset for line in WITH} == set(presets())
    assert all(line.places for line in WITH)
    assert not any(line.places for line in WITHOUT)


def test_all_secrets_are_found() -> None:
    """But for those that are named here."""
    assert {line.text for line in WITH if not is_found(line)} == MISSED


def test_no_more_than_the_secrets_is_replaced() -> None:
    """What is left of the line still says what was done."""
    found = {line.text for line in WITH if is_found(line) and places(line) != list(line.places)}
    assert found == TOO_MUCH


def test_nothing_else_is_replaced() -> None:
    """But for what is named here."""
    assert {line.text for line in WITHOUT if places(line)} == NO_SECRETS


def test_lines_for_which_no_rule_was_made_are_found_as_often_as_the_page_says() -> None:
    """When this number changes, correct the page. Do not make rules for these lines."""
    unseen = lines("unseen.txt")

    assert (65, 55) == (len(unseen), sum(is_found(line) for line in unseen))


@pytest.mark.parametrize("line", WITH, ids=lambda line: line.text[:40])
def test_a_redacted_line_has_marks_for_the_secrets(line: Line) -> None:
    """Exactly what redact() returns, and the rest of the line byte for byte."""
    if line.text in MISSED | TOO_MUCH:
        return
    expected, at = b"", 0
    for start, end in line.places:
        expected += line.argv[at:start] + mark(line.argv[start:end], KEY)
        at = end
    done = redactor().redact(line.argv)

    assert done is not None
    assert expected + line.argv[at:] == done[0]
    # Redacted lines stay as they are when they are redacted again: a history may be exported and imported.
    assert redactor().redact(done[0]) is None
