"""The rules of redaction: what a table of the configuration means. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from execaudit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SECRET = "SECRET"  # noqa: S105  # the word that stands for one in `arguments`
_VALUES = ("any", "joined", "next", "none", "skip")
_MOST_RULES = 2000
_LONGEST = 2000


class RedactSettings(NamedTuple):
    """What [redact] of the configuration says."""

    presets: tuple[str, ...]
    """Names of presets."""
    rules: tuple[Rule, ...]
    """Its own rules."""
    where: str | None = None
    """What errors begin with: the file, for example."""


def _few(texts: Sequence[str], most: int = 3) -> str:
    """Returns the first of some texts."""
    return ", ".join(texts[:most]) + (" ..." if len(texts) > most else "")


class OptionRule(NamedTuple):
    """The value of an option is a secret."""

    options: tuple[str, ...]
    """Without a program, `*` in it stands for any letters."""
    programs: tuple[str, ...] = ()
    """Base names; `*` and `?` as in a shell. None: any program."""
    value: str = "any"
    """Where the value stands: `joined` to the option, as the `next` word, or either (`any`).

    `none`: the option has no secret, whatever general rules say; `skip`: and its next word is its value.
    """
    flags: str = ""
    """Letters that may stand before that of a short option: `-sSu NAME:SECRET`."""
    commands: tuple[str, ...] = ()
    """Only after one of these words: `login` in `docker login -p SECRET`."""
    after: str | None = None
    """The secret begins after this text in the value; a value without it has none."""
    before: str | None = None
    """And ends before the last such text, if there is one."""
    excepts: tuple[str, ...] = ()
    """Options that the globs above do not mean."""

    @property
    def title(self) -> str:
        """Says in a few words which rule it is."""
        return f"option {_few(self.options)}" + (f" of {_few(self.programs)}" if self.programs else "")


class ArgumentsRule(NamedTuple):
    """One of a program's arguments that are no options is a secret."""

    words: tuple[str, ...]
    """What comes before it (`*`: any word), and SECRET as the last."""
    programs: tuple[str, ...]
    needs: str | None = None
    """Only if this option came before."""
    after: str | None = None
    before: str | None = None

    @property
    def title(self) -> str:
        """Says in a few words which rule it is."""
        return f"argument {' '.join(self.words)} of {_few(self.programs)}"


class NameRule(NamedTuple):
    """The value of NAME=value is a secret, and that of "NAME": "value"."""

    names: tuple[str, ...]
    """`*` in it stands for any letters of a name. Upper and lower case are the same."""
    excepts: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Says in a few words which rule it is."""
        return f"name {_few(self.names)}"


class UserinfoRule(NamedTuple):
    """The password of scheme://user:password@host is a secret."""

    @property
    def title(self) -> str:
        """Says in a few words which rule it is."""
        return "password in a URL"


class HeaderRule(NamedTuple):
    """The value of an HTTP header is a secret; a word such as Bearer before it is none."""

    headers: tuple[str, ...]

    @property
    def title(self) -> str:
        """Says in a few words which rule it is."""
        return "HTTP header"


class RegexRule(NamedTuple):
    """What a regular expression (of RE2) matches in an argument is a secret, or what its groups match."""

    regex: str
    name: str = "regular expression"
    """What it finds."""

    @property
    def title(self) -> str:
        """Says in a few words which rule it is."""
        return self.name


Rule = OptionRule | ArgumentsRule | NameRule | UserinfoRule | HeaderRule | RegexRule
_KINDS = ("option", "arguments", "name", "userinfo", "header", "regex")
# The keys that a rule of each kind may have beside its own.
_KEYS = {
    "option": ("program", "value", "flags", "command", "after", "before", "except"),
    "arguments": ("program", "needs", "after", "before"),
    "name": ("except",),
    "userinfo": (),
    "header": (),
    "regex": ("title",),
}


def parse_rules(tables: object, where: str) -> tuple[Rule, ...]:
    """Returns the rules of a list of tables. Raises ConfigError, which begins with `where`."""
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise ConfigError(f"{where}: rules must be tables", fix="write [[redact.rules]] before each")
    if len(tables) > _MOST_RULES:
        raise ConfigError(
            f"{where}: there are more than {_MOST_RULES} rules", fix="use fewer, with lists in them"
        )
    return tuple(_rule(table, f"{where}: rule {number}") for number, table in enumerate(tables, 1))


def _rule(table: Mapping[str, Any], where: str) -> Rule:
    kinds = [kind for kind in _KINDS if kind in table]
    if len(kinds) != 1:
        has = "has " + " and ".join(kinds) if kinds else "says not what a secret is"
        raise ConfigError(f"{where} {has}", fix=f"give it one of {', '.join(_KINDS)}")
    kind = kinds[0]
    for key in table:
        if key not in (kind, *_KEYS[kind]):
            import difflib  # noqa: PLC0415  # only mistakes need it

            near = difflib.get_close_matches(key, _KEYS[kind], n=1)
            known = f"did you mean {near[0]}?" if near else f"there are {', '.join((kind, *_KEYS[kind]))}"
            raise ConfigError(f"{where}: unknown setting {key!r} beside {kind}", fix=known)
    read = _Reader(table, where)
    if kind == "userinfo":
        if table[kind] is not True:
            read.refuse("userinfo must be true")
        return UserinfoRule()
    if kind == "name":
        return NameRule(read.texts("name"), read.texts("except"))
    if kind == "header":
        return HeaderRule(read.texts("header"))
    if kind == "regex":
        return RegexRule(read.text("regex") or "", read.text("title") or "regular expression")
    return _of_options(read) if kind == "option" else _of_arguments(read)


def _of_options(read: _Reader) -> OptionRule:
    value = read.text("value") or "any"
    if value not in _VALUES:
        read.refuse(f"value must be one of {', '.join(_VALUES)}")
    programs = read.texts("program")
    options = read.texts("option")
    if programs and any("*" in each for each in options):
        read.refuse("an option with * is for any program", fix="name the options, or leave program out")
    if any("=" in each for each in options):
        read.refuse("an option has no = in it", fix='write option = "--password"')
    return OptionRule(
        options,
        programs,
        value,
        read.text("flags") or "",
        read.texts("command"),
        read.text("after"),
        read.text("before"),
        read.texts("except"),
    )


def _of_arguments(read: _Reader) -> ArgumentsRule:
    words = tuple((read.text("arguments") or "").split())
    if not words or words[-1] != SECRET or SECRET in words[:-1]:
        read.refuse(f"arguments must end with the word {SECRET}", fix=f'for example "add_user * {SECRET}"')
    programs = read.texts("program")
    if not programs:
        read.refuse("arguments need a program")
    return ArgumentsRule(words, programs, read.text("needs"), read.text("after"), read.text("before"))


class _Reader:
    """Reads the values of one table."""

    def __init__(self, table: Mapping[str, Any], where: str) -> None:
        self._table, self._where = table, where

    def refuse(self, why: str, *, fix: str | None = None) -> NoReturn:
        """Raises ConfigError."""
        raise ConfigError(f"{self._where}: {why}", fix=fix)

    def text(self, key: str) -> str | None:
        """Returns a text; None if there is none."""
        value = self._table.get(key)
        if value is not None and not self._is_text(value):
            self.refuse(f"{key} must be a text")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Returns the texts of a list, or one text."""
        value = self._table.get(key, [])
        texts: Sequence[Any] = value if isinstance(value, list) else [value]
        if not all(self._is_text(each) for each in texts) or (key in self._table and not texts):
            self.refuse(f"{key} must be a text, or a list of texts")
        return tuple(texts)

    @staticmethod
    def _is_text(value: object) -> bool:
        return isinstance(value, str) and 0 < len(value) <= _LONGEST and "\0" not in value
