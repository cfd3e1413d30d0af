"""The SQL of the view `execs`: the record's names as columns, for any SQLite tool. Pure.

It is made from the table of fields. Each migration has a file with the SQL of its time. A test compares the
newest file with this module, and `python -m execaudit.database.execs_view` prints the next file. The view
needs SQLite 3.37 with its JSON functions. A column takes time only if a statement reads it.
"""

# ruff: noqa: S608  # no statement here contains a user's text

from __future__ import annotations

from execaudit.database.enum_codes import KINDS, TRUNCATIONS
from execaudit.database.field_columns import column_of, dictionary_of
from execaudit.enums import ERRNO_NAMES, GAINED_WORDS, Ended, Kind
from execaudit.exec_id import ALPHABET
from execaudit.fields import FIELDS, Field, Form, Part

ABSENT = frozenset({"argv_base64"})
"""Fields that the view lacks: SQLite cannot make base64."""
# Letters of the scripts that most names are written in. `command` escapes all other characters; the record
# shows some of them as they are.
_VISIBLE = " -~¡-¬®-ͷΑ-ΡΣ-ϿЀ-ԯぁ-ゖァ-ヺ一-鿼가-힣"  # ends of ranges

# UTF-8 of more than a byte, in hexadecimal digits.
_MORE = "[89AB]?"
_SEQUENCES = ", ".join(
    f"({size}, '{pattern}*')"
    for size, pattern in (
        (2, f"C[2-9A-F]{_MORE}"),
        (2, f"D?{_MORE}"),
        (3, f"E0[AB]?{_MORE}"),
        (3, f"E[1-9ABCEF]{_MORE}{_MORE}"),
        (3, f"ED[89]?{_MORE}"),
        (4, f"F0[9AB]?{_MORE}{_MORE}"),
        (4, f"F[1-3]{_MORE}{_MORE}{_MORE}"),
        (4, f"F48?{_MORE}{_MORE}"),
    )
)


def _named(value: str, names: dict[int, str], otherwise: str = "NULL") -> str:
    cases = " ".join(f"WHEN {number} THEN '{name}'" for number, name in names.items())
    return f"CASE {value} {cases} ELSE {otherwise} END"


def _each_char(value: str, shown: str) -> str:
    """Returns the SQL that joins what `shown` makes of each character of some bytes.

    `shown` may use `c`, the character; `w`, its bytes and some that follow, as hexadecimal digits; and `ok`,
    which is false for a byte that is not UTF-8.
    """
    size = "coalesce((SELECT n FROM s WHERE w GLOB p), 1)"
    return (
        f"coalesce((WITH RECURSIVE b(v) AS (SELECT CAST({value} AS BLOB)), s(n, p) AS (VALUES {_SEQUENCES}),"
        " u(at, w) AS (SELECT 1, hex(substr(v, 1, 4)) FROM b WHERE length(v) UNION ALL"
        f" SELECT at + {size}, hex(substr(v, at + {size}, 4)) FROM u, b WHERE at + {size} <= length(v))"
        f" SELECT group_concat({shown}, '') FROM (SELECT CAST(substr(v, at, {size}) AS TEXT) AS c, w,"
        " w < '8' OR EXISTS (SELECT 1 FROM s WHERE w GLOB p) AS ok FROM u, b)), '')"
    )


def _utf8(value: str) -> str:
    r"""Returns the SQL for bytes as text: each byte that is not UTF-8 as `\xNN`, as escaping.exact does."""
    text = f"CAST({value} AS TEXT)"
    exact = _each_char(value, "CASE WHEN ok THEN c ELSE '\\x' || lower(substr(w, 1, 2)) END")
    return f"CASE WHEN {text} GLOB '*[^ -~]*' THEN {exact} ELSE {text} END"


def _id(boot_ns: str, task: str) -> str:
    """Returns the SQL for an exec's id, as exec_id.encode_id makes it."""
    boot = " | ".join(
        f"(instr('0123456789abcdef', substr(r.boot_id, {at + 1}, 1)) - 1 << {24 - 4 * at})" for at in range(7)
    )
    numbers = [
        *(f"b >> {shift}" for shift in range(23, 2, -5)),
        "(b << 2) | (t >> 58)",
        *(f"t >> {shift}" for shift in range(53, 2, -5)),
        "(t << 2) | (p >> 20)",
        *(f"p >> {shift}" for shift in range(15, -1, -5)),
    ]
    letters = " || ".join(f"substr('{ALPHABET}', 1 + (({number}) & 31), 1)" for number in numbers)
    return f"(SELECT {letters} FROM (SELECT {boot} AS b, {boot_ns} AS t, {task} AS p))"


def _relative(number: str) -> str:
    """Returns the SQL for the id of another exec; NULL if it is not in the history."""
    key = _id("o.ts - c.offset_ns", "o.pid")
    return f"(SELECT {key} FROM exec AS o JOIN clock AS c ON c.id = o.clock_id WHERE o.id = {number})"


# The arguments as rows (arg), and the missing bytes (miss), as output.record.split_argv makes them. JSON
# quotes each NUL as \u0000, so replacing that text splits the bytes between two holes at once.
_ARGUMENTS = (
    "h(k, at, missing) AS (SELECT key + 1, json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(t.holes)),"
    " g(k, s) AS (SELECT k, CASE WHEN k AND substr(s, 1, 1) = x'00' THEN coalesce(substr(s, 2), x'') ELSE s END FROM (SELECT k,"
    " coalesce(substr(a.v, at + 1, lead(at, 1, length(a.v)) OVER (ORDER BY k) - at), x'') AS s"
    " FROM (SELECT 0 AS k, 0 AS at UNION ALL SELECT k, at FROM h))),"
    " q(k, s, j) AS (SELECT k, s, replace(replace(json_quote(CAST(s AS TEXT)), '\\\\', '\\u005c'), '\\u0000', '\",\"') FROM g),"
    " w(k, key, value) AS (SELECT q.k, j.key, j.value FROM q, json_each('[' || CASE WHEN s = x'' THEN ''"
    " WHEN substr(s, -1) = x'00' THEN substr(q.j, 1, length(q.j) - 3) ELSE q.j END || ']') AS j),"
    " arg(n, value) AS (SELECT row_number() OVER (ORDER BY k, key) - 1, value FROM w),"
    " miss(n, size) AS (SELECT n, CASE WHEN count(*) = count(missing) THEN sum(missing) END FROM (SELECT missing,"
    " (SELECT count(*) FROM w WHERE w.k < h.k) AS n FROM h) GROUP BY n)"
)


def _argv() -> str:
    listed = f"(SELECT group_concat(json_quote({_utf8('value')})) FROM (SELECT value FROM arg ORDER BY n))"
    return f"(WITH {_ARGUMENTS} SELECT '[' || coalesce({listed}, '') || ']')"


def _argv_missing() -> str:
    listed = "group_concat('[' || n || ',' || coalesce(size, 'null') || ']')"
    return f"(WITH {_ARGUMENTS} SELECT '[' || {listed} || ']' FROM (SELECT * FROM miss ORDER BY n))"


def _command() -> str:
    """Returns the SQL for the arguments as a shell reads them, as output.record.command_line does."""
    bare = "value <> '' AND value NOT GLOB '*[^A-Za-z0-9_@%+=:,./-]*' AND NOT (n = 0 AND instr(value, '='))"
    seen = f"value NOT GLOB '*[^{_VISIBLE}]*' AND {_utf8('value')} = value"
    quoted = "'''' || replace(value, '''', '''\"''\"''') || ''''"
    escapes = " || ".join(
        f"CASE WHEN length(CAST(c AS BLOB)) >= {n} THEN '\\x' || lower(substr(w, {2 * n - 1}, 2)) ELSE '' END"
        for n in range(1, 5)
    )
    escaped = _each_char(
        "value",
        "CASE WHEN w GLOB '0A*' THEN '\\n' WHEN w GLOB '09*' THEN '\\t' WHEN w GLOB '0D*' THEN '\\r'"
        f" WHEN c IN ('\\', '''') THEN '\\' || c WHEN ok AND c GLOB '[{_VISIBLE}]' THEN c ELSE {escapes} END",
    )
    word = f"CASE WHEN {bare} THEN value WHEN {seen} THEN {quoted} ELSE '$''' || {escaped} || '''' END"
    marker = (
        "CASE WHEN size IS NULL THEN '[...unknown number of bytes missing...]'"
        " ELSE '[...' || size || CASE size WHEN 1 THEN ' byte' ELSE ' bytes' END || ' missing...]' END"
    )
    return (
        f"(WITH {_ARGUMENTS} SELECT coalesce(group_concat(word, ' '), '') FROM (SELECT word FROM (SELECT n, 1 AS after,"
        f" {word} AS word FROM arg UNION ALL SELECT n, 0, {marker} FROM miss) ORDER BY n, after))"
    )


def _container(cgroup: str) -> str:
    """Returns the SQL for the container that a cgroup names, as query.container does."""
    bare = "CASE WHEN c GLOB '*.scope' THEN substr(c, 1, length(c) - 6) ELSE c END"
    names = ("", "docker-", "cri-containerd-", "nerdctl-", "crio-", "libpod-", "libpod-payload-")
    engines = ", ".join(f"'{name}'" for name in names)
    return (
        "(WITH p(k, c) AS (SELECT key, value FROM json_each('[' || replace(json_quote("
        f"{_utf8(cgroup)}), '/', '\",\"') || ']')),"
        f" x(k, c, front, id, below, above) AS (SELECT k, c, substr({bare}, 1, length({bare}) - 64), substr({bare}, -64),"
        " (SELECT c FROM p AS o WHERE o.k = p.k + 1), (SELECT c FROM p AS o WHERE o.k = p.k - 1) FROM p),"
        " n(k, name) AS (SELECT k, CASE WHEN length(id) = 64 AND id NOT GLOB '*[^0-9a-f]*' AND (front IN ("
        f"{engines}) OR front GLOB '*:[a-z-]*:' AND rtrim(rtrim(front, ':'), 'abcdefghijklmnopqrstuvwxyz-') GLOB '*:') THEN id"
        " WHEN c GLOB 'machine-?*.scope' AND below IS NOT 'supervisor' AND c NOT GLOB 'machine-qemu?x2d*'"
        " AND c NOT GLOB 'machine-qemu-*' THEN replace(substr(c, 9, length(c) - 14), '\\x2d', '-')"
        " WHEN c GLOB 'systemd-nspawn@?*.service' AND below IS NOT 'supervisor'"
        " THEN replace(substr(c, 16, length(c) - 23), '\\x2d', '-')"
        " WHEN c GLOB 'lxc.payload.?*' THEN substr(c, 13)"
        " WHEN above IN ('lxc', 'lxc.payload') AND c <> '' AND NOT (c GLOB '?*.service' OR c GLOB '?*.scope'"
        " OR c GLOB '?*.slice' OR c GLOB '?*.socket' OR c GLOB '?*.mount') THEN c END FROM x)"
        " SELECT name FROM n WHERE name IS NOT NULL ORDER BY k DESC LIMIT 1)"
    )


_FAILED = KINDS.index(Kind.FAILED)
_DURATION, _STATUS, _REPLACED_BY = (
    f"CASE WHEN e.duration_ns IS NULL THEN x.{column} ELSE e.{column} END"
    for column in ("duration_ns", "status", "replaced_by")
)
_OWN = {
    "id": _id(
        "e.ts - k.offset_ns", f"CASE WHEN e.kind = {_FAILED} THEN coalesce(e.tid, e.pid) ELSE e.pid END"
    ),
    "parent_id": _relative("e.parent_id"),
    "time": "strftime('%Y-%m-%dT%H:%M:%S', e.ts / 1000000000, 'unixepoch') || printf('.%09dZ', e.ts % 1000000000)",
    "host": "r.host",
    "boot_id": "r.boot_id",
    "kind": _named("e.kind", {code: kind.value for code, kind in enumerate(KINDS)}),
    "pid": "e.pid",
    "tid": "coalesce(e.tid, e.pid)",
    "ppid": "e.ppid",
    "argv": _argv(),
    "argc": f"CASE WHEN e.truncated IS NULL THEN (WITH {_ARGUMENTS} SELECT count(*) FROM arg) ELSE t.argc END",
    "argv_bytes": "CASE WHEN e.truncated IS NULL THEN length(a.v) ELSE t.argv_bytes END",
    "command": _command(),
    "truncated": _named("e.truncated", {code: why.value for code, why in enumerate(TRUNCATIONS) if why}),
    "argv_missing": _argv_missing(),
    "redacted": "t.redacted",
    "errno": f"CASE WHEN e.errno IS NOT NULL THEN {_named('e.errno', ERRNO_NAMES, chr(39) + 'E' + chr(39) + ' || e.errno')} END",
    "container_id": _container("cgroup.v"),
    "ended": (
        f"CASE WHEN {_DURATION} IS NOT NULL THEN CASE WHEN {_STATUS} IS NULL THEN '{Ended.REPLACED.value}'"
        f" WHEN ({_STATUS}) & 127 THEN '{Ended.SIGNALED.value}' ELSE '{Ended.EXITED.value}' END"
        # Not `running`: a view cannot tell whether the recorder goes on.
        f" WHEN e.kind <> {_FAILED} THEN '{Ended.UNKNOWN.value}' END"
    ),
    "exit_code": f"CASE WHEN ({_STATUS}) & 127 = 0 THEN ({_STATUS}) >> 8 END",
    "exit_signal": f"nullif(({_STATUS}) & 127, 0)",
    "duration_ns": _DURATION,
    "replaced_by": _relative(_REPLACED_BY),
}


def _shared(field: Field) -> str:
    """Returns the SQL for a field of a launch or an origin."""
    if dictionary_of(field) is not None:
        return _utf8(f"{field.name}.v")
    column = f"{_table_of(field)}.{column_of(field)}"
    return {
        Form.UNSIGNED_64: f"CASE WHEN {column} IS NOT NULL THEN printf('%llu', {column}) END",
        Form.DEVICE: f"({column} >> 20) || ':' || ({column} & 1048575)",
        Form.GAINED: _named(column, {bits: words for bits, words in enumerate(GAINED_WORDS) if words}),
        Form.BYTES: _utf8(column),
    }.get(field.form, column)


def _table_of(field: Field) -> str:
    return "l" if field.part is Part.LAUNCH else "o"


def statement() -> str:
    """Returns the statement that makes the view."""
    fields = [field for field in FIELDS if field.name not in ABSENT]
    columns = [f"{_OWN.get(field.name) or _shared(field)} AS {field.name}" for field in fields]
    joined = [
        ("clock", "k", "e.clock_id"), ("run", "r", "k.run_id"), ("launch", "l", "e.launch_id"),
        ("origin", "o", "e.origin_id"), ("argv", "a", "e.argv_id"),
        *(
            (dictionary, field.name, f"{_table_of(field)}.{column_of(field)}")
            for field in fields
            if (dictionary := dictionary_of(field)) is not None
        ),
    ]  # fmt: skip
    return "\n ".join(
        [
            "CREATE VIEW execs AS SELECT",
            ",\n ".join(columns),
            "FROM exec AS e",
            *(f"LEFT JOIN {table} AS {alias} ON {alias}.id = {number}" for table, alias, number in joined),
            "LEFT JOIN argv_cut AS t ON t.exec_id = e.id",
            "LEFT JOIN exit AS x ON x.exec_id = e.id",
        ]
    )


if __name__ == "__main__":
    print(statement())  # noqa: T201  # for the next migration
