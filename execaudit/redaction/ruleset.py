"""Rules, arranged for use: what a word of a command line is looked up in."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.errors import ConfigError
from execaudit.redaction import patterns, presets
from execaudit.redaction.patterns import WrongPatternError, compiled, glob, union
from execaudit.redaction.rules import ArgumentsRule, HeaderRule, NameRule, OptionRule, RegexRule, UserinfoRule

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from execaudit.redaction.patterns import Pattern
    from execaudit.redaction.rules import RedactSettings, Rule

# Words after which `=` or `": "` may stand, as in JSON and in programs.
_BEFORE_NAME = r"(?i)(?:^|[^\w.\[\]^-])"
_EQUALS = r"\\*[\"']?="
_QUOTED = r"(?:\\*[\"']\s*:\s*|\s+=\s*|\s*=\s+)\\*[\"']"
_SCHEMES = "bearer|basic|token|digest|negotiate|apikey|key|oauth|ntlm|aws4-hmac-sha256"
_URL_SECRET = r"://[^\s/?#@:\"']*:([^\s/\"']*)@"  # noqa: S105  # none
# A word begins after one of these, or with a line.
_BEFORE_WORD = r"(?:^|[\s;|&(`\"'=/])"


class Program(NamedTuple):
    """What is known of the words that follow a program's name."""

    options: dict[bytes, OptionRule]
    """Those of several letters, and words without a hyphen that are used as options are."""
    short: dict[int, OptionRule]
    """By their letter."""
    arguments: list[ArgumentsRule]


class RuleSet(NamedTuple):
    """What a Redactor looks words up in."""

    rules: tuple[Rule, ...]
    trigger: Pattern
    """Matches if any rule could apply: over lines, one an argument."""
    programs: dict[bytes, Program]
    globs: Sequence[tuple[Pattern, Program]]
    general: Program
    """Options of any program."""
    general_globs: Sequence[tuple[Pattern, Pattern, OptionRule]]
    """What they mean, what of that they do not mean, and the rule."""
    equals: Pattern
    """NAME=, where the value begins with the end of the match; the name is group 1."""
    quoted: Pattern
    """"NAME": ", as before."""
    names: Sequence[tuple[Pattern, Pattern, Rule]]
    """Which rule means a name: what it means, and what of that it does not mean."""
    userinfo: UserinfoRule | None
    header: Pattern | None
    """A text that begins with a header: its name is group 1, its value group 2."""
    regexes: Sequence[tuple[Pattern, RegexRule]]


def compile_rules(settings: RedactSettings) -> RuleSet:
    """Returns the rules of presets and of the configuration, ready for use.

    Raises ConfigError for a preset or a regular expression that is wrong.
    """
    # Own rules come first: they decide where a preset has the same option.
    try:
        return arrange(dict.fromkeys((*settings.rules, *presets.rules_of(settings.presets))))
    except ConfigError as exc:
        if settings.where is None:
            raise
        raise ConfigError(f"{settings.where}: {exc.what}", fix=exc.fix) from exc


def arrange(rules: Iterable[Rule]) -> RuleSet:
    """Returns rules ready for use. Raises ConfigError."""
    rules = tuple(rules)
    if not rules:
        raise ConfigError("redaction has no rules", fix='write presets = "all" in [redact], or rules')
    names = [rule for rule in rules if isinstance(rule, NameRule)]
    headers = [name for rule in rules if isinstance(rule, HeaderRule) for name in rule.headers]
    userinfo = next((rule for rule in rules if isinstance(rule, UserinfoRule)), None)
    regexes = [_regex(rule) for rule in rules if isinstance(rule, RegexRule)]
    exact, globs = _programs(rules)
    general = Program({}, {}, [])
    general_globs = []
    for rule in rules:
        if isinstance(rule, OptionRule) and not rule.programs:
            _add(general, rule._replace(options=tuple(each for each in rule.options if "*" not in each)))
            wide = [each for each in rule.options if "*" in each]
            if wide:
                general_globs.append((_names(wide), _names(rule.excepts), rule))
    all_names = union(
        [glob(each) for rule in names for each in rule.names] + [patterns.escaped(each) for each in headers]
    )
    header = union(patterns.escaped(each) for each in headers)
    starts = rf"^(?:-[-\w]*=?)?(?:[\w./:-]*extraheader=)?[\"']?({header})\s*:\s*(?:(?:{_SCHEMES})\s+)?"
    named: list[tuple[Pattern, Pattern, Rule]] = []
    for rule in rules:
        if isinstance(rule, NameRule):
            named.append((_names(rule.names), _names(rule.excepts), rule))
        elif isinstance(rule, HeaderRule):
            named.append((_names(rule.headers), _names(()), rule))
    return RuleSet(
        rules=rules,
        trigger=_trigger(rules, headers),
        programs=exact,
        globs=globs,
        general=general,
        general_globs=general_globs,
        equals=compiled(f"{_BEFORE_NAME}(-*{all_names}){_EQUALS}", large=True),
        quoted=compiled(f"{_BEFORE_NAME}(-*{all_names}){_QUOTED}", large=True),
        names=named,
        userinfo=userinfo,
        header=compiled(rf"(?is){starts}(\S.*)$") if headers else None,
        regexes=regexes,
    )


URL_SECRET = compiled(_URL_SECRET)
_SCHEME = compiled(rf"(?i)(?:{_SCHEMES})\s+")


def size_of_scheme(text: bytes, at: int) -> int:
    """Returns how many bytes `Bearer ` or the like takes at a place; 0 if there is none."""
    match = _SCHEME.match(text, at)
    return 0 if match is None else match.end() - at


def _names(globs: Iterable[str]) -> Pattern:
    return compiled(f"(?i){union(glob(each) for each in globs)}", groups=False)


def _regex(rule: RegexRule) -> tuple[Pattern, RegexRule]:
    try:
        return compiled(rule.regex, lines=True), rule
    except WrongPatternError as exc:
        patterns.refuse(rule.regex, str(exc))


def _programs(rules: Iterable[Rule]) -> tuple[dict[bytes, Program], list[tuple[Pattern, Program]]]:
    exact: dict[bytes, Program] = {}
    wide: dict[str, Program] = {}
    for rule in rules:
        if not isinstance(rule, (OptionRule, ArgumentsRule)):
            continue
        for name in rule.programs:
            if "*" in name or "?" in name:
                _add(wide.setdefault(name, Program({}, {}, [])), rule)
            else:
                _add(exact.setdefault(name.encode(), Program({}, {}, [])), rule)
    globs = [(compiled(glob(name, r"[^/\s]"), groups=False), program) for name, program in wide.items()]
    return exact, globs


def _add(program: Program, rule: OptionRule | ArgumentsRule) -> None:
    """Adds a rule to those of a program; where there is one for the same option, that one stays."""
    if isinstance(rule, ArgumentsRule):
        program.arguments.append(rule)
        return
    for option in rule.options:
        text = option.encode()
        if len(text) == len("-p") and text.startswith(b"-"):
            program.short.setdefault(text[1], rule)
        else:
            program.options.setdefault(text, rule)


def _trigger(rules: Sequence[Rule], headers: Sequence[str]) -> Pattern:
    """Returns what matches where any rule could: it may match more, and is quick."""
    options = [rule for rule in rules if isinstance(rule, (OptionRule, ArgumentsRule))]
    programs = union(glob(name, r"[^/\s]") for rule in options for name in rule.programs)
    general = [
        each
        for rule in options
        if isinstance(rule, OptionRule) and not rule.programs
        for each in rule.options
    ]
    # What a name or an option begins with is left out if it may be anything: fewer states for RE2.
    names = [each.lstrip("*") for rule in rules if isinstance(rule, NameRule) for each in rule.names]
    named = union([glob(name) for name in names] + [patterns.escaped(name) for name in headers])
    found = [
        rf"{_BEFORE_WORD}{programs}(?:[\s;|&)`\"']|$)",
        rf"{union(glob(each.rpartition('*')[2]) for each in general)}(?:[\s=\"']|$)",
        rf"(?i:{named}(?:{_EQUALS}|{_QUOTED}))",
        *([rf"(?i:{union(map(patterns.escaped, headers))}\s*:)"] if headers else []),
        *([_URL_SECRET] if any(isinstance(rule, UserinfoRule) for rule in rules) else []),
        *(rule.regex for rule in rules if isinstance(rule, RegexRule)),
    ]
    try:
        return compiled(union(f"(?:{each})" for each in found), large=True, lines=True, groups=False)
    except WrongPatternError as exc:
        raise ConfigError(
            f"the rules of redaction are too large together: {exc}", fix="use fewer presets or rules"
        ) from exc
