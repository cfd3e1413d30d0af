"""Names of uids."""

from __future__ import annotations

import pwd
import threading
import time
from typing import TYPE_CHECKING

import pytest

from execaudit.system import usernames
from execaudit.system.usernames import UserNames

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("entry", pwd.getpwall(), ids=lambda entry: entry.pw_name)
def test_every_user_of_the_host_has_a_name(entry: pwd.struct_passwd) -> None:
    """A uid has the name that the host gives it, asked for once or twice."""
    names = UserNames()
    expected = pwd.getpwuid(entry.pw_uid).pw_name

    assert [expected, expected] == [names.name_of(entry.pw_uid), names.name_of(entry.pw_uid)]


@pytest.mark.parametrize("uid", [2**31 - 7, 2**32 - 2, 2**32 - 1])
def test_a_uid_without_a_name_has_none(uid: int) -> None:
    """A uid that is nobody's, also the largest, is no error."""
    assert UserNames().name_of(uid) is None


def await_name(names: UserNames, uid: int, name: str | None) -> None:
    """Returns when it is the name of the uid."""
    deadline = time.monotonic() + 60
    while names.name_of(uid) != name:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_name_is_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user that was renamed has the new name soon after the time of remembering; nobody waits for it."""
    answers = {7: "before"}
    monkeypatch.setattr(usernames, "_name_of", answers.get)
    names = UserNames()
    await_name(names, 7, "before")
    answers[7] = "after"
    assert "before" == names.name_of(7)

    monkeypatch.setattr(usernames, "_REMEMBER_SECONDS", -1)
    await_name(names, 7, "after")


def test_a_directory_service_that_hangs_costs_the_names_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first name is waited for, a little; then none is, until the service answers."""
    answers = threading.Event()

    def hangs(uid: int) -> str:
        assert answers.wait(60)
        return f"u{uid}"

    monkeypatch.setattr(usernames, "_name_of", hangs)
    monkeypatch.setattr(usernames, "_PATIENCE_SECONDS", 0.05)
    waits: list[float | None] = []
    names = UserNames()
    wait_for = names._changed.wait_for

    def counted(predicate: Callable[[], object], timeout: float | None = None) -> object:
        if threading.current_thread() is threading.main_thread():
            waits.append(timeout)
        return wait_for(predicate, timeout)

    monkeypatch.setattr(names._changed, "wait_for", counted)
    assert names.name_of(0) is None
    while time.monotonic() - (names._asking_since or time.monotonic()) < 0.05:
        time.sleep(0.005)
    waits.clear()
    assert {None} == {names.name_of(uid) for uid in range(10_000)}
    assert [] == waits
    answers.set()
    await_name(names, 9_999, "u9999")
    await_name(names, 0, "u0")


def test_slow_answers_take_a_part_of_the_time_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts programs as one uid after the other does not keep the recorder waiting."""
    monkeypatch.setattr(usernames, "_MOST_WAITING_SECONDS", 1.0)

    def slow(uid: int) -> str:
        time.sleep(0.02)
        return f"u{uid}"

    monkeypatch.setattr(usernames, "_name_of", slow)
    names = UserNames()
    began = time.monotonic()
    found = [names.name_of(uid) for uid in range(3000)]
    took = time.monotonic() - began

    assert found[0] == "u0"
    # To wait for all would take a minute.
    assert found.count(None) > 2500
    assert took < 30
