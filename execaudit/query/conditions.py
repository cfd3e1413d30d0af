"""What an expression is in SQLite's SQL. Pure: every value is bound, and nothing is run here.

A condition may be NULL where its leaf is false, which chooses no row either; after NOT it is made false.
Dictionaries are searched, and the launches and origins that many execs share; not the execs.
This has more than 400 lines, because all kinds of nodes share how values are found.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from execaudit.database.enum_codes import KINDS, TRUNCATIONS, WHOLE
from execaudit.database.field_columns import column_of, dictionary_of
from execaudit.database.signed64 import signed
from execaudit.enums import Ended, Kind
from execaudit.fields import BY_NAME, Form
from execaudit.fields import Part as Place
from execaudit.query import globs
from execaudit.query.expression import (
    LINE,
    Agrees,
    And,
    Globs,
    HasText,
    Image,
    InContainer,
    InLine,
    IsNull,
    IsUser,
    LineMatches,
    Matches,
    New,
    Not,
    OneOf,
    Or,
    Part,
    Passes,
    Within,
    conjuncts,
)
from execaudit.query.rows import DURATION, STATUS
from execaudit.query.text_tests import sqlite_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from execaudit.fields import Field
    from execaudit.query.expression import Expression, Text, Value

    # Makes the SQL of a test of a value, whose SQL it is given.
    _Test = Callable[[str], str]

ENDED = tuple(Ended)
"""Numbers for the members, in SQL."""
_FAILED = KINDS.index(Kind.FAILED)
_LEAST, _MOST = -(2**63), 2**63 - 1
_TASK = f"CASE e.kind WHEN {_FAILED} THEN coalesce(e.tid, e.pid) ELSE e.pid END"
# Asked once in a statement.
_CONTINUED = "e.id IN (SELECT value FROM json_each(continued_execs()))"
# The fields that are not in a launch or an origin alone. Of a launch, exec has uid as well.
_OWN = {
    "id": f"exec_id(r.boot_id, e.ts - k.offset_ns, {_TASK})",
    "parent_id": "exec_id(r.boot_id, p.ts - pk.offset_ns, p.pid)",
    "time": "e.ts",
    "host": "r.host",
    "boot_id": "r.boot_id",
    "kind": "e.kind",
    "pid": "e.pid",
    "tid": "coalesce(e.tid, e.pid)",
    "ppid": "e.ppid",
    "uid": "e.uid",
    "argc": "CASE WHEN e.truncated IS NULL THEN count_arguments(a.v) ELSE t.argc END",
    "argv_bytes": "CASE WHEN e.truncated IS NULL THEN length(a.v) ELSE t.argv_bytes END",
    "command": "command_text(a.v, t.holes)",
    "truncated": f"nullif(e.truncated, {WHOLE})",
    "argv_missing": "nullif(json_array_length(t.holes), 0)",
    "redacted": "t.redacted",
    "argv_base64": "base64_text(a.v, t.holes)",
    "errno": "e.errno",
    "ended": (
        f"CASE WHEN ({DURATION}) IS NOT NULL THEN CASE WHEN ({STATUS}) IS NULL THEN {ENDED.index(Ended.REPLACED)}"
        f" WHEN ({STATUS}) & 127 THEN {ENDED.index(Ended.SIGNALED)} ELSE {ENDED.index(Ended.EXITED)} END"
        f" WHEN e.kind <> {_FAILED} THEN CASE WHEN (k.run_id = live_run() AND e.ts >= ends_lost_until())"
        f" OR {_CONTINUED} THEN {ENDED.index(Ended.RUNNING)} ELSE {ENDED.index(Ended.UNKNOWN)} END END"
    ),
    "exit_code": f"CASE WHEN ({STATUS}) & 127 = 0 THEN ({STATUS}) >> 8 END",
    "exit_signal": f"nullif(({STATUS}) & 127, 0)",
    "duration_ns": DURATION,
    "replaced_by": "exec_id(r.boot_id, n.ts - nk.offset_ns, n.pid)",
}
_TEXT_COLUMNS = frozenset({"host", "boot_id"})
_PARENTS_EXE = "(SELECT v FROM path WHERE id = pl.exe_id)"
_UNSHOWN = {Form.NUMBER, Form.UNSIGNED_64, Form.DEVICE, Form.TIME}
"""Forms whose values are stored in another way than the record shows them. Of words see `comparisons`."""
_CODES: dict[object, int] = {
    **{kind: code for code, kind in enumerate(KINDS)},
    **{why: code for code, why in enumerate(TRUNCATIONS) if why is not None},
    **{how: code for code, how in enumerate(ENDED)},
}


class Conditions:
    """Makes conditions, and collects the values of their parameters."""

    def __init__(self) -> None:
        self.parameters: dict[str, object] = {}

    def bind(self, value: object) -> str:
        """Returns the parameter for a value."""
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f":{name}"

    def one_of(self, column: str, values: Sequence[object]) -> str:
        """Returns the condition that a column has one of the values."""
        bound = [self.bind(value) for value in values]
        return f"{column} = {bound[0]}" if len(bound) == 1 else f"{column} IN ({', '.join(bound)})"

    def all_of(self, expression: Expression, *, begun_with: Expression | None = None) -> list[str]:
        """Returns the conditions that together mean the expression, but for what a statement begins with."""
        return [self.of(part) for part in conjuncts(expression) if part != begun_with]

    def of(self, node: Expression) -> str:  # noqa: C901, PLR0911, PLR0912  # each kind of node once
        """Returns the condition that means an expression."""
        if isinstance(node, And):
            return self._joined(node.parts, " AND ", otherwise="1")
        if isinstance(node, Or):
            return self._joined(node.parts, " OR ", otherwise="0")
        if isinstance(node, Not):
            return self._of_opposite(node.part)
        if isinstance(node, IsNull):
            return self._is_null(node.field)
        if isinstance(node, OneOf):
            return self._is_one_of(node)
        if isinstance(node, Within):
            return self._of_field(node.field, lambda value: self._within(value, node.low, node.end))
        if isinstance(node, HasText):
            return self._has_text(node)
        if isinstance(node, Matches):
            return self._matches(node)
        if isinstance(node, Globs):
            return self._of_field(
                node.field, lambda value: self._any_glob(_bytes(node.field, value), node.globs)
            )
        if isinstance(node, Image):
            return self._is_image(node.globs)
        if isinstance(node, InLine):
            return self._in_line(node.text)
        if isinstance(node, LineMatches):
            return f"args_search({self.bind(node.regex)}, a.v, t.holes, e.id)"
        if isinstance(node, IsUser):
            return self._is_user(node)
        if isinstance(node, InContainer):
            return self._of_field("cgroup", lambda value: f"in_container({self.bind(node.text)}, {value})")
        if isinstance(node, Passes):
            return self._passes(node)
        if isinstance(node, Agrees):
            part = "whole" if node.part is None else node.part.name.lower()
            return f"agrees({self.bind(part)}, {self._text(node.text)}, {self._text(node.other)})"
        if isinstance(node, New):
            # Of a failed exec, exe is the caller's.
            launches = f"SELECT id FROM {new_launches_table(node.since_ns)}"  # noqa: S608  # a number
            return f"(e.kind <> {_FAILED} AND e.launch_id IN ({launches}))"
        return f"e.id IN (SELECT id FROM {descendants_table(node.roots)})"  # noqa: S608  # numbers

    def _of_opposite(self, node: Expression) -> str:
        """Returns the condition for `Not`. It stands before leaves only: SQLite's parser takes few levels."""
        if isinstance(node, Not):
            return self.of(node.part)
        if isinstance(node, (And, Or)):
            opposites = tuple(map(Not, node.parts))
            return self.of(Or(opposites) if isinstance(node, And) else And(opposites))
        return f"NOT coalesce({self.of(node)}, 0)"

    def _joined(self, parts: Sequence[Expression], word: str, *, otherwise: str) -> str:
        return f"({word.join(map(self.of, parts))})" if parts else otherwise

    def _of_field(self, name: str, test: _Test) -> str:
        """Returns the condition that a field's value passes a test, which is NULL for NULL."""
        if name in _OWN:
            return test(_OWN[name])
        field = BY_NAME[name]
        if name == "comm":
            return f"e.comm_id IN (SELECT id FROM comm WHERE {test('v')})"  # noqa: S608  # ours
        if field.part is Place.ORIGIN:
            return f"e.origin_id IN ({_origins(field, test)})"
        return f"e.launch_id IN ({_launches(field, test)})"

    def _is_null(self, name: str) -> str:
        if BY_NAME[name].null is None:
            return "0"
        known = self._of_field(name, lambda value: f"({value}) IS NOT NULL")
        return f"NOT coalesce({known}, 0)"

    def _is_one_of(self, node: OneOf) -> str:
        name = node.field
        if name == "argv":
            return f"({' OR '.join(self._has_argument('is', _raw(value)) for value in node.values)})"
        values = [stored for value in node.values if (stored := _stored(name, value)) is not None]
        if not values:
            return "0"
        return self._of_field(name, lambda value: self.one_of(value, values))

    def _within(self, value: str, low: int | None, end: int | None) -> str:
        conditions = []
        if (low is not None and low > _MOST) or (end is not None and end <= _LEAST):
            return "0"
        if low is not None and low > _LEAST:
            conditions.append(f"{value} >= {self.bind(low)}")
        if end is not None and end <= _MOST:
            conditions.append(f"{value} < {self.bind(end)}")
        return " AND ".join(conditions) or f"({value}) IS NOT NULL"

    def _has_text(self, node: HasText) -> str:
        name, part, text = node.field, node.part, node.text
        if name == "argv":
            return self._has_argument(part.name.lower(), text)
        return self._of_field(name, lambda value: self._text_test(_bytes(name, value), part, text))

    def _text_test(self, value: str, part: Part, text: bytes) -> str:
        if not text:
            return f"({value}) IS NOT NULL"
        if part is Part.ANY:
            return f"instr({value}, {self.bind(text)}) > 0"
        cut = f"1, {len(text)}" if part is Part.START else f"-{len(text)}"
        return f"substr({value}, {cut}) = {self.bind(text)}"

    def _has_argument(self, how: str, text: bytes) -> str:
        # instr is C: it leaves few lines for the function.
        rough = f"instr(a.v, {self.bind(text)}) > 0 AND " if text else ""
        return f"({rough}has_argument({self.bind(how)}, {self.bind(text)}, a.v, t.holes))"

    def _matches(self, node: Matches) -> str:
        regex, name = self.bind(node.regex), node.field
        if name == "argv":
            return f"argument_matches({regex}, a.v, t.holes, e.id)"
        number = "e.id" if name in _OWN else "NULL"
        return self._of_field(name, lambda value: f"text_matches({regex}, {_bytes(name, value)}, {number})")

    def _any_glob(self, value: str, given: Sequence[bytes]) -> str:
        return "(" + " OR ".join(self._glob(value, glob) for glob in given) + ")"

    def _glob(self, value: str, glob: bytes) -> str:
        if not re.search(rb"[*?\[]", glob):
            return f"{value} = {self.bind(glob)}"
        if glob.isascii() and not re.search(rb"[?\[]", glob):
            # The common ones, in a fifth of the time. SQLite knows no single bytes that are no
            # UTF-8, but a star passes over any. On Debian it never finds a BLOB.
            return f"CAST({value} AS TEXT) GLOB CAST({self.bind(glob)} AS TEXT)"
        return f"matches_glob({self.bind(glob)}, {value})"

    def _is_image(self, given: tuple[bytes, ...]) -> str:
        """Returns the condition for images: in a chroot also by the path that is seen there."""
        inner = self._any_glob("substr(ix.v, length(ir.v) + 1)", given)
        images = (
            f"{_launches(BY_NAME['exe'], lambda value: self._any_glob(value, given))}"  # noqa: S608  # ours
            " UNION ALL SELECT il.id FROM launch AS il"
            " JOIN path AS ir ON ir.id = il.root_id JOIN path AS ix ON ix.id = il.exe_id"
            f" WHERE substr(ix.v, 1, length(ir.v)) = ir.v AND substr(ix.v, length(ir.v) + 1, 1) = {self.bind(b'/')}"
            f" AND {inner}"
        )
        wanted = globs.as_asked(given)
        asked = _launches(BY_NAME["filename"], lambda value: self._any_glob(value, wanted))
        return f"(e.launch_id IN ({images}) OR (e.kind = {_FAILED} AND e.launch_id IN ({asked})))"

    def _in_line(self, text: bytes) -> str:
        found = self._words(text)
        joined = f"args_contain({self.bind(text)}, a.v, t.holes)"
        found.append(joined if b" " in text else f"(e.truncated IS NULL OR {joined})")
        return "(" + " AND ".join(found) + ")"

    def line(self, text: bytes) -> str:
        """Returns a condition for each line of an exec that `InLine` wants, wherever its holes are."""
        found = self._words(text)
        if b" " in text or not found:
            found.append(f"line_contains({self.bind(text)}, a.v)")
        return "(" + " AND ".join(found) + ")"

    def _words(self, text: bytes) -> list[str]:
        # instr is C and exact on bytes; what spans arguments or holes is looked at again, joined.
        return [f"instr(a.v, {self.bind(word)}) > 0" for word in text.split(b" ") if word]

    def _passes(self, node: Passes) -> str:
        test, name = self.bind(repr(node.test)), node.text.name
        if name == "argv":
            return f"argument_passes({test}, a.v, t.holes, e.id)"
        if name == LINE or node.text.of_parent:
            return f"text_passes({test}, {self._text(node.text)}, e.id)"
        its = BY_NAME[name]
        if dictionary_of(its) in _OF_C_STRINGS and its.form is not Form.CONTAINER:
            pattern = sqlite_pattern(node.test)
            if pattern is not None:
                return self._of_field(
                    name, lambda value: f"CAST({value} AS TEXT) LIKE {self.bind(pattern)} ESCAPE '\\'"
                )
        number = "e.id" if name in _OWN else "NULL"
        return self._of_field(name, lambda value: f"text_passes({test}, {_as_shown(its, value)}, {number})")

    def _text(self, text: Text) -> str:
        """Returns the SQL for a text of an exec or of its parent, in bytes."""
        name = text.name
        if name == LINE:
            return "line_text(pa.id, pa.v, pt.holes)" if text.of_parent else "line_text(e.id, a.v, t.holes)"
        if text.of_parent:
            return _PARENTS_EXE
        field = BY_NAME[name]
        if name in _OWN:
            return _as_shown(field, _OWN[name])
        table = "o" if field.part is Place.ORIGIN else "l"
        if field.form is Form.CONTAINER:
            cgroup = f"{table}.{column_of(BY_NAME['cgroup'])}"
            return f"container_of((SELECT v FROM path WHERE id = {cgroup}))"  # noqa: S608  # ours
        column, dictionary = f"{table}.{column_of(field)}", dictionary_of(field)
        if dictionary is not None:
            return f"(SELECT v FROM {dictionary} WHERE id = {column})"  # noqa: S608  # ours
        return _as_shown(field, column)

    def _is_user(self, node: IsUser) -> str:
        if node.field == "user":
            return self._who(node, "u.v", "e.uid", "l.user_id")
        # The few origins are searched, not the execs.
        login = self._who(node, "su.v", "so.auid", "so.login_user_id")
        # A name alone makes the planner start from all names, unless it is a CROSS JOIN.
        join = "CROSS" if node.uid is None else "LEFT"
        joined = f"origin AS so {join} JOIN user AS su ON su.id = so.login_user_id"
        return f"e.origin_id IN (SELECT so.id FROM {joined} WHERE {login})"  # noqa: S608  # ours

    def _who(self, node: IsUser, name: str, uid: str, name_id: str) -> str:
        """Returns the condition for a user, given the columns that say who it was."""
        if node.name is None:
            return f"{uid} = {self.bind(node.uid)}"
        by_name = f"{name} = {self.bind(node.name.encode('utf-8', 'surrogateescape'))}"
        if node.uid is None:
            return by_name
        return f"({by_name} OR ({name_id} IS NULL AND {uid} = {self.bind(node.uid)}))"


def descendants_table(roots: Sequence[int]) -> str:
    """Returns the name of the temporary table for the numbers of all descendants of `roots`."""
    return f"temp.under_{'_'.join(str(int(root)) for root in roots)}"


def new_launches_table(since_ns: int) -> str:
    """Returns the name of the temporary table for the launches of programs that are new since then."""
    return f"temp.new_{int(since_ns)}"


def _launches(field: Field, test: _Test) -> str:
    column, dictionary = column_of(field), dictionary_of(field)
    if dictionary is None:
        return f"SELECT id FROM launch WHERE {test(_shown(field, column))}"  # noqa: S608  # ours
    # For all texts at once: the dictionary is searched, not the launches.
    return f"SELECT id FROM launch WHERE {column} IN (SELECT id FROM {dictionary} WHERE {test('v')})"  # noqa: S608  # ours


def _origins(field: Field, test: _Test) -> str:
    value = "sv.v"
    if field.form is Form.CONTAINER:
        field, value = BY_NAME["cgroup"], "container_of(sv.v)"
    column, dictionary = column_of(field), dictionary_of(field)
    if dictionary is None:
        return f"SELECT so.id FROM origin AS so WHERE {test(_shown(field, f'so.{column}'))}"  # noqa: S608  # ours
    # Few origins have few texts. CROSS JOIN: else the planner starts from all texts.
    joined = f"origin AS so CROSS JOIN {dictionary} AS sv ON sv.id = so.{column}"
    return f"SELECT so.id FROM {joined} WHERE {test(value)}"  # noqa: S608  # ours


def _shown(field: Field, column: str) -> str:
    # No privilege is null in the record.
    return f"nullif({column}, 0)" if field.form is Form.GAINED else column


def _bytes(name: str, value: str) -> str:
    """Returns the SQL for a text as bytes, as all but two columns hold them."""
    return f"CAST({value} AS BLOB)" if name in _TEXT_COLUMNS else value


def _as_shown(field: Field, value: str) -> str:
    """Returns the SQL for a value as the record shows it, in bytes."""
    if field.form in _UNSHOWN:
        return f"shown_text('{field.form.name}', {value})"
    return _bytes(field.name, value)


# No text in these has a NUL, with which LIKE ends.
_OF_C_STRINGS = frozenset({"comm", "path", "user"})


def _raw(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(value)
    return value


def _stored(name: str, value: Value) -> object:
    """Returns a value as the database holds it; None if it can hold no such value."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace") if name in _TEXT_COLUMNS else value
    if not isinstance(value, int):
        return _CODES[value]
    if BY_NAME[name].form is Form.UNSIGNED_64:
        return signed(value) if 0 <= value <= 2 * _MOST + 1 else None
    return int(value) if _LEAST <= value <= _MOST else None
