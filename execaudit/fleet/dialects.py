"""How engines write what conditions are made of. Pure.

All texts are bytes. `value` is the SQL of a value, `text` that of a bound one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from execaudit.central.clickhouse_schema import IS_SANE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TRUE, FALSE = "1 = 1", "1 = 0"
# A server of 2018 fails where FINAL needs no column but those of PREWHERE, so not with those of the key: the
# key's index does as much for these. Of shards it computes whether a row is sane, of columns of the key too.
_LATE = ('e."stream"', 'e."seq"', 'e."duration_ns"', 'e."status"', 'e."replaced_by"', f'e."{IS_SANE}"')
_LIKE, _SPECIAL = re.compile(rb"[\\%_]"), re.compile(rb"[^0-9A-Za-z ]")


class Dialect(Protocol):
    """What an engine's SQL has."""

    @property
    def joins_ends(self) -> bool:
        """A statement joins an exec with its end that came later, as `x`."""
        ...

    @property
    def has_windows(self) -> bool:
        """A statement may look at the row before (window functions)."""
        ...

    @property
    def plans_by_day(self) -> bool:
        """A statement is to name the days that it is about; see Days."""
        ...

    @property
    def sane(self) -> str:
        """The condition for the execs, as `e`, that a reader understands."""
        ...

    @property
    def in_order(self) -> bool:
        """Of more than three texts, wild() says in which order they are."""
        ...

    def parameter(self, name: str, value: object) -> str:
        """Returns how a statement names a bound value."""
        ...

    def bound(self, value: object) -> object:
        """Returns what is bound for a value."""
        ...

    def negated(self, condition: str) -> str:
        """Returns what is true where a condition is false or NULL."""
        ...

    def size(self, value: str) -> str:
        """Returns the number of bytes."""
        ...

    def after(self, value: str, size: str) -> str:
        """Returns what follows so many bytes."""
        ...

    def contains(self, value: str, text: str) -> str:
        """Returns that a text is in a value."""
        ...

    def starts(self, value: str, text: str, size: int) -> str:
        """Returns that a value starts with a text of so many bytes."""
        ...

    def starts_with(self, value: str, other: str) -> str:
        """Returns that a value starts with another one."""
        ...

    def ends(self, value: str, text: str, size: int) -> str:
        """Returns that a value ends with a text of so many bytes."""
        ...

    def has_some(self, value: str, texts: Sequence[bytes], bind: Binding) -> str:
        """Returns that one of some texts is in a value. They are printable ASCII in lower case.

        In the value, upper case is the same, and a NUL the same as a space.
        """
        ...

    def bits(self, value: str, mask: int) -> str:
        """Returns the bits of a number that are in a mask."""
        ...

    def shifted(self, value: str, bits: int) -> str:
        """Returns a number without its lowest bits."""
        ...

    def divided(self, number: str, by: str) -> str:
        """Returns a number that is not negative, divided by another, without the rest."""
        ...

    def wild(self, value: str, pieces: Sequence[bytes], bind: Binding) -> str:
        """Returns that a value has these texts, one after the other, with anything between two of them.

        It starts with the first one, and ends with the last one; these may be empty.
        """
        ...

    def keys(self, columns: Sequence[str], keys: Iterable[tuple[int, int]], bind: Binding) -> str:
        """Returns that two columns are one of the pairs."""
        ...

    @property
    def most_texts(self) -> int:
        """So many texts has_some() finds sooner than they are found in Python."""
        ...

    @property
    def among(self) -> str:
        """The IN of what another SELECT finds, on all servers."""
        ...

    def extreme(self, function: str, value: str) -> str:
        """Returns the min or the max of values, NULL if there are none."""
        ...

    def table(self, name: str, alias: str = "") -> str:
        """Returns what a statement reads a table from, which it calls so: each row once."""
        ...

    def as_it_is(self, name: str, alias: str = "") -> str:
        """Returns the same, but a row that arrived twice comes twice."""
        ...

    def where(self, conditions: Sequence[str]) -> str:
        """Returns what follows table(…, "e") of exec or exit, for rows on all of these conditions."""
        ...


class Binding(Protocol):
    """Binds a value, and returns how the statement names it."""

    def __call__(self, value: object) -> str:
        """Does it."""
        ...


class PostgreSQL:
    """PostgreSQL's SQL, with the parameters of psycopg."""

    joins_ends = True
    has_windows = True
    plans_by_day = True
    # It refuses others.
    sane = TRUE
    in_order = True
    among = "IN"
    # A text takes a third of a microsecond in each row.
    most_texts = 100

    def parameter(self, name: str, value: object) -> str:
        """Returns how a statement names a bound value. Numbers are of 64 bits."""
        if isinstance(value, list):
            return f"%({name})s::{'bytea' if value and isinstance(value[0], bytes) else 'bigint'}[]"
        return f"%({name})s::bigint" if isinstance(value, int) else f"%({name})s::bytea"

    def bound(self, value: object) -> object:
        """Returns what is bound for a value: itself."""
        return value

    def negated(self, condition: str) -> str:
        """Returns what is true where a condition is false or NULL."""
        return f"({condition}) IS NOT TRUE"

    def size(self, value: str) -> str:
        """Returns the number of bytes."""
        return f"octet_length({value})"

    def after(self, value: str, size: str) -> str:
        """Returns what follows so many bytes."""
        return f"substring({value} from ({size} + 1)::integer)"

    def contains(self, value: str, text: str) -> str:
        """Returns that a text is in a value."""
        return f"position({text} in {value}) > 0"

    def starts(self, value: str, text: str, size: int) -> str:
        """Returns that a value starts with a text of so many bytes."""
        return f"substring({value} from 1 for {size}) = {text}"

    def starts_with(self, value: str, other: str) -> str:
        """Returns that a value starts with another one."""
        return f"substring({value} from 1 for octet_length({other})) = {other}"

    def ends(self, value: str, text: str, size: int) -> str:
        """Returns that a value ends with a text of so many bytes."""
        # Of a shorter value it is the whole, which is not the text either.
        return f"substring({value} from octet_length({value}) - {size - 1}) = {text}"

    def has_some(self, value: str, texts: Sequence[bytes], bind: Binding) -> str:
        """Returns that one of some texts is in a value. A regular expression would take ten times as long."""
        # As `escape` writes them, a NUL is a backslash and 000, and a backslash is two.
        patterns = (_LIKE.sub(rb"\\\g<0>", text.replace(b"\\", b"\\\\")) for text in texts)
        bound = bind(b"\n".join(b"%" + pattern + b"%" for pattern in patterns))
        shown = f"replace(lower(encode({value}, 'escape') COLLATE \"C\"), '\\000', ' ')"
        return f"{shown} LIKE ANY (string_to_array(convert_from({bound}, 'UTF8'), chr(10)))"

    def bits(self, value: str, mask: int) -> str:
        """Returns the bits of a number that are in a mask."""
        return f"({value}) & {mask}"

    def shifted(self, value: str, bits: int) -> str:
        """Returns a number without its lowest bits."""
        return f"({value}) >> {bits}"

    def divided(self, number: str, by: str) -> str:
        """Returns a number, divided by another."""
        return f"({number}) / {by}"

    def wild(self, value: str, pieces: Sequence[bytes], bind: Binding) -> str:
        """Returns that a value has these texts in order."""
        # LIKE compares bytes one by one where both sides are bytea.
        pattern = b"%".join(re.sub(rb"([%_\\])", rb"\\\1", piece) for piece in pieces)
        return f"{value} LIKE {bind(pattern)}"

    def keys(self, columns: Sequence[str], keys: Iterable[tuple[int, int]], bind: Binding) -> str:
        """Returns that two columns are one of the pairs."""
        first, second = (list(each) for each in zip(*keys, strict=True))
        pairs = f"SELECT * FROM unnest({bind(first)}, {bind(second)})"  # noqa: S608  # parameters
        return f"({', '.join(columns)}) IN ({pairs})"

    def extreme(self, function: str, value: str) -> str:
        """Returns the min or the max of values."""
        return f"{function}({value})"

    def table(self, name: str, alias: str = "") -> str:
        """Returns what a statement reads a table from: a key is unique."""
        return self.as_it_is(name, alias)

    def as_it_is(self, name: str, alias: str = "") -> str:
        """Returns the same."""
        return f'"{name}" AS {alias}' if alias else f'"{name}"'

    def where(self, conditions: Sequence[str]) -> str:
        """Returns what chooses execs: the server sees to the order in which it looks at them."""
        return f"WHERE {' AND '.join(conditions)}"


class ClickHouse:
    """ClickHouse's SQL, also of the servers of 2018. `{name}` stands for a parameter."""

    # A statement of old servers joins two tables at most, and not by times.
    joins_ends = False
    # New ones have, but those of 2018 are asked in the same way.
    has_windows = False
    plans_by_day = False
    sane = f'e."{IS_SANE}" = 1'
    # LIKE reads its texts as UTF-8.
    in_order = False
    # The tables may be on several servers, each of which gets what the other SELECT finds.
    among = "GLOBAL IN"
    # All at once, with one automaton.
    most_texts = 2000

    def parameter(self, name: str, value: object) -> str:
        """Returns how a statement names a bound value."""
        del value
        return f"{{{name}}}"

    def bound(self, value: object) -> object:
        """Returns what is bound for a value: itself."""
        return value

    def negated(self, condition: str) -> str:
        """Returns what is true where a condition is false or NULL."""
        return f"NOT ifNull({condition}, 0)"

    def size(self, value: str) -> str:
        """Returns the number of bytes."""
        return f"toInt64(length({value}))"

    def after(self, value: str, size: str) -> str:
        """Returns what follows so many bytes."""
        return f"substring({value}, {size} + 1)"

    def contains(self, value: str, text: str) -> str:
        """Returns that a text is in a value."""
        return f"position({value}, {text}) > 0"

    def starts(self, value: str, text: str, size: int) -> str:
        """Returns that a value starts with a text of so many bytes."""
        return f"substring({value}, 1, {size}) = {text}"

    def starts_with(self, value: str, other: str) -> str:
        """Returns that a value starts with another one."""
        return f"substring({value}, 1, length({other})) = {other}"

    def ends(self, value: str, text: str, size: int) -> str:
        """Returns that a value ends with a text of so many bytes."""
        return f"(length({value}) >= {size} AND endsWith({value}, {text}))"

    def has_some(self, value: str, texts: Sequence[bytes], bind: Binding) -> str:
        """Returns that one of some texts is in a value."""
        pattern = b"|".join(_SPECIAL.sub(rb"\\\g<0>", text).replace(b" ", rb"[ \x00]") for text in texts)
        return f"match(lower({value}), {bind(pattern)})"

    def bits(self, value: str, mask: int) -> str:
        """Returns the bits of a number that are in a mask."""
        return f"bitAnd({value}, {mask})"

    def shifted(self, value: str, bits: int) -> str:
        """Returns a number without its lowest bits."""
        return f"bitShiftRight({value}, {bits})"

    def divided(self, number: str, by: str) -> str:
        """Returns a number, divided by another."""
        return f"intDiv({number}, {by})"

    def wild(self, value: str, pieces: Sequence[bytes], bind: Binding) -> str:
        """Returns that a value has these texts: of three the second one between the others."""
        first, *inner, last = pieces
        said = [f"length({value}) >= {sum(map(len, pieces))}"]
        if first:
            said.append(self.starts(value, bind(first), len(first)))
        if last:
            said.append(f"endsWith({value}, {bind(last)})")
        between = value
        if inner and (first or last):
            left = len(first) + len(last)
            size = f"if({self.size(value)} > {left}, {self.size(value)} - {left}, 0)"
            between = f"substring({value}, {len(first) + 1}, {size})"
        said += [self.contains(between, bind(piece)) for piece in inner]
        return f"({' AND '.join(said)})"

    def keys(self, columns: Sequence[str], keys: Iterable[tuple[int, int]], bind: Binding) -> str:
        """Returns that two columns are one of the pairs."""
        return f"({', '.join(columns)}) IN {bind([*keys])}"

    def extreme(self, function: str, value: str) -> str:
        """Returns the min or the max of values: without any it would be 0."""
        return f"if(count() = 0, NULL, {function}({value}))"

    def table(self, name: str, alias: str = "") -> str:
        """Returns what a statement reads a table from; a row that arrived twice counts once."""
        return f"{self.as_it_is(name, alias)} FINAL"

    def as_it_is(self, name: str, alias: str = "") -> str:
        """Returns what a statement reads a table from, without a look at other rows of the same key."""
        return f'"{name}" AS {alias}' if alias else f'"{name}"'

    def where(self, conditions: Sequence[str]) -> str:
        """Returns what chooses execs, as far as it can be before FINAL merges all columns of all rows.

        Of an exec that arrived twice the end alone may differ, and the first one counts.
        """
        early = [each for each in conditions if 'e."' in each and not any(name in each for name in _LATE)]
        late = [each for each in conditions if each not in early]
        said = (("PREWHERE", early), ("WHERE", late))
        return " ".join(f"{word} {' AND '.join(some)}" for word, some in said if some)
