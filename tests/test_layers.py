"""Who may import whom: the layers of CONTRIBUTING.md, checked."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from tests.commands import execaudit
from tests.families import Family, make_family

PACKAGE = Path(__file__).parent.parent / "execaudit"

# What each module may import of ours; `cli` may import everything, nothing may import `cli`.
LAYERS: dict[str, set[str]] = {
    "errors": set(),
    "globs": set(),
    "timelimit": {"errors"},
    "event": set(),
    "formats": set(),
    "revision": set(),
    "text": set(),
    "widths": set(),
    "users": {"text"},
    "notify": set(),
    "logs": {"stream"},
    "stream": set(),
    "stopping": {"errors", "stream"},
    "schema": set(),
    "signed64": set(),
    "privileges": {"errors"},
    "procread": set(),
    "procfs": {"procread"},
    "codes": {"event"},
    "clock": {"event"},
    "location": {"errors"},
    "settings": {"errors"},
    "lock": {"errors", "safe_open"},
    "container": {"text"},
    "times": {"errors", "event", "text"},
    "wire": {"errors"},
    "assemble": {"event", "shorten", "unfinished", "wire"},
    "unfinished": set(),
    "shorten": {"event"},
    "losses": {"event"},
    "snapshot": {"event", "procfs"},
    "btf": {"errors"},
    "ringbuf": {"errors"},
    "kprobes": {"errors"},
    "means": {"errors", "kprobes"},
    "loader": {"btf", "errors", "kprobes", "means"},
    "handover": set(),
    "memory": set(),
    "misses": {"btf"},
    "own_tracefs": {"means"},
    "probe": {
        "errors",
        "handover",
        "kprobes",
        "loader",
        "means",
        "misses",
        "own_tracefs",
        "privileges",
        "ringbuf",
    },
    "sight": {"errors", "kprobes", "means"},
    "doctor": {"clock", "errors", "kprobes", "loader", "means", "privileges", "probe", "sight", "text"},
    "record": {"container", "event", "text", "times"},
    "jsonline": {"container", "event", "record", "text", "times"},
    "csvline": {"container", "event", "record", "text", "times"},
    "csvrows": {"codes", "csvline", "event", "record", "rows", "times"},
    "abreast": {"errors"},
    "writing": {"abreast", "csvline", "csvrows", "filters", "formats", "query", "reader", "render"},
    "timecolumn": {"times"},
    "render": {"csvline", "event", "jsonline", "record", "text", "timecolumn", "times", "widths"},
    "family": set(),
    "draw": {"family"},
    "brief": {"draw", "event", "record", "text", "times", "widths"},
    # The write side and the read side: neither knows the other, but for what SQLite files are.
    "reader": {"errors", "revision"},
    "keys": {"codes", "event"},
    "filters": {"codes", "event", "globs", "rows"},
    "matching": {"codes", "container", "event", "filters", "globs", "reader", "timelimit"},
    "rows": {"codes", "event", "signed64", "text"},
    "limits": {"event", "sizes"},
    "prune_plan": {"event", "limits"},
    "lean": {"codes", "event", "lineuse", "shorten", "transaction", "trigrams"},
    "prune": {"codes", "event", "lean", "lineuse", "prune_plan", "transaction", "trigrams"},
    "budget": {"backlog", "event", "losses"},
    "retention": {
        "backlog",
        "budget",
        "clock",
        "errors",
        "event",
        "limits",
        "prune",
        "prune_plan",
        "sizes",
        "store",
    },
    "backup": {"errors", "lock", "reader"},
    "recorders": {"clock", "event", "lock"},
    "query": {"errors", "event", "filters", "keys", "matching", "recorders", "resolve", "rows", "search"},
    "resolve": {"rows"},
    "stats": {"codes", "event", "filters", "query", "text"},
    "search": {"filters", "lineuse", "trigrams"},
    "trigrams": set(),
    "lineuse": set(),
    "transaction": set(),
    "indexing": {"lineuse", "transaction", "trigrams"},
    "interned": set(),
    "inserts": {"codes", "event", "interned", "keys", "schema", "signed64", "trigrams"},
    "store": {
        "clock",
        "errors",
        "event",
        "handover",
        "indexing",
        "inserts",
        "location",
        "lock",
        "revision",
        "schema",
    },
    "left_out": {"backlog", "errors", "event", "losses"},
    "backlog": {"event", "losses"},
    "ballast": set(),
    "safe_open": {"errors"},
    "log_limit": {"logfile"},
    "logfile": {"errors", "event", "safe_open", "text"},
    "sizes": {"errors", "text"},
    "upkeep": {"errors", "event", "limits", "logfile", "settings", "sizes", "times"},
    "health": set(),
    "monitor": {"health", "memory", "notify"},
    "sinks": {
        "backlog",
        "ballast",
        "errors",
        "event",
        "jsonline",
        "left_out",
        "logfile",
        "record",
        "render",
        "retention",
        "store",
        "timecolumn",
    },
    "gap_log": {"event", "losses"},
    "detached": {"backlog", "errors", "sinks"},
    "recorder": {
        "assemble",
        "backlog",
        "clock",
        "errors",
        "event",
        "gap_log",
        "health",
        "losses",
        "probe",
        "sinks",
        "start",
        "stopping",
        "wire",
    },
    "start": {"clock", "event", "memory", "probe", "procfs", "snapshot", "wire"},
}

# The only users of what is heavy, or of the distribution's.
OWNERS = {
    "alembic": {"store"},
    "bcc": {"loader"},
    "click": {"cli"},
    "ctypes": {"btf", "handover", "loader", "memory", "misses", "own_tracefs", "privileges", "procread"},
    "sqlalchemy": {"inserts", "interned", "schema", "store"},
    "structlog": {
        "detached",
        "left_out",
        "gap_log",
        "logfile",
        "logs",
        "monitor",
        "recorder",
        "retention",
        "sinks",
        "start",
    },
}

# Without clock, files, processes and users: whatever they return comes from their arguments.
PURE = (
    "assemble", "brief", "codes", "container", "draw", "errors", "event", "filters", "formats", "jsonline",
    "keys", "location", "record", "render", "rows", "shorten", "snapshot", "text", "times", "widths", "wire",
    "assemble", "brief", "codes", "container", "draw", "errors", "event", "filters", "formats", "globs", "jsonline",
    "keys", "location", "record", "render", "rows", "shorten", "snapshot", "text", "times", "wire",
)  # fmt: skip
IMPURE = {"time", "os", "socket", "subprocess", "pwd", "sqlite3", "threading", "random", "tempfile"}


def imports(path: Path) -> tuple[set[str], set[str]]:
    """Returns what a file imports: modules of ours, and other packages."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            inside = node.module == "execaudit"
            names |= {f"execaudit.{alias.name}" for alias in node.names} if inside else {str(node.module)}
    ours = {name.split(".")[1] for name in names if name.startswith("execaudit.")} - {"__version__"}
    return ours, {name.split(".")[0] for name in names} - {"execaudit"}


MODULES = {path.stem: path for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")}


def test_every_module_has_its_layer() -> None:
    """A new module is put into the table, a removed one taken out."""
    assert set(LAYERS) == set(MODULES)


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_a_module_imports_only_what_its_layer_may(name: str) -> None:
    """No module reaches up or across."""
    ours, _ = imports(MODULES[name])

    assert ours <= LAYERS[name]


def test_heavy_packages_have_their_owners() -> None:
    """What takes long to import, or is not on every machine, is imported in few places."""
    users: dict[str, set[str]] = {package: set() for package in OWNERS}
    for path in PACKAGE.rglob("*.py"):
        owner = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for package in imports(path)[1] & set(OWNERS):
            users[package].add(owner)

    assert users == OWNERS


@pytest.mark.parametrize("name", PURE)
def test_a_pure_module_cannot_reach_the_world(name: str) -> None:
    """It imports nothing that reads a clock, a file or the machine."""
    assert set() == imports(MODULES[name])[1] & IMPURE


# What takes long to import, and no local question needs; some is not installed, and is to stay away.
SLOW = (set(OWNERS) - {"click", "ctypes"}) | {"asyncio", "pyarrow", "rich", "ssl"}
READING = ("query", "export", "show", "tree", "stats")
_PROGRAM = """
import atexit, sys
atexit.register(lambda: print(*sorted(sys.modules), file=sys.stderr))
from execaudit.cli import main
main()
"""


def imported(*arguments: str, **variables: str) -> set[str]:
    """Runs a command, and returns the names of all modules that it imported."""
    done = execaudit(
        "--config", "/dev/null", *arguments, env=variables, before=(sys.executable, "-c", _PROGRAM)
    )
    assert done.status == 0
    assert done.out
    modules = set(done.err.decode().splitlines()[-1].split())
    assert "execaudit.cli" in modules
    return modules


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    """A history to ask."""
    return make_family(tmp_path_factory.mktemp("history") / "history.db")


@pytest.mark.parametrize(
    "arguments",
    [
        ["query"],
        ["query", "--since=@1", "--comm=g*", "--args-regex=x", "--user=0", "--format=table"],
        ["query", "--under=ID", "--format=csv"],
        ["export"],
        ["show", "ID"],
        ["show", "ID", "--format=json"],
        ["tree", "--id=ID"],
        ["tree", "--format=jsonl"],
        ["stats"],
        ["stats", "--format=json"],
    ],
    ids=" ".join,
)
def test_reading_imports_nothing_slow(family: Family, arguments: list[str]) -> None:
    """Asking the history loads none of what only recording and other databases need."""
    given = [word.replace("ID", family.id_of("make")) for word in arguments]

    assert not SLOW & imported(f"--db={family.path}", *given)


@pytest.mark.parametrize("command", ["", "record", *READING])
def test_help_and_completion_import_no_more_than_the_options(command: str) -> None:
    """Who presses the tabulator does not wait for what would answer the question."""
    words = f"execaudit {command} --" if command else "execaudit --"
    count = str(len(words.split()) - 1)
    completing = imported(_EXECAUDIT_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=count)
    helping = imported(*[command] * bool(command), "--help")

    for modules in (completing, helping):
        assert not command or f"execaudit.cli.{command}" in modules
        assert not modules & (SLOW | {"sqlite3", "execaudit.query", "execaudit.render"})
