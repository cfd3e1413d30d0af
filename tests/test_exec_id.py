"""Exec ids."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from execaudit.exec_id import ID_LENGTH, ExecKey, boot_prefix, decode_id, encode_id, keys_from

keys = st.builds(
    ExecKey,
    boot=st.integers(0, 2**28 - 1),
    boot_ns=st.integers(0, 2**60 - 1),
    task=st.integers(0, 2**22 - 1),
)


@given(keys)
def test_an_id_says_what_it_was_made_of(key: ExecKey) -> None:
    """The id of any key, as long as a pid and an uptime can get, gives the key back."""
    text = encode_id(key)

    assert ID_LENGTH == len(text)
    assert key == decode_id(text)


@given(keys, keys)
def test_ids_of_one_boot_sort_by_time(one: ExecKey, other: ExecKey) -> None:
    """As texts, ids stand in the order of boot, time and task."""
    assert (one < other) == (encode_id(one) < encode_id(other))


@given(keys)
def test_an_id_may_be_typed_in_capitals(key: ExecKey) -> None:
    """Letters of either case name the same exec."""
    assert key == decode_id(encode_id(key).upper())


@given(keys, st.integers(1, ID_LENGTH), keys)
def test_a_beginning_has_a_first_and_a_last_key(key: ExecKey, length: int, other: ExecKey) -> None:
    """Just the ids from the first to the last begin so."""
    beginning = encode_id(key)[:length]
    first, last = keys_from(beginning) or (None, None)
    assert first is not None
    assert last is not None

    assert first <= key <= last
    assert (first <= other <= last) == encode_id(other).startswith(beginning)


@given(st.text(max_size=30))
def test_other_texts_are_no_ids(text: str) -> None:
    """Whatever is typed is an id that encodes back to itself, or none at all."""
    key = decode_id(text)

    assert key is None or encode_id(key) == text.lower()


def test_the_boot_is_part_of_the_id() -> None:
    """Execs of two boots differ though time and pid agree."""
    one, other = (boot_prefix(f"{first}0b22f0-c730-46c7-8272-c5ebd89a5692") for first in "de")

    assert encode_id(ExecKey(one, 1, 1)) != encode_id(ExecKey(other, 1, 1))
