"""Who may import whom: the layers of CONTRIBUTING.md, checked."""

from __future__ import annotations

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.commands import execaudit
from tests.families import Family, make_family

PACKAGE = Path(__file__).parent.parent / "execaudit"

# Who may import whom: a room knows itself and these. "" is the package's root, which every room knows.
_FLOOR = {"", "system", "database"}
ROOMS: dict[str, set[str]] = {
    "": set(),
    "system": {""},
    "native": {"system"},
    "database": {"", "system", "native"},
    "redaction": {""},
    "seal": _FLOOR | {"native"},
    "capture": {"", "system", "native"},
    "store": _FLOOR | {"native", "seal"},
    "query": _FLOOR | {"native"},
    "output": _FLOOR | {"native", "query"},
    "bundle": _FLOOR | {"native", "seal", "query", "output"},
    "hunt": _FLOOR | {"native", "query", "output"},
    "report": _FLOOR | {"query", "output"},
    "screen": _FLOOR | {"query", "output"},
    "importing": _FLOOR | {"native", "store", "query", "output"},
    "central": _FLOOR,
    "forward": _FLOOR | {"query", "central", "seal"},
    "fleet": _FLOOR | {"query", "output", "central", "seal"},
    "daemon": _FLOOR | {"native", "capture", "seal", "store", "output", "redaction"},
    "cli": _FLOOR
    | {
        "native",
        "redaction",
        "capture",
        "seal",
        "store",
        "query",
        "output",
        "bundle",
        "hunt",
        "report",
        "screen",
        "importing",
    }
    | {"daemon", "central", "forward", "fleet"},
}
MOST_AT_THE_ROOT = 12

# The only users of what is heavy, or of the distribution's.
OWNERS = {
    "ahocorasick_rs": {"hunt"},
    "alembic": {"store"},
    "bcc": {"capture"},
    "click": {"cli"},
    "clickhouse_driver": {"central"},
    "cryptography": {"seal"},
    "ctypes": {"capture", "system"},
    "jinja2": {"report"},
    "lark": {"query"},
    "markupsafe": {"report"},
    "psycopg": {"central", "forward"},
    "re2": {"redaction"},
    "rfc3161_client": {"seal"},
    "rich": {"screen"},
    "segno": {"cli"},
    "sigma": {"hunt"},
    "sqlalchemy": {"central", "database", "fleet", "store"},
    "structlog": {"capture", "daemon"},
    "textual": {"screen"},
    "yaml": {"hunt"},
}

# Without clock, files, processes and users: whatever they return comes from their arguments.
PURE = (
    "arguments", "bundle.chain_check", "bundle.layout",
    "capture.assembler", "capture.command_line", "capture.snapshot", "capture.wire", "database.enum_codes", "database.execs_view",
    "database.field_columns", "database.id_list",
    "database.id_lookup", "database.imports", "database.sealed_streams", "database.url", "enums", "errors", "escaping", "event", "exec_id", "fields", "fleet.answer_pages", "fleet.checks", "central.clickhouse_schema", "fleet.conditions", "central.content", "fleet.dialects", "forward.flat", "central.numbering", "forward.other_rows", "central.postgresql_functions", "central.postgresql_schema", "forward.progress", "fleet.question", "forward.recent_blocks", "forward.seals", "fleet.sealed_chain", "fleet.sealed_check", "fleet.sealed_rows", "central.tables", "forward.target", "hunt.correlator", "hunt.hits", "hunt.narrowing", "hunt.rule", "hunt.sieve", "hunt.translate", "importing.audit_argv", "importing.audit_log", "importing.audit_records", "importing.audit_exec", "importing.ecs_documents", "importing.exec_syscalls", "importing.foreign", "importing.items", "importing.json_log", "importing.json_values", "importing.lineage", "importing.own_records", "importing.tetragon", "output.cells", "output.columns",
    "output.format", "output.json_lines", "output.notices", "output.record", "output.shared_fields", "output.summary_line", "output.table",
    "output.tree_layout", "output.widths", "query.comparisons", "query.conditions", "query.container", "query.expression", "query.filter", "query.globs", "query.matcher", "query.regex_literals", "query.rows", "query.shown_values", "query.statements", "query.text_tests",
    "redaction.finder", "redaction.marks", "redaction.redactor", "redaction.rules", "redaction.values", "redaction.words",
    "report.choose", "report.columns", "report.summary",
    "seal.acts", "seal.chain", "seal.changes", "seal.codec", "seal.der_order", "seal.keys", "seal.links", "seal.pieces", "seal.problems", "seal.tree",
    "screen.drawing", "screen.model", "screen.pacing", "screen.seen",
    "times",
)  # fmt: skip
IMPURE = {"time", "os", "socket", "subprocess", "pwd", "sqlite3", "threading", "random", "tempfile"}


def imports(path: Path) -> tuple[set[str], set[str]]:
    """Returns what a file imports: dotted names below `execaudit`, and other packages."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    ours = {name.removeprefix("execaudit.") for name in names if name.startswith("execaudit.")}
    return ours, {name.split(".")[0] for name in names} - {"execaudit"}


def dotted(path: Path) -> str:
    """Returns a module's name below `execaudit`."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


MODULES = {dotted(path): path for path in PACKAGE.rglob("*.py")}


def module_of(name: str) -> str | None:
    """Returns the module that a dotted name is, or is in; None for what the package itself has.

    A room can be a module too: what its `__init__` has.
    """
    while name:
        for each in (name, f"{name}.__init__"):
            if each in MODULES:
                return each
        name = name.rpartition(".")[0]
    return None


def modules_imported(name: str) -> set[str]:
    """Returns the modules of ours that a module imports."""
    found = {module_of(each) for each in imports(MODULES[name])[0]}
    return {each for each in found if each not in {None, name}}


def room_of(name: str) -> str:
    """Returns the room that a module is in."""
    return name.split(".", maxsplit=1)[0] if "." in name else ""


def test_every_folder_is_a_room() -> None:
    """A new one is put into the table; what every layer speaks stays a short list."""
    assert set(ROOMS) == {room_of(name) for name in MODULES}
    assert MOST_AT_THE_ROOT >= len([name for name in MODULES if not room_of(name)])


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_only_from_the_rooms_below(name: str) -> None:
    """No module reaches up; capture, store and query do not know each other."""
    room = room_of(name)
    rooms = {room_of(each) for each in modules_imported(name)} - {room}

    assert rooms <= ROOMS[room] or name == "__main__"


def test_no_modules_import_each_other_in_a_circle() -> None:
    """In a room, too, there is a lowest module."""
    graph = {name: modules_imported(name) for name in MODULES}

    assert len(MODULES) == len(list(TopologicalSorter(graph).static_order()))


def test_heavy_packages_have_their_owners() -> None:
    """What takes long to import, or is not on every machine, is imported in few places."""
    users: dict[str, set[str]] = {package: set() for package in OWNERS}
    for name, path in MODULES.items():
        for package in imports(path)[1] & set(OWNERS):
            users[package].add(room_of(name))

    assert users == OWNERS


@pytest.mark.parametrize("name", PURE)
def test_a_pure_module_cannot_reach_the_world(name: str) -> None:
    """It imports nothing that reads a clock, a file or the machine."""
    assert set() == imports(MODULES[name])[1] & IMPURE


# What takes long to import, and no local question needs; some is not installed, and is to stay away.
SLOW = (set(OWNERS) - {"click", "ctypes"}) | {"asyncio", "pyarrow", "rich", "ssl"}
_ANSWERING = ("sqlite3", "execaudit.query.find", "execaudit.output.table", "execaudit.native.fast")
READING = ("query", "export", "show", "tree", "stats", "report", "hunt")
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


def test_a_library_is_loaded_where_it_is_used(family: Family) -> None:
    """--where and a report alone wait for theirs, and load nothing else that is slow."""
    assert {"lark"} == SLOW & imported(f"--db={family.path}", "query", "--where=pid > 0")
    assert {"jinja2", "markupsafe"} == SLOW & imported(f"--db={family.path}", "report")


@pytest.mark.parametrize(
    ("arguments", "is_used"),
    [
        (["query", "--format=jsonl"], True),
        (["query", "--format=table"], False),
        (["show", "ID"], False),
        (["tree"], False),
        (["stats"], False),
    ],
    ids=str,
)
def test_the_compiled_module_is_loaded_where_it_is_used(
    family: Family, arguments: list[str], *, is_used: bool
) -> None:
    """A question that makes no lines does not wait for it."""
    given = [word.replace("ID", family.id_of("make")) for word in arguments]

    assert is_used == ("execaudit.native.fast" in imported(f"--db={family.path}", *given, EXECAUDIT_PURE="0"))


@pytest.mark.parametrize("command", ["", "record", "top", "redact", "forward", "db", *READING])
def test_help_and_completion_import_no_more_than_the_options(command: str) -> None:
    """Who presses the tabulator does not wait for what would answer the question."""
    words = f"execaudit {command} --" if command else "execaudit --"
    count = str(len(words.split()) - 1)
    completing = imported(_EXECAUDIT_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=count)
    helping = imported(*[command] * bool(command), "--help")

    for modules in (completing, helping):
        assert not command or f"execaudit.cli.{command}" in modules
        assert not modules & (SLOW | {*_ANSWERING})
