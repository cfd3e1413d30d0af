"""Display safety and quoting: what a terminal shows and what bash reads back."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.escaping import exact, is_visible, printable, shell_quote, shell_words
from tests.examples import examples

HOSTILE = "'\"\\$`!~#*?[](){}<>|&;=^ \n\t\r\x01\x07\x1b\x7f\x80\x9b\xa0é\u200b\u202e\u2028\ufeff漢\U000e0041\u3164\ufe0f\U000e0101\u034faA09"
ARGS = st.one_of(
    st.binary(),
    st.text(HOSTILE).map(str.encode),
    st.text("ab1/.=-\\'x0 ").map(str.encode),
    st.lists(st.sampled_from([*map(str.encode, HOSTILE), b"\x80", b"\xc3", b"\xff"])).map(b"".join),
).map(lambda raw: raw.replace(b"\0", b""))


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
@examples(60)
@given(args=st.lists(ARGS, min_size=1, max_size=20))
def test_bash_reads_the_same_bytes_back(locale: str, args: list[bytes]) -> None:
    """A word of shell_quote, pasted into bash, is the argument again, byte for byte, in any locale."""
    script = "printf '%s\\0' " + " ".join(map(shell_quote, args))
    bash = subprocess.run(
        ["/bin/bash", "--norc"],
        input=script.encode(),
        capture_output=True,
        check=True,
        env={"LC_ALL": locale, "PATH": "/usr/bin:/bin"},
    )

    assert b"".join(arg + b"\0" for arg in args) == bash.stdout


@given(ARGS)
def test_quoted_words_are_safe_to_show(arg: bytes) -> None:
    """Nothing that a terminal obeys is in a quoted word."""
    assert is_visible(shell_quote(arg))


@given(st.text())
def test_printable_text_is_quoted_as_python_does(text: str) -> None:
    """An argument without controls gets the quotes that shlex.quote gives it."""
    shown = printable(text)

    assert shlex.quote(shown) == shell_quote(shown.encode())


@given(ARGS)
def test_a_bracket_is_never_first_in_a_word(rest: bytes) -> None:
    """An argument cannot look like the marker of missing bytes."""
    assert shell_quote(b"[" + rest).startswith(("'[", "$'["))


@given(st.lists(st.text("ab=/-\0 ").map(lambda text: text.replace("\0", "").encode()) | ARGS))
def test_words_of_many_are_the_words_of_each(args: list[bytes]) -> None:
    """Quoting a whole command line at once changes no word, empty ones included."""
    assert [shell_quote(arg) for arg in args] == shell_words(args)


@pytest.mark.parametrize(
    ("arg", "word"),
    [
        (b"", "''"),
        (b"--color=auto", "--color=auto"),
        (b"a b", "'a b'"),
        (b"it's", "'it'\"'\"'s'"),
        ("é".encode(), "'é'"),
        (b"a\nb'c\\", "$'a\\nb\\'c\\\\'"),
        (b"\x1bA\xff\t", "$'\\x1bA\\xff\\t'"),
        ("\u202ex".encode(), "$'\\xe2\\x80\\xaex'"),
    ],
)
def test_words_look_as_documented(arg: bytes, word: str) -> None:
    """Bare if safe, single quotes if printable, else ANSI-C quoting."""
    assert word == shell_quote(arg)


def test_every_character_becomes_safe_to_show() -> None:
    """No code point comes through printable that is not printable itself."""
    everything = "".join(map(chr, range(0x110000)))

    assert is_visible(printable(everything))


@pytest.mark.parametrize(
    "unseen",
    [
        "\xad", "\u034f", "\u061c", "\u115f", "\u1160", "\u17b4", "\u180b", "\u180e", "\u200b", "\u200d", "\u2028",
        "\u2029", "\u202e", "\u2060", "\u2064", "\u2066", "\u2800", "\u3000", "\u3164", "\ue000", "\ufe00", "\ufe0f", "\ufeff",
        "\uffa0", "\ufff9", "\U0001d159", "\U0001d173", "\U000e0001", "\U000e0041", "\U000e0100", "\U000e01ef",
        "\U000e0fff", "\U000f0000", "\U0010fffd",
    ],
)  # fmt: skip
def test_what_nobody_sees_is_escaped(unseen: str) -> None:
    """Two names never look the same; in a command bash still reads the same bytes."""
    code = ord(unseen)
    escape = f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

    assert f"a{escape}b" == printable(f"a{unseen}b")
    assert "$'a" + "".join(f"\\x{byte:02x}" for byte in unseen.encode()) + "b'" == shell_quote(
        f"a{unseen}b".encode()
    )


@given(st.text())
def test_what_is_printable_stays(text: str) -> None:
    """Printable characters around what is escaped are never touched."""
    assert "".join(char if is_visible(char) else printable(char) for char in text) == printable(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"caf\xc3\xa9 \xff", "café \\xff"),
        ("a\n\t\r\x1b[0m\x7f", "a\\n\\t\\r\\x1b[0m\\x7f"),
        ("\x9b", "\\u009b"),
        (b"\x9b", "\\x9b"),
        ("\u202e\u200b\u2028\xa0", "\\u202e\\u200b\\u2028\\u00a0"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_escapes_look_as_documented(text: bytes | str, shown: str) -> None:
    """Controls, invisible characters and invalid bytes have each their own escape."""
    assert shown == printable(text)


@given(st.text())
def test_exact_changes_no_valid_text(text: str) -> None:
    """Valid UTF-8 comes through exact as it is, controls included."""
    assert text == exact(text.encode())


def test_exact_shows_only_the_invalid_bytes() -> None:
    """Of text that is not UTF-8, exactly the wrong bytes are escaped."""
    assert "a\x1b\\xc3(é" == exact(b"a\x1b\xc3(\xc3\xa9")
