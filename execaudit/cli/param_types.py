"""The types of options' values.

Each imports what it converts with when it converts: `--help` and completion need none of it.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import click

from execaudit.cli.completion import items
from execaudit.errors import FilterError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from execaudit.event import Nanoseconds
    from execaudit.query.expression import Expression

    _TimeType = click.ParamType[Nanoseconds]
    _TextType = click.ParamType[str]
    _AroundType = click.ParamType[Nanoseconds | str]
    _SizeType = click.ParamType[int]
    _NumberType = click.ParamType[int]
    _NamesType = click.ParamType[tuple[str, ...]]
    _WhereType = click.ParamType[Expression]
else:
    _TimeType = _TextType = _AroundType = _SizeType = _NumberType = _NamesType = _WhereType = (
        click.ParamType
    )  # generic since click 8.5 only

_LAST_PID = 2**22  # PID_MAX_LIMIT
_UID_DIGITS = 10
_ERRNO_DIGITS, _PID_DIGITS = 4, 7
# Of an id: as git has it.
_FEWEST_CHARACTERS = 4
PID = click.IntRange(0, _LAST_PID)


class Time(_TimeType):
    """A moment, `1h` (that long ago), `14:05`, `@1795370919`; nanoseconds since 1970."""

    name = "time"

    def __init__(self, *, last: bool = False) -> None:
        """Clocks that are set back have a local time twice: the first is meant, or with `last` the last."""
        self._last = last

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Nanoseconds:
        """Returns the moment that the text names."""
        from execaudit import times  # noqa: PLC0415

        try:
            now = datetime.now(timezone.utc).astimezone()
            return times.parse_time(str(value), now=now, last=self._last)
        except FilterError as exc:
            self.fail(str(exc), param, ctx)


class Duration(_TimeType):
    """A length of time, `90s`, `1h30min`; nanoseconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Nanoseconds:
        """Returns the nanoseconds that the text names."""
        from execaudit import times  # noqa: PLC0415

        try:
            return times.parse_duration(str(value))
        except FilterError as exc:
            self.fail(str(exc), param, ctx)


class Size(_SizeType):
    """A number of bytes, `500MB`, `5GiB`."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Returns the bytes that the text names."""
        from execaudit import sizes  # noqa: PLC0415

        try:
            return sizes.parse_size(str(value))
        except FilterError as exc:
            self.fail(str(exc), param, ctx)


class Regex(_TextType):
    """A regular expression that compiles."""

    name = "regex"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Returns the text, unless it does not compile."""
        from execaudit.query import timelimit  # noqa: PLC0415

        text = str(value)
        try:
            # Checked now: when the first exec is looked at, the output has begun.
            timelimit.searcher(text)
        except FilterError as exc:
            self.fail(str(exc).removeprefix("--args-regex: "), param, ctx)
        return text


class Where(_WhereType):
    """An expression over the names of the record."""

    name = "expression"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Expression:
        """Returns what the text says."""
        from execaudit.query import where  # noqa: PLC0415  # loads the library lark, for this filter alone

        try:
            return where.parse(str(value), now=datetime.now(timezone.utc).astimezone())
        except FilterError as exc:
            self.fail(str(exc), param, ctx)

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002  # click's
        incomplete: str,
    ) -> list[CompletionItem]:
        """Returns how the expression can go on: a name, a verb, a value, `and`."""
        from execaudit.cli import where_words  # noqa: PLC0415

        return where_words.complete(ctx, incomplete)


class User(_TextType):
    """A user's name or uid."""

    name = "user"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Returns the text, unless it is too long for a uid."""
        text = str(value)
        if text.isdecimal() and len(text) > _UID_DIGITS:
            self.fail(f"a uid has at most {_UID_DIGITS} digits", param, ctx)
        return text


class Errno(_NumberType):
    """An error's name or number."""

    name = "errno"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Returns the number that the text names."""
        from execaudit.enums import ERRNO_NAMES  # noqa: PLC0415

        text = str(value).upper()
        numbers = {name: number for number, name in ERRNO_NAMES.items()}
        digits = text.removeprefix("E")
        if digits.isascii() and digits.isdigit() and len(digits) <= _ERRNO_DIGITS:
            return int(digits)
        if text not in numbers:
            from difflib import get_close_matches  # noqa: PLC0415

            near = "".join(f": did you mean {name}?" for name in get_close_matches(text, numbers, n=1))
            self.fail(f"no error is called {value!r}{near}", param, ctx)
        return numbers[text]

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002  # click's
        param: click.Parameter,  # noqa: ARG002  # click's
        incomplete: str,
    ) -> list[CompletionItem]:
        """Returns the names of errors that begin so."""
        from execaudit.enums import ERRNO_NAMES  # noqa: PLC0415

        return items(name for name in ERRNO_NAMES.values() if name.startswith(incomplete.upper()))


class Terminal(_TextType):
    """A terminal, with or without /dev/."""

    name = "terminal"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002  # click's
        """Returns the name without /dev/."""
        return str(value).removeprefix("/dev/")


class ExecId(_TextType):
    """An exec's own id as records have it, the beginning of one, or `pid:7`."""

    name = "id"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Returns the text, unless it can name no exec."""
        text = str(value).strip()
        if not _names_an_exec(text):
            self.fail(
                f"{value!r} is no exec id: those have 22 characters, as in `query --format jsonl`;"
                f" the first {_FEWEST_CHARACTERS} or more will do, and pid:7",
                param,
                ctx,
            )
        return text


class TimeOrExec(_AroundType):
    """A moment, or an exec: then its time."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Nanoseconds | str:
        """Returns the moment that the text names, or the text if it names an exec."""
        from execaudit import times  # noqa: PLC0415

        text = str(value).strip()
        try:
            return times.parse_time(text, now=datetime.now(timezone.utc).astimezone())
        except FilterError as exc:
            if not _names_an_exec(text):
                self.fail(f"{exc}, or the id of an exec", param, ctx)
        return text


class FieldName(_TextType):
    """A name of the record by which its values can be put in order."""

    name = "name"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Returns the name."""
        from execaudit.fields import BY_NAME, Form  # noqa: PLC0415

        name = _field_name(self, str(value), param, ctx)
        if BY_NAME[name].form is Form.PAIRS or name == "argv_base64":
            self.fail(f"{name} has no order", param, ctx)
        return name

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002  # click's
        param: click.Parameter,  # noqa: ARG002  # click's
        incomplete: str,
    ) -> list[CompletionItem]:
        """Returns the names that begin so."""
        return items(_field_names(incomplete))


class FieldNames(_NamesType):
    """Names of the record, with commas between."""

    name = "names"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Returns the names."""
        return tuple(_field_name(self, text, param, ctx) for text in str(value).split(","))

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002  # click's
        param: click.Parameter,  # noqa: ARG002  # click's
        incomplete: str,
    ) -> list[CompletionItem]:
        """Returns the names that begin as what comes after the last comma."""
        before, comma, last = incomplete.rpartition(",")
        return items(f"{before}{comma}{name}" for name in _field_names(last))


def _field_names(beginning: str) -> list[str]:
    from execaudit.fields import ALIASES, BY_NAME  # noqa: PLC0415

    return [name for name in (*BY_NAME, *ALIASES) if name.startswith(beginning)]


def _field_name(
    of: click.ParamType[Any], text: str, param: click.Parameter | None, ctx: click.Context | None
) -> str:
    """Returns the record's own name of a field. Fails, with the nearest one, if there is none."""
    from execaudit.fields import ALIASES, BY_NAME  # noqa: PLC0415

    name = ALIASES.get(text.strip(), text.strip())
    if name not in BY_NAME:
        from difflib import get_close_matches  # noqa: PLC0415

        near = get_close_matches(name.lower(), [*BY_NAME, *ALIASES], n=1)
        fix = f"did you mean {near[0]}?" if near else f"the names are {', '.join(BY_NAME)}"
        of.fail(f"the record has no {name!r}: {fix}", param, ctx)
    return name


def _names_an_exec(text: str) -> bool:
    from execaudit.exec_id import keys_from  # noqa: PLC0415

    if text.startswith("pid:"):
        digits = text.removeprefix("pid:")
        return digits.isascii() and digits.isdigit() and len(digits) <= _PID_DIGITS
    return len(text) >= _FEWEST_CHARACTERS and keys_from(text) is not None
