"""Find the secrets in a command line: word by word, as the program and the shell that read it would."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from execaudit.redaction.marks import PREFIX, is_mark
from execaudit.redaction.ruleset import URL_SECRET, size_of_scheme
from execaudit.redaction.values import (
    end_of_value,
    ends_quoted,
    first_url,
    inside,
    is_harmless,
    is_no_secret,
    is_port,
)
from execaudit.redaction.words import ENDS_COMMAND, TOKEN, Command, Word, has_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from execaudit.redaction.rules import ArgumentsRule, OptionRule, Rule
    from execaudit.redaction.ruleset import Program, RuleSet

MOST_PLACES = 1000
"""More secrets than this are not replaced one by one."""
MOST_STEPS = 20_000
"""So many words are looked at one by one. It bounds the time that one command line takes."""
_MATCH = 8
"""So many words take as long as one match of an expression."""
_DEEPEST = 5
_LONGEST_NAME = 200
_KEPT_WORDS = 8
_MOST_LETTERS = 16

# After `-c` and its like the next argument is a script.
_TAKES_SCRIPT = re.compile(rb"-[A-Za-z]{0,6}c|--command").fullmatch
# The values of these are names, and not programs that are run.
_NAMES = re.compile(
    rb"--(?:add-host|alias|container|container-name|db|database|driver|exclude|filter|format|group|host|hostname|image"
    rb"|include|label|link|name|net|network|owner|package|service|tag|type|unit|user|volume|volumes-from)"
).fullmatch
# They run the arguments, joined by blanks, in a shell.
_REMOTE = {b"ssh", b"watch", b"eval", b"parallel", b"tmux", b"screen"}


class Found(NamedTuple):
    """A secret, by its place in argv."""

    start: int
    end: int
    rule: Rule | None
    """None: what was not looked at any more."""


class _TooMuchError(Exception):
    """There is more than may be looked at, from a place on."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at


class Finder:
    """Finds the secrets of one command line."""

    def __init__(self, rules: RuleSet, argv: bytes, lines: bytes) -> None:
        """`lines` has an argument in each line."""
        self._rules, self._argv, self._lines = rules, argv, lines
        self._steps = self._places = 0
        self._depth = 0
        self._named: dict[bytes, Rule | None] = {}
        self._is_value_next = self._has_program = False
        self.found: list[Found] = []

    def find(self) -> None:
        """Fills `found`: in the order of looking, and not without overlaps."""
        for look in (self._regexes, self._arguments):
            self._steps, self._places = 0, len(self.found)
            try:
                look()
            except _TooMuchError as exc:
                self._rest(exc.at)

    def _rest(self, at: int) -> None:
        """Takes the rest for a secret, from the first argument in which a rule could apply."""
        start = len(self._argv)
        match = self._rules.trigger.search(self._lines, at)
        if match is not None:
            start = max(at, self._argv.rfind(b"\0", 0, match.start() + 1) + 1)
        if self._has_program:
            option = self._argv.find(b"\0-", at)
            start = min(start, option + 1) if option >= 0 else start
            if self._depth > 0 or self._is_value_next:
                start = at
        end = len(self._argv) - self._argv.endswith(b"\0")
        if start < end:
            self.found.append(Found(start, end, None))

    def _step(self, at: int, cost: int = 1) -> None:
        self._steps += cost
        if self._steps > MOST_STEPS or len(self.found) - self._places > MOST_PLACES:
            raise _TooMuchError(at)

    def _add(self, start: int, end: int, rule: Rule, *, in_script: bool = False) -> None:
        """Adds a secret, unless it cannot be one."""
        # In `https://REDACTED:...@host` the mark stands where the user and the password do.
        if is_mark(self._argv[max(0, start - len(PREFIX)) : end]):
            return
        # What is in '..' is no variable.
        can_be_variable = in_script and not (start and self._argv.startswith(b"'", start - 1))
        if not is_no_secret(self._argv[start:end], in_script=can_be_variable):
            self.found.append(Found(start, end, rule))

    def _regexes(self) -> None:
        for pattern, rule in self._rules.regexes:
            at = 0
            while (match := pattern.search(self._lines, at)) is not None:
                self._step(match.start(), _MATCH)
                for group in range(1, pattern.groups + 1) if pattern.groups else (0,):
                    if match.start(group) >= 0:
                        self._add(match.start(group), match.end(group), rule)
                at = max(match.end(), at + 1)

    def _arguments(self) -> None:
        command = Command()
        at = 0
        size = len(self._argv)
        while at < size:
            end = self._argv.find(b"\0", at)
            end = size if end < 0 else end
            if self._argv[at:end] == b";":  # of `find -exec`
                command.begin(None)
            else:
                self._look(Word(at, self._argv[at:end], depth=0), command)
            at = end + 1

    def _text(self, start: int, end: int, *, depth: int, is_prose: bool) -> None:
        """Looks at a text that a shell may read: the words in it are commands."""
        if depth > _DEEPEST:
            return
        command = Command(is_prose=is_prose)
        for token in TOKEN.finditer(self._argv, start, end):
            first, last = token.span()
            if last - first == 1 and self._argv[first] in ENDS_COMMAND:
                self._step(first)
                command = Command(is_prose=is_prose)
            else:
                first, last = inside(self._argv, first, last)
                self._look(Word(first, self._argv[first:last], depth=depth), command)

    def _look(self, word: Word, command: Command) -> None:
        """Looks at a word, and notes what it says of the next one."""
        self._depth, self._is_value_next = word.depth, command.pending is not None
        self._step(word.start)
        is_script, command.is_script = command.is_script or command.is_remote, False
        is_name, command.is_name = command.is_name, False
        pending, command.pending = command.pending, None
        if pending is not None and not word.is_option:
            if pending.value != "skip":
                self._value(word, 0, pending)
            return
        self._quoted(word)
        self._header(word)
        if has_words(word.text) and (is_script or not self._is_value(word)):
            self._text(word.start, word.end, depth=word.depth + 1, is_prose=not is_script)
        else:
            self._pairs(word)
        if word.is_option:
            self._option(word, command)
        else:
            self._operand(word, command, is_name=is_name)

    def _is_value(self, word: Word) -> bool:
        """Says whether a word with blanks is one value, and not a text of words: `NAME=a b`, `-pa b`."""
        if word.is_option:
            return True
        match = self._rules.equals.search(word.text)
        return match is not None and match.start() == 0

    def _operand(self, word: Word, command: Command, *, is_name: bool) -> None:
        program, text = command.program, word.text
        if program is not None and text in program.options:
            self._begin_value(program.options[text], command)
            return
        base = text[max(text.rfind(b"/"), text.rfind(b"=")) + 1 :]
        if base in _REMOTE:
            command.is_remote = True
        if not is_name and len(base) <= _LONGEST_NAME and (begun := self._program(base)) is not None:
            command.begin(begun)
            self._has_program = True
            return
        if program is None or b"=" in text:
            return
        for rule in program.arguments:
            if _is_last(rule, command):
                self._value(word, 0, rule)
        if len(command.operands) < _KEPT_WORDS:
            command.operands.append(text)

    def _program(self, base: bytes) -> Program | None:
        exact = self._rules.programs.get(base)
        if exact is not None:
            return exact
        return next((program for pattern, program in self._rules.globs if pattern.fullmatch(base)), None)

    def _option(self, word: Word, command: Command) -> None:
        text = word.text
        if _TAKES_SCRIPT(text):
            command.is_script = True
        name, equals, _ = text[:_LONGEST_NAME].partition(b"=")
        rule = self._rule_of(name, command)
        if rule is not None:
            command.options.add(name)
            if not equals and len(text) == len(name):
                # `say what --password does` is a sentence.
                if rule.programs or not command.is_prose:
                    self._begin_value(rule, command)
            elif equals and rule.value in {"any", "joined"}:
                self._value(word, len(name) + 1, rule)
            return
        if text[:2] != b"--" and self._cluster(word, command):
            return
        command.options.add(name)
        command.is_name = not equals and _NAMES(name) is not None
        if equals and has_words(text):
            self._text(word.start + len(name) + 1, word.end, depth=word.depth + 1, is_prose=True)

    def _rule_of(self, name: bytes, command: Command) -> OptionRule | None:
        """Returns the rule of an option: that of the program before that of any."""
        if command.program is not None:
            rule = command.program.options.get(name)
            if rule is not None and _applies(rule, command):
                return rule
        rule = self._rules.general.options.get(name)
        if rule is not None:
            return rule
        for wide, excepts, each in self._rules.general_globs:
            if wide.fullmatch(name) and not excepts.fullmatch(name):
                return each
        return None

    def _cluster(self, word: Word, command: Command) -> bool:
        """Looks at `-p`, `-pVALUE` and `-xyp`. Says whether one of the letters has a rule."""
        text = word.text
        own = {} if command.program is None else command.program.short
        before = ""
        for at in range(1, min(len(text), _MOST_LETTERS)):
            letter = text[at]
            rule = own.get(letter) or self._rules.general.short.get(letter)
            command.options.add(bytes((letter,)))
            if rule is not None and _applies(rule, command) and all(each in rule.flags for each in before):
                if at + 1 == len(text):
                    self._begin_value(rule, command)
                elif rule.value in {"any", "joined"}:
                    self._value(word, at + 1, rule)
                return rule.value != "none"
            before += chr(letter)
        return False

    @staticmethod
    def _begin_value(rule: OptionRule, command: Command) -> None:
        if rule.value in {"any", "next", "skip"}:
            command.pending = rule

    def _value(self, word: Word, at: int, rule: OptionRule | ArgumentsRule) -> None:
        """Adds what is secret of the value that begins at a place in a word."""
        start, end = inside(self._argv, word.start + at, word.end)
        if rule.after is not None:
            found = self._argv.find(rule.after.encode(), start, end)
            if found < 0:
                return
            start = found + len(rule.after.encode())
        if rule.before is not None:
            found = self._argv.rfind(rule.before.encode(), start, end)
            end = found if found >= 0 else end
        self._add(start, end, rule, in_script=word.depth > 0)

    def _pairs(self, word: Word) -> None:
        """Looks for NAME=value and for passwords in URLs, in one word."""
        text, start, in_script = word.text, word.start, word.depth > 0
        if b"=" in text:
            at = 0
            url = first_url(text)
            size = len(text) - (in_script and ends_quoted(text))
            while (match := self._rules.equals.search(text, at)) is not None:
                self._step(start + match.start(), _MATCH)
                rule = self._rule_of_name(match.group(1))
                if rule is None:
                    at = match.end() - 1
                    continue
                last = start + end_of_value(text, match.end(), size, in_url=url < match.start())
                first, last = inside(self._argv, start + match.end(), last)
                first += size_of_scheme(text, first - start)
                # PWD is the working directory as well.
                is_folder = match.group(1).lower().endswith(b"pwd") and self._argv.startswith(b"/", first)
                if not is_folder and not is_harmless(self._argv[first:last]):
                    self._add(first, last, rule, in_script=in_script)
                at = max(match.end() - 1, last - start)
        userinfo = self._rules.userinfo
        if userinfo is not None and b"://" in text:
            for match in URL_SECRET.finditer(text):
                self._step(start + match.start(), _MATCH)
                if not is_port(match.group(1)):
                    self._add(start + match.start(1), start + match.end(1), userinfo, in_script=in_script)

    def _rule_of_name(self, name: bytes) -> Rule | None:
        if name not in self._named:
            self._named[name] = self._first_rule_of_name(name)
        return self._named[name]

    def _first_rule_of_name(self, name: bytes) -> Rule | None:
        bare = name.lstrip(b"-")
        for wide, excepts, rule in self._rules.names:
            if excepts.fullmatch(bare) or excepts.fullmatch(name):
                return None
            if wide.fullmatch(bare):
                return rule
        return None

    def _quoted(self, word: Word) -> None:
        """Looks for `"NAME": "value"` in a text."""
        text = word.text
        if b'"' not in text and b"'" not in text:
            return
        at = 0
        while (match := self._rules.quoted.search(text, at)) is not None:
            self._step(word.start + match.start(), _MATCH)
            rule = self._rule_of_name(match.group(1))
            if rule is None:
                at = match.end() - 1
                continue
            # The quote may be escaped, and then the one at the end is.
            first = match.end()
            quote = (
                text[first - 2 : first] if text[first - 2 : first - 1] == b"\\" else text[first - 1 : first]
            )
            at = text.find(quote, first)
            at = len(text) if at < 0 else at
            first = min(first + size_of_scheme(text, first), at)
            if not is_harmless(text[first:at]):
                self._add(word.start + first, word.start + at, rule)

    def _header(self, word: Word) -> None:
        header = self._rules.header
        if header is None or b":" not in word.text:
            return
        match = header.search(word.text)
        rule = None if match is None else self._rule_of_name(match.group(1))
        if match is not None and rule is not None and not is_harmless(match.group(2)):
            self._add(word.start + match.start(2), word.start + match.end(2), rule)


def _applies(rule: OptionRule, command: Command) -> bool:
    return not rule.commands or any(each.encode() in command.operands for each in rule.commands)


def _is_last(rule: ArgumentsRule, command: Command) -> bool:
    """Says whether the words so far are those before the secret."""
    words = rule.words[:-1]
    if len(words) != len(command.operands):
        return False
    if rule.needs is not None:
        needs = rule.needs.encode()
        names = [needs] if needs.startswith(b"--") else [bytes((each,)) for each in needs.lstrip(b"-")]
        if not all(each in command.options for each in names):
            return False
    return all(
        wanted in ("*", word.decode("latin-1")) for wanted, word in zip(words, command.operands, strict=True)
    )


def settled(found: Sequence[Found]) -> list[Found]:
    """Returns secrets in order, those that overlap as one, and at most MOST_PLACES + 1."""
    places: list[Found] = []
    for each in sorted(found, key=lambda place: (place.start, -place.end)):
        if places and each.start < places[-1].end:
            last = places[-1]
            places[-1] = last._replace(end=max(last.end, each.end))
        else:
            places.append(each)
    return places
