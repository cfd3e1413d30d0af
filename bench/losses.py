"""What a recorder has of the soak's load, and what its gaps count, by reason and user."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parents[1]


@dataclass
class Truth:
    """How many execs the load made."""

    started: Counter[str] = field(default_factory=Counter)
    """Execs by the label in their arguments."""
    failed: Counter[str] = field(default_factory=Counter)


def execaudit(database: Path, *arguments: str, config: Path = Path(os.devnull)) -> list[str]:
    """Returns the command line that runs a command of this checkout on a database."""
    return [
        sys.executable, "-m", "execaudit", "--config", str(config), "--db", str(database), *arguments,
    ]  # fmt: skip


class Kept(NamedTuple):
    """How many execs of the load were recorded, by label; and what the gaps say, by reason and uid."""

    started: Counter[str]
    failed: Counter[str]
    twice: int
    endless: int
    """Execs whose end is not known."""
    gaps: dict[tuple[str, int | None], Missed]


@dataclass
class Missed:
    """What gaps of one reason and user count."""

    gaps: int = 0
    execs: int = 0
    ends: int = 0
    uncounted: int = 0
    """Gaps that cannot know how many execs are missing."""

    def add(self, gap: dict[str, Any]) -> None:
        """Adds the record of a gap."""
        self.gaps += 1
        self.execs += gap["count"] or 0
        self.ends += gap["exits"]
        self.uncounted += gap["count"] is None


def _kept(lines: Iterator[str], mark: str) -> Kept:
    """Counts the execs of the load in records. Programs that only start them are not counted."""
    started: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    seen: set[str] = set()
    gaps: dict[tuple[str, int | None], Missed] = {}
    twice = endless = 0
    for line in lines:
        record = json.loads(line)
        # That nobody records any more is said too; such a gap has no end.
        if record["kind"] == "gap" and record["to"] is not None:
            gaps.setdefault((record["reason"], record["uid"]), Missed()).add(record)
        argv: list[str] = record.get("argv", [])
        name, each, *_ = [*argv, "", ""]
        if name != "noop" or not each.startswith(mark):
            continue
        twice += each in seen
        seen.add(each)
        label = each.rpartition("-")[0]
        if record["kind"] == "failed":
            failed[label] += 1
        else:
            started[label] += 1
            endless += record["ended"] != "exited"
    return Kept(started, failed, twice, endless, gaps)


def in_history(database: Path, mark: str) -> Kept:
    """Returns what a database has of the load, whose command lines have a mark."""
    command = execaudit(database, "query", "--format", "jsonl", "--args", mark)
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as query:
        if query.stdout is None:
            raise AssertionError("a pipe was asked for")
        return _kept(iter(query.stdout), mark)


def in_log(path: Path, mark: str) -> Kept:
    """Returns what a JSON log has of it."""
    # A quote in an argument has a backslash before it, so only a gap has the second text.
    with path.open(encoding="ascii") as lines:
        return _kept((line for line in lines if mark in line or '"kind":"gap"' in line), mark)


def missing(truth: Truth, kept: Kept) -> Counter[str]:
    """Returns how many execs are missing, by label."""
    return (truth.started - kept.started) + (truth.failed - kept.failed)


def placed(lost: Counter[str], kept: Kept) -> Iterator[str]:
    """Yields a line for each reason and user of gaps, and for each label of which execs are missing."""
    for (reason, uid), missed in sorted(kept.gaps.items(), key=lambda item: -item[1].execs):
        whose = "of no known user" if uid is None else f"of uid {uid}"
        uncounted = f", {missed.uncounted} of them without a number" if missed.uncounted else ""
        yield f"  {reason}: {missed.execs} execs and {missed.ends} ends {whose}, in {missed.gaps} gaps{uncounted}"
    for label, count in lost.items():
        yield f"  missing: {count} of {label}"
