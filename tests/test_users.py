"""Names of uids."""

from __future__ import annotations

import pwd

import pytest

from execaudit import users
from execaudit.users import UserNames


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


def test_a_name_is_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user that was renamed has the new name when the time of remembering is over."""
    names = UserNames()
    names.name_of(0)
    names._known[0] = "the name before"
    assert names.name_of(0) == "the name before"

    monkeypatch.setattr(users, "_REMEMBER_SECONDS", -1)
    assert names.name_of(0) == pwd.getpwuid(0).pw_name
