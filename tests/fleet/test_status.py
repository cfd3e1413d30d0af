"""What is wrong with which host, from what was heard of it."""

from __future__ import annotations

from typing import Any

import pytest

from execaudit.fleet.status import Heard, Limits, Trouble, by_trouble, hosts_of

_NOW = 1_800_000_000_000_000_000
_SECOND = 1_000_000_000
_LIMITS = Limits()
_WELL = Heard(
    stream=1,
    host="web1",
    version="1",
    first_ns=_NOW - 30 * 24 * 3600 * _SECOND,
    contact_ns=_NOW - 10 * _SECOND,
    last_seq=1000,
    exec_seq=990,
    live_run=1,
    put_back=0,
    missed=0,
    gaps=0,
)


def _troubles(*heard: Heard, limits: Limits = _LIMITS) -> tuple[Trouble, ...]:
    (host,) = hosts_of(heard, now_ns=_NOW, limits=limits)
    return host.troubles


def test_a_host_that_does_well_has_no_trouble() -> None:
    """What has not arrived in the last seconds is no trouble."""
    (host,) = hosts_of([_WELL], now_ns=_NOW, limits=_LIMITS)

    assert (host.behind, host.missed, host.streams, host.troubles) == (10, 0, 1, ())


@pytest.mark.parametrize(
    ("change", "trouble"),
    [
        ({"contact_ns": _NOW - _LIMITS.silent_ns - 1}, Trouble.SILENT),
        ({"last_seq": 990 + _LIMITS.behind + 1}, Trouble.BEHIND),
        ({"live_run": None}, Trouble.NOT_RECORDED),
        ({"gaps": 1, "missed": 5}, Trouble.MISSED),
        ({"put_back": 1}, Trouble.PUT_BACK),
        ({"contact_ns": _NOW + _LIMITS.ahead_ns + 1}, Trouble.CLOCK),
    ],
    ids=lambda each: each.value if isinstance(each, Trouble) else "",
)
def test_each_trouble_is_found(change: dict[str, Any], trouble: Trouble) -> None:
    """Of one kind each; a nanosecond less is none."""
    assert _troubles(_WELL._replace(**change)) == (trouble,)
    for name, value in change.items():
        if name in {"contact_ns", "last_seq"}:
            at_bound = value + 1 if name == "contact_ns" and value < _NOW else value - 1
            assert _troubles(_WELL._replace(**{name: at_bound})) == ()


def test_a_gap_of_unknown_size_is_trouble() -> None:
    """Nobody knows how many were missed."""
    assert _troubles(_WELL._replace(gaps=1)) == (Trouble.MISSED,)


def test_the_history_that_was_heard_of_last_counts() -> None:
    """An old history of a host is not silent; that there is a new one is said for a while."""
    old = _WELL._replace(contact_ns=_NOW - 3 * 24 * 3600 * _SECOND, live_run=None)
    new = _WELL._replace(stream=2, first_ns=_NOW - 3600 * _SECOND)

    assert _troubles(old, new) == (Trouble.REPLACED,)
    assert _troubles(old, new, limits=Limits(lately_ns=1800 * _SECOND)) == ()


def test_what_was_imported_is_not_waited_for() -> None:
    """Nobody was to record it, or to ship more; and what was recorded there counts before it."""
    imported = _WELL._replace(is_import=True, live_run=None, contact_ns=_NOW - 3 * _LIMITS.silent_ns)
    later = imported._replace(stream=2, contact_ns=_NOW, first_ns=_NOW)

    assert _troubles(imported) == ()
    assert _troubles(_WELL, later) == ()
    assert _troubles(_WELL._replace(live_run=None), later) == (Trouble.NOT_RECORDED,)


def test_a_retired_host_has_no_trouble() -> None:
    """Whatever is wrong with it."""
    (host,) = hosts_of(
        [_WELL._replace(live_run=None, contact_ns=0, gaps=1, retired_ns=5)], now_ns=_NOW, limits=_LIMITS
    )

    assert (host.troubles, host.retired_ns) == ((), 5)


def test_troubles_name_their_hosts() -> None:
    """Kinds and hosts are in an order that stays."""
    hosts = hosts_of(
        [_WELL._replace(host=name, live_run=None) for name in ("b", "a")] + [_WELL],
        now_ns=_NOW,
        limits=_LIMITS,
    )

    assert [host.host for host in hosts] == ["a", "b", "web1"]
    assert by_trouble(hosts) == {Trouble.NOT_RECORDED: ["a", "b"]}
