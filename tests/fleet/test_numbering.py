"""Numbers after a file was put back; and where two histories part."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from execaudit.central.numbering import Numbers, Shifts
from execaudit.forward.resume import last_common


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=6))
def test_no_number_is_given_twice(changes: list[tuple[int, int]]) -> None:
    """However often a file is put back: what it still has keeps its number, what is new gets the next one."""
    numbers, centre, host = Numbers(), [0], [0]
    for kept, more in changes:
        if kept < len(host) - 1:
            host = host[: kept + 1]
            numbers = numbers.going_on(kept, centre[-1])
        for _ in range(more):
            number = numbers.at_centre(len(host))
            assert number == centre[-1] + 1
            centre.append(number)
            host.append(number)
        assert host == [numbers.at_centre(local) for local in range(len(host))]
        assert len(host) - 1 == numbers.on_host(centre[-1])
        # All that is at the centre up to a number, as far as the host knows it.
        for number in centre:
            assert numbers.on_host(number) == max(local for local, each in enumerate(host) if each <= number)
        assert numbers == Shifts.from_json(Shifts(exec=numbers).to_json()).exec


@given(st.sets(st.integers(1, 40)), st.integers(0, 40), st.integers(0, 40), st.integers(0, 45))
def test_histories_agree_up_to_where_they_part(
    gone_here: set[int], gone_there: int, parted: int, limit: int
) -> None:
    """Whatever was pruned here, and however many of the oldest there."""
    here = {n: (n, int(n > parted)) for n in range(1, 41) if n not in gone_here}
    there = {n: (n, 0) for n in range(1, 41) if n > gone_there}

    def on_host(upto: int, after: int) -> tuple[int, tuple[int, ...]] | None:
        found = [n for n in here if after < n <= upto]
        return (max(found), here[max(found)]) if found else None

    common = last_common(limit, on_host, there.get)
    differing = [n for n in here if n in there and parted < n <= limit]
    assert common == (min(differing) - 1 if differing else limit)
