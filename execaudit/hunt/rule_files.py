"""Read rules from files and folders. The only user of pySigma beside `translate`, and of its YAML.

pySigma reads what a rule says, and converts nothing: no pipelines, no templates, no other files. YAML is read
by a loader that makes plain values only.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import regex
import yaml
from sigma.collection import SigmaCollection
from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaError
from sigma.policy import SigmaPolicy
from sigma.policy.regex_engine import RE2RegexEngine
from sigma.rule.base import SigmaYAMLLoader

from execaudit.errors import ExecauditError
from execaudit.event import LEVELS
from execaudit.hunt.rule import OPERATORS, Correlation, Rule
from execaudit.hunt.translate import NotHuntedError, expression_of, own_text
from execaudit.query.expression import Or

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from execaudit.query.expression import Expression

_ENDINGS = (".yml", ".yaml")
# Public rules have up to 20 KB.
_LARGEST = 1_000_000
_NAMES = re.compile(r"[\w.*-]*")


class Refusal(NamedTuple):
    """A rule, or a file, that cannot be hunted."""

    file: str
    why: str


class Rules(NamedTuple):
    """What is in files and folders."""

    rules: list[Rule]
    correlations: list[Correlation]
    refusals: list[Refusal]
    others: int
    """How many rules are about other events, or other systems."""


def read_rules(paths: Sequence[str]) -> Rules:
    """Returns what is in files, and in all files named *.yml of folders, however deep.

    Raises ExecauditError for a path that cannot be read.
    """
    found = Rules([], [], [], 0)
    for path in paths:
        for file in _files(path):
            found = _with(found, file)
    known = {name for rule in found.rules for name in (rule.name, rule.id)}
    correlations = []
    for each in found.correlations:
        missing = [name for name in each.rules if name not in known]
        if missing:
            found.refusals.append(Refusal(each.file, f"it needs the rule {missing[0]}"))
        else:
            correlations.append(each)
    return found._replace(correlations=correlations)


def _files(path: str) -> Iterator[str]:
    try:
        is_folder = stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116  # keeps ./ and a name that is not UTF-8
    except OSError as exc:
        raise _unreadable(path, exc) from exc
    if not is_folder:
        yield path
        return

    def fail(exc: OSError) -> None:
        raise _unreadable(exc.filename or path, exc) from exc

    # Links to folders are not followed: they may go in a circle.
    for folder, folders, names in os.walk(path, onerror=fail):
        folders.sort()
        for name in sorted(names):
            file = os.path.join(folder, name)  # noqa: PTH118
            if name.endswith(_ENDINGS) and Path(file).is_file():
                yield file


def _unreadable(path: str, exc: OSError) -> ExecauditError:
    return ExecauditError(f"cannot read the rules in {path}: {exc.strerror}", fix="name a file or a folder")


def _with(found: Rules, file: str) -> Rules:
    """Returns what was found, and what is in a file."""
    try:
        with Path(file).open("rb") as opened:
            content = opened.read(_LARGEST + 1)
    except OSError as exc:
        raise _unreadable(file, exc) from exc
    rules, correlations, refusals, others = found
    try:
        for document in _documents(content):
            if _is_other(document):
                others += 1
            else:
                made = _rule(document, file)
                if isinstance(made, Rule):
                    rules.append(made)
                else:
                    correlations.append(made)
    except (NotHuntedError, SigmaError, yaml.YAMLError, ValueError) as exc:
        refusals.append(Refusal(file, _one_line(exc)))
    except RecursionError:
        refusals.append(Refusal(file, "it is too deep"))
    return Rules(rules, correlations, refusals, others)


def _documents(content: bytes) -> Iterator[dict[str, Any]]:
    """Yields the rules of a file, each as YAML has it."""
    if len(content) > _LARGEST:
        raise NotHuntedError(f"it has more than {_LARGEST} bytes")
    for document in yaml.load_all(content.decode(), Loader=SigmaYAMLLoader):  # a CSafeLoader
        if document is None:
            continue
        if not isinstance(document, dict):
            raise NotHuntedError("it is no rule")
        yield document


def _is_other(document: dict[str, Any]) -> bool:
    """Says whether a rule is about other events than execs, or other systems than Linux."""
    source = document.get("logsource")
    if not isinstance(source, dict):
        return False
    return (
        source.get("category", "process_creation") != "process_creation"
        or source.get("product", "linux") != "linux"
        or (source.get("service") is not None and "category" not in source)
    )


class _RegexEngine:
    """Says to pySigma whether a regular expression is one. It matches only the patterns in conditions.

    RE2 does that in linear time. It knows less than `regex`, and writes to stderr what it does not know.
    """

    error = SigmaError

    def __init__(self) -> None:
        self._linear = RE2RegexEngine()

    def compile(self, pattern: str, flags: int = 0) -> Any:  # noqa: ANN401  # pySigma's protocol
        if _NAMES.fullmatch(pattern):
            return self._linear.compile(pattern, flags)
        try:
            return regex.compile(pattern)
        except (regex.error, OverflowError, RecursionError, ValueError) as exc:
            raise SigmaError(f"its regular expression is none: {exc}") from exc


_POLICY = SigmaPolicy(regex_engine=cast("Any", _RegexEngine()))


def _rule(document: dict[str, Any], file: str) -> Rule | Correlation:
    """Raises NotHuntedError, SigmaError, ValueError or RecursionError."""
    collection = SigmaCollection.from_dicts(
        [document], collect_errors=True, resolve_references=False, policy=_POLICY
    )
    for error in collection.errors:
        raise error
    if not collection.rules:
        raise NotHuntedError("it is a filter for other rules")
    rule: Any = collection.rules[0]
    level = None if rule.level is None else str(rule.level)
    says: dict[str, Any] = {
        "file": file,
        "title": str(rule.title),
        "id": None if rule.id is None else str(rule.id),
        "level": level if level in LEVELS else None,
        "tags": tuple(str(tag) for tag in rule.tags),
    }
    if isinstance(rule, SigmaCorrelationRule):
        return Correlation(**says, **_counting(rule))
    conditions: list[Expression] = [expression_of(each.parsed) for each in rule.detection.parsed_condition]
    whole = conditions[0] if len(conditions) == 1 else Or(tuple(conditions))
    return Rule(**says, expression=whole, name=rule.name)


def _counting(rule: Any) -> dict[str, Any]:  # noqa: ANN401  # pySigma's
    """Returns what a correlation says of the hits of others."""
    kind = rule.type.name.lower()
    if kind not in ("event_count", "value_count"):
        raise NotHuntedError(f"it needs the correlation {kind}")
    if len(rule.aliases):
        raise NotHuntedError("it needs aliases of fields")
    compare, field = rule.condition.op.name.lower(), rule.condition.fieldref
    if compare not in OPERATORS:
        raise NotHuntedError(f"it needs the condition {compare}, which comes true by the end of a time")
    if isinstance(field, list):
        raise NotHuntedError("it needs to count several fields")
    return {
        "rules": tuple(str(each.reference) for each in rule.rules),
        "are_shown": bool(rule.generate),
        "group_by": tuple(own_text(name) for name in rule.group_by or ()),
        "span_ns": rule.timespan.seconds * 1_000_000_000,
        "counted": own_text(field) if kind == "value_count" else None,
        "compare": compare,
        "count": rule.condition.count,
    }


def _one_line(exc: Exception) -> str:
    return " ".join(str(exc).split())
