"""He makes much noise: it costs nobody else an exec, and what is dropped is counted as his."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.commands import NOBODY, PATIENCE
from tests.hostile.attacker import NEIGHBOUR, new_word

if TYPE_CHECKING:
    from tests.hostile.attacker import Attacker
    from tests.hostile.honest import Honest
    from tests.hostile.service import Service


def dropped(service: Service) -> int:
    """Returns how many execs gaps count as his, or as of several users."""
    ((count,),) = service.sql("SELECT coalesce(sum(count), 0) FROM gap WHERE uid IS NULL OR uid = ?", NOBODY)
    return int(count)


def stored(service: Service, word: str) -> int:
    """Returns how many execs with the word are in the history. That costs less than to read the long rows."""
    with_word = "SELECT count(*) FROM exec WHERE argv_id IN (SELECT id FROM argv WHERE instr(v, ?))"
    ((count,),) = service.sql(with_word, word.encode())
    return int(count)


def await_accounted(
    service: Service, count: int, before: int, word: str, *filters: str
) -> list[dict[str, Any]]:
    """Returns his execs that are in the history, when so many are there or in gaps that are new."""
    # A gap is stored some seconds after the loss, because those that follow each other are joined.
    deadline = time.monotonic() + PATIENCE
    while stored(service, word) + dropped(service) - before < count:
        assert time.monotonic() < deadline, service.said()
        time.sleep(0.1)
    # The program that started them has the word too.
    while len(rows := service.rows(*filters, "--args", word)) + dropped(service) - before < count:
        assert time.monotonic() < deadline, service.said()
        time.sleep(0.5)
    return rows


@pytest.mark.parametrize(("count", "size"), [(20_000, 4000), (1500, 60_000)])
def test_failed_execs_with_long_arguments(
    service: Service, attacker: Attacker, honest: Honest, count: int, size: int
) -> None:
    """Beside them all others' execs are there, those of another user too; and none of his is lost unsaid."""
    word, theirs, before = new_word(), new_word(), dropped(service)
    with attacker.start(attacker.program("failing"), str(count), str(size), word) as flood:
        honest.run(40)
        attacker.run(attacker.program("storm"), attacker.noop, "40", theirs, "0", user=NEIGHBOUR)
        assert flood.communicate()[0] == b"%d\n" % count
    honest.await_stored(service)

    assert set() == honest.missing_in(service)
    assert 40 == len(service.rows("--comm", "noop", "--args", theirs))
    await_accounted(service, count, before, word, "--failed")


def test_arguments_that_are_nowhere(service: Service, attacker: Attacker, honest: Honest) -> None:
    """Each second one of thousands: they are many records, and each such place is said in the row."""
    word, theirs, before = new_word(), new_word(), dropped(service)
    with attacker.start(attacker.program("torn"), "50", word) as flood:
        honest.run(40)
        attacker.run(attacker.program("storm"), attacker.noop, "40", theirs, "0", user=NEIGHBOUR)
        assert flood.communicate()[0] == b"50\n"
    honest.await_stored(service)

    assert set() == honest.missing_in(service)
    assert 40 == len(service.rows("--comm", "noop", "--args", theirs))
    rows = await_accounted(service, 50, before, word, "--failed")
    assert 0 < len(rows)
    assert all(row["truncated"] in {"fault", "lost"} and len(row["argv_missing"]) > 100 for row in rows)


def test_argument_lists_as_long_as_the_kernel_allows(
    service: Service, attacker: Attacker, honest: Honest
) -> None:
    """Two megabytes each, one after the other."""
    word = new_word()
    storm = (attacker.program("storm"), attacker.noop, "20", word, "2000")
    with attacker.start(*storm) as flood:
        honest.run(40)
        assert flood.communicate()[0] == b"20\n"
    honest.await_stored(service)

    assert set() == honest.missing_in(service)


def test_orphans(service: Service, attacker: Attacker, honest: Honest) -> None:
    """Processes that are gone before those that they have started."""
    word, before = new_word(), dropped(service)
    orphans = (attacker.program("orphans"), "2000", "16", attacker.noop, word)
    with attacker.start(*orphans) as flood:
        honest.run(40)
        assert flood.communicate()[0] == b"2000\n"
    honest.await_stored(service)

    assert set() == honest.missing_in(service)
    await_accounted(service, 2000, before, word, "--comm", "noop")
