"""Who a program was, against what the program says of itself, in every guise."""

from __future__ import annotations

import pwd
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.live.lineage import IDENTITY, by_id, identity_of, identity_seen
from tests.live.recording import recording, text
from tests.truth.guise_setup import NOBODY, Guises
from tests.truth.guises import (
    AFTER_FAILURE,
    BELOW_CONTAINER,
    CONTAINER,
    FAILED,
    FROM_LOWERED_ROOT,
    GUISES,
    IN_CONTAINER,
    IN_USER_NAMESPACE,
    LOGGED_IN,
    NO_NAME,
    ODD_NAME,
)
from tests.truth.starts import MISC, SCRIPT

if TYPE_CHECKING:
    from tests.live.conftest import History
    from tests.live.recording import Row
    from tests.truth.acts import Play, Who
    from tests.truth.programs import Programs

_OF_A_FAILED_EXEC = (
    "pid", "ppid", "parent_comm", "uid", "euid", "gid", "auid", "session", "login_user", "user", "tty", "cgroup",
    "container_id", "cwd", "parent_id",
)  # fmt: skip

guises = pytest.mark.parametrize("name", GUISES)
_GAINED = [name for name, guise in GUISES.items() if guise.privileged and name != FROM_LOWERED_ROOT]


class Disguised(NamedTuple):
    """What was started in guises under one recorder."""

    stage: Guises
    plays: dict[str, Play]
    rows: list[Row]

    def who(self, name: str) -> Who:
        """Returns what the program said of itself."""
        (who,) = self.plays[name].who
        return who

    def row(self, name: str) -> Row:
        """Returns its record."""
        who = self.who(name)
        (row,) = (
            row
            for row in self.rows
            if row["kind"] == "exec" and (row["pid"], row["exe"]) == (who.pid, text(who.exe))
        )
        return row


@pytest.fixture(scope="module")
def disguised(built: Programs, tmp_path_factory: pytest.TempPathFactory) -> Disguised:
    """Everything started once, under one recorder."""
    folder = built.folder / "guises"
    folder.mkdir()
    stage = Guises(built, folder)
    with recording(tmp_path_factory.mktemp("guises")) as recorded, stage.mounted():
        plays = {name: guise.run(stage, name) for name, guise in GUISES.items()}
    return Disguised(stage, plays, recorded.rows())


@guises
def test_guise_was_taken(disguised: Disguised, name: str) -> None:
    """The program ran, once, and ended well."""
    assert disguised.plays[name].status() == 0
    assert len(disguised.plays[name].who) == 1


def _as_the_host_sees(name: str, seen: dict[str, object], stage: Guises) -> dict[str, object]:
    if name == IN_USER_NAMESPACE:
        return {**seen, "uid": NOBODY, "euid": NOBODY, "gid": NOBODY}
    if name == IN_CONTAINER:
        # In a namespace of its own a program takes its cgroup for the root.
        group = f"/{stage.group_name}/{IN_CONTAINER}/docker/{CONTAINER}"
        return {**seen, "cgroup": group}
    if name in BELOW_CONTAINER:
        kept = cut_group(str(seen["cgroup"]))
        return {**seen, "cgroup": kept}
    return seen


def cut_group(path: str) -> str:
    """Returns what is recorded of a cgroup's path: 64 components from the root on, and about 1 KiB."""
    kept: list[str] = []
    for part in path.split("/")[1:]:
        if len(kept) == 64 or sum(len(name) + 1 for name in kept) >= 1280:
            break
        kept.append(part)
    return "/".join(("", *kept, "(cut)"))


@guises
def test_identity_is_what_the_program_saw(disguised: Disguised, name: str) -> None:
    """Process, parent, users, login, terminal, cgroup and image are those that the program found."""
    seen = identity_seen(disguised.who(name))

    assert _as_the_host_sees(name, seen, disguised.stage) == identity_of(disguised.row(name))


@guises
def test_names_are_those_of_the_users(disguised: Disguised, name: str) -> None:
    """A user without a name has none, and who is not logged in has no login."""
    row = disguised.row(name)

    assert (_name_of(row["uid"]), _name_of(row["auid"])) == (row["user"], row["login_user"])


def _name_of(uid: int | None) -> str | None:
    try:
        return None if uid is None else pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


@guises
def test_privileges_are_named_that_the_file_gave(disguised: Disguised, name: str) -> None:
    """What the process had before, or did not get, is not named."""
    assert GUISES[name].privileged == disguised.row(name)["privileged"]


@pytest.mark.parametrize("name", _GAINED)
def test_privileges_were_given(disguised: Disguised, name: str) -> None:
    """The truth is no accident: the kernel says that such a program was to be careful."""
    assert disguised.who(name).secure == 1


@guises
def test_the_effective_group_is_the_programs(disguised: Disguised, name: str) -> None:
    """As the program itself says, or as the host sees a group that only its namespace has."""
    expected = NOBODY if name == IN_USER_NAMESPACE else disguised.who(name).egid

    assert expected == disguised.row(name)["egid"]


@guises
def test_interpreter_is_that_of_a_script(disguised: Disguised, name: str) -> None:
    """It is the program that runs, as the first line named it; what is no script has none."""
    interpreter = GUISES[name].interpreter
    expected = interpreter and interpreter.format(disguised.stage.folder / name)

    assert expected == disguised.row(name)["interpreter"]


@guises
def test_container_is_known_by_its_cgroup(disguised: Disguised, name: str) -> None:
    """A cgroup whose name says so is a container's; all other programs are in none."""
    in_container = name == IN_CONTAINER or name in BELOW_CONTAINER
    assert (CONTAINER if in_container else None) == disguised.row(name)["container_id"]


@pytest.mark.parametrize("name", [name for name in GUISES if name.endswith("without-new-privileges")])
def test_privileges_were_not_given(disguised: Disguised, name: str) -> None:
    """Nor is that an accident."""
    who = disguised.who(name)

    assert (who.permitted, who.euid) == (0, NOBODY)


def test_guises_were_what_they_seemed(disguised: Disguised) -> None:
    """Each guise had the one fact that it is there for."""
    facts = {
        "setpriv": disguised.who("setpriv").uid == 1,
        "sudo": disguised.who("sudo").uid == NOBODY,
        "login": disguised.who("login").auid == LOGGED_IN,
        "login-without-name": disguised.who("login-without-name").auid == NO_NAME,
        "terminal": disguised.who("terminal").tty is not None,
        "without-terminal": disguised.who("without-terminal").tty is None,
        "oddly-named-parent": disguised.who("oddly-named-parent").parent_comm == ODD_NAME,
        "forked-by-named-thread": disguised.who("forked-by-named-thread").parent_comm == b"leader",
        "traced": disguised.who("traced").parent_comm == b"parent",
        "sibling": disguised.who("sibling").parent_comm == b"parent",
        "in-unified-group": "in-unified-group" in disguised.who("in-unified-group").cgroup_path,
        "in-pids-group": "in-pids-group" in disguised.who("in-pids-group").cgroup_path,
        "in-both-groups": disguised.who("in-both-groups").cgroup_path.endswith("-unified"),
        IN_CONTAINER: disguised.who(IN_CONTAINER).cgroup_path == "/",
        IN_USER_NAMESPACE: disguised.who(IN_USER_NAMESPACE).uid == 0,
        "setuid-twice": disguised.who("setuid-twice").euid == 0,
        "with-ambient-capability": disguised.who("with-ambient-capability").permitted != 0,
        "hard-link": disguised.who("hard-link").nlink == 2,
        "deleted": disguised.who("deleted").nlink == 0,
        "in-memory": disguised.who("in-memory").nlink == 0,
    }

    assert not [name for name, true in facts.items() if not true]


def test_failed_exec_has_the_identity_of_its_caller(disguised: Disguised) -> None:
    """All that the program found that the same process started afterwards; and no image of its own."""
    row = disguised.row(AFTER_FAILURE)
    (failed,) = (
        row for row in disguised.rows if row["filename"] == FAILED and row["argv"] == [FAILED, AFTER_FAILURE]
    )

    assert {key: row[key] for key in _OF_A_FAILED_EXEC} == {key: failed[key] for key in _OF_A_FAILED_EXEC}
    assert failed["tty"] == disguised.who(AFTER_FAILURE).tty is not None
    assert failed["auid"] == LOGGED_IN
    assert (failed["privileged"], failed["interpreter"], failed["comm"]) == (None, None, "parent")


def test_parent_is_what_the_identity_says(disguised: Disguised) -> None:
    """Where the parent did not end, and had not forked first, `parent_id` and `ppid` tell of one process."""
    rows = by_id(disguised.rows)
    one = {name: disguised.row(name) for name in ("login", "terminal", "without-terminal", "traced")}

    assert {name: row["ppid"] for name, row in one.items() if name != "terminal"} == {
        name: rows[row["parent_id"]]["pid"] for name, row in one.items() if name != "terminal"
    }
    # setsid replaced itself.
    assert one["terminal"]["pid"] == rows[one["terminal"]["parent_id"]]["pid"]


def test_identity_is_in_the_json_log_too(disguised: Disguised) -> None:
    """It was known when the exec was recorded."""
    assert set(IDENTITY) <= set(disguised.row("plain"))


def test_script_of_scripts_has_the_innermost_interpreter(history: History, built: Programs) -> None:
    """Of a script whose interpreter is a script the program is named that runs at last."""
    (row,) = history.by_start[SCRIPT]

    assert str(built.witness_named(SCRIPT)) == row["interpreter"]


def test_program_for_a_format_is_its_interpreter(history: History, built: Programs) -> None:
    """What binfmt_misc has for a file's first bytes is what runs it."""
    (row,) = history.by_start[MISC]

    assert str(built.witness_named(MISC)) == row["interpreter"]


def test_image_without_a_name_has_no_links(history: History) -> None:
    """Deleted files and memfds, as the other tests start them."""
    assert [history.by_start[name][0]["nlink"] for name in ("deleted-file", "memfd")] == [0, 0]
