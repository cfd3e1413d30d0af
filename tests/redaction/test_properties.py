"""Whatever an ordinary user writes into argv, what is redacted is exact and nothing else changes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from execaudit.redaction.finder import MOST_PLACES, Finder, settled
from execaudit.redaction.marks import mark
from execaudit.redaction.redactor import _AS_LINES, shifted
from tests.redaction.corpus import lines
from tests.redaction.making import KEY, argv, redactor

_PIECES = st.sampled_from(
    [
        b"mysql",
        b"-p",
        b"-psecret",
        b"--password",
        b"=",
        b"password",
        b"'",
        b'"',
        b"\\",
        b" ",
        b";",
        b"|",
        b"\n",
        b"sh",
        b"-c",
        b"https://u:pw@h",
        b"://",
        b":",
        b"@",
        b"curl",
        b"-u",
        b"a:b",
        b"Authorization: ",
        b"Bearer ",
        b"token",
        b"\xff",
        "é".encode(),
        b"$X",
        b"`",
        b"REDACTED:aaaaaaaaaaaa",
        b"ssh",
        b"docker login",
        b"&",
        b",x=",
    ]
)
_HOSTILE = st.lists(
    st.one_of(
        st.lists(_PIECES, max_size=12).map(b"".join),
        st.binary(max_size=20).map(lambda text: text.replace(b"\0", b"")),
    ),
    max_size=12,
)
_CORPUS = [line.argv for line in lines("with_secrets.txt")]


def check(line: bytes) -> None:
    """Checks all that is true of each result."""
    # Most command lines are not looked at, because one search finds nothing in them: it must miss none.
    unasked = Finder(redactor()._rules, line, line.translate(_AS_LINES))
    unasked.find()
    assert settled(unasked.found) == redactor().find(line)

    done = redactor().redact(line)
    if done is None:
        assert redactor().find(line) == []
        return
    redacted, moves = done
    assert len(moves) <= MOST_PLACES + 1
    assert line.count(b"\0") == redacted.count(b"\0")
    back, old, new = b"", 0, 0
    for move in moves:
        assert old <= move.old_at < move.old_at + move.old_size <= len(line)
        secret = line[move.old_at : move.old_at + move.old_size]
        assert redacted[move.new_at : move.new_at + move.new_size] == mark(secret, KEY)
        assert line[old : move.old_at] == redacted[new : move.new_at]
        back += redacted[new : move.new_at] + secret
        old, new = move.old_at + move.old_size, move.new_at + move.new_size
    assert back + redacted[new:] == line
    assert shifted(len(line), moves) == len(redacted)


@given(arguments=_HOSTILE, lacks_its_end=st.booleans())
def test_redaction_is_exact(arguments: list[bytes], *, lacks_its_end: bool) -> None:
    """Marks stand where the secrets stood, each argument stays one, and all other bytes are the same."""
    line = argv(*arguments)
    check(line[:-1] if lacks_its_end else line)


@given(line=st.sampled_from(_CORPUS), size=st.integers(0, 400))
def test_a_cut_line_is_redacted_as_far_as_it_goes(line: bytes, size: int) -> None:
    """Cut anywhere; what of a secret was captured does not stay when its beginning says what it is."""
    check(line[:size])


@given(line=st.binary(max_size=300))
def test_any_bytes_are_taken(line: bytes) -> None:
    """Those without a NUL, and those with nothing but these."""
    check(line)


@given(
    secret=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=6).filter(
        lambda text: text[0].isalnum()
    )
)
def test_a_secret_of_any_characters_is_replaced(secret: str) -> None:
    """As one argument, it is replaced as a whole."""
    for line in (
        argv("sshpass", "-p", secret, "ssh", "h"),
        argv("mysql", f"-p{secret}"),
        argv("x", "--password", secret),
    ):
        done = redactor().redact(line)
        assert done is not None
        assert argv(secret)[:-1] not in done[0].replace(mark(secret.encode(), KEY), b"")
