"""The result of a verification, as JSON and as lines for people. Pure, except for the system's time zone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from execaudit.cli.run.seal_status import reason_text
from execaudit.escaping import printable
from execaudit.output.summary_line import local_text
from execaudit.times import utc_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from execaudit.seal.segment_check import Problem
    from execaudit.seal.stamp_check import Stamped
    from execaudit.seal.verify import Pruning, Result

    TimeText = Callable[[int], str]

# More would hide what is said of the whole.
_MOST_LINES = 50
_WORDS = {
    "changed": "is not as it was sealed",
    "missing": "is missing",
    "added": "was added and is not sealed",
    "reordered": "was put into another order",
    "cut": "is cut off, or an older copy was put back",
    "forged": "is not what the key, or a head that was noted, vouches for",
}


def record(
    result: Result, stamped: Sequence[Stamped], gaps: Sequence[dict[str, object]]
) -> dict[str, object]:
    """Returns it as JSON values."""
    return {
        "verified": result.is_verified,
        "authentic": result.is_authentic,
        "execs": result.execs,
        "sealed_until": _utc(result.sealed_until_ns),
        "head": result.head,
        "problems": [problem_record(each) for each in result.problems],
        "pruned": [
            {
                "at": utc_text(each.at_ns),
                "reason": each.reason,
                "execs": each.execs,
                "from": utc_text(each.from_ns),
                "to": utc_text(each.to_ns),
            }
            for each in result.pruned
        ],
        "timestamps": [
            {
                "head": each.stamp.head,
                "at": utc_text(each.stamp.at_ns),
                "authority": each.stamp.authority,
                "verified": is_proved(result, each),
            }
            for each in stamped
        ],
        "gaps": [*gaps],
        "chains": [
            {
                "chain": each.id.hex()[:16],
                "keyed": bool(each.is_keyed),
                "reason": each.reason,
                "began": utc_text(each.begun_ns),
            }
            for each in result.chains
        ],
        "stripped": [
            {"epochs": count, "from": _utc(from_ns), "to": _utc(to_ns)}
            for count, from_ns, to_ns in result.stripped
        ],
        "lost": [
            {"epochs": count, "from": _utc(from_ns), "to": _utc(to_ns)}
            for count, from_ns, to_ns in result.lost
        ],
    }


def problem_record(problem: Problem) -> dict[str, object]:
    """Returns a problem as JSON values."""
    return {
        "kind": problem.kind,
        "table": problem.table,
        "first": problem.first,
        "last": problem.last,
        "from": _utc(problem.from_ns),
        "to": _utc(problem.to_ns),
    }


def _utc(time_ns: int | None) -> str | None:
    return None if time_ns is None else utc_text(time_ns)


def is_proved(result: Result, each: Stamped) -> bool | None:
    """Says whether a time stamp is its authority's, and its head in the chain. None: that is not known."""
    if each.is_valid is False:
        return False
    return each.is_valid if each.stamp.head in result.proved_heads else None


def lines(result: Result, stamped: Sequence[Stamped] = (), *, since_ns: int | None = None) -> Iterator[str]:
    """Yields it for people. `since_ns`: what was sealed before was not looked at."""
    if not result.is_sealed:
        yield "NOT VERIFIED: nothing is sealed here"
        yield from problem_lines(result.problems)
        return
    until = "?" if result.sealed_until_ns is None else local_text(result.sealed_until_ns)
    since = "" if since_ns is None else f" since {local_text(since_ns)}"
    if result.is_verified:
        execs = "1 exec is" if result.execs == 1 else f"{result.execs} execs are"
        yield f"verified: {execs} as sealed{since}, until {until}"
    else:
        yield f"NOT VERIFIED{since}, until {until}: {trusted(result.problems)}"
        yield from problem_lines(result.problems)
    yield from _authentic(result)
    yield f"head: {result.head}"
    yield from _stamped(result, stamped)
    for each in result.pruned:
        yield _pruned(each)
    for count, from_ns, to_ns in result.stripped:
        seals = "1 seal" if count == 1 else f"{count} seals"
        yield (
            f"pruned as a whole: what {seals} covered, from {local_text(from_ns)} to {local_text(to_ns)}: their heads"
            " prove nothing any more"
        )
    yield from lost_lines(result)


def lost_lines(result: Result) -> Iterator[str]:
    """Yields a line for each time in which epochs were lost at a boot."""
    for count, from_ns, to_ns in result.lost:
        seals = "1 seal" if count == 1 else f"{count} seals"
        yield f"lost: {seals} at the restart of the host, between {local_text(from_ns)} and {local_text(to_ns)}"


def _stamped(result: Result, stamped: Sequence[Stamped]) -> Iterator[str]:
    proved = [each for each in stamped if is_proved(result, each)]
    if proved:
        head, at_ns, authority, _ = proved[-1].stamp
        earlier = f"; {len(proved) - 1} earlier time stamps are right too" if len(proved) > 1 else ""
        yield f"time stamp: {head} existed at {local_text(at_ns)}, says {printable(authority)}{earlier}"
    unchecked = sum(each.is_valid is None for each in stamped)
    if unchecked:
        what = "1 time stamp is" if unchecked == 1 else f"{unchecked} time stamps are"
        yield f"{what} not checked: name the certificate of who certifies the authority (--tsa FILE)"


def trusted(problems: Sequence[Problem], time_text: TimeText = local_text) -> str:
    """Returns from when on nothing can be trusted."""
    if not problems:
        return "no key vouches for it"
    found = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    times = [each.from_ns for each in problems if each.from_ns is not None]
    if len(times) < len(problems):
        return found
    return f"{found}; what was sealed before {time_text(min(times))} is proved"


def problem_lines(problems: Sequence[Problem], time_text: TimeText = local_text) -> Iterator[str]:
    """Yields what is not as it was sealed: the first, and how many more there are."""
    for each in problems[:_MOST_LINES]:
        yield f"{each.kind}: {_place(each)} {_WORDS[each.kind]}{_when(each, time_text)}"
    if len(problems) > _MOST_LINES:
        yield f"and {len(problems) - _MOST_LINES} more: `--format json` has all"


def _place(problem: Problem) -> str:
    """Returns where something is: the table, and numbers of its rows."""
    table = printable(problem.table)
    if problem.first is None:
        return table
    if problem.first == problem.last:
        return f"{table} {problem.first}"
    return f"something in {table} {problem.first} to {problem.last}"


def _when(problem: Problem, time_text: TimeText) -> str:
    if problem.from_ns is None and problem.to_ns is None:
        return ""
    if problem.to_ns is None:
        return f" (since {time_text(problem.from_ns or 0)})"
    if problem.from_ns is None:
        return f" (before {time_text(problem.to_ns)})"
    return f" (sealed between {time_text(problem.from_ns)} and {time_text(problem.to_ns)})"


def _authentic(result: Result) -> Iterator[str]:
    keyed = [each for each in result.chains if each.is_keyed]
    if result.is_authentic:
        since = local_text(keyed[0].begun_ns)
        yield f"authentic: the key vouches for it, since {since}"
        if result.unkeyed:
            yield "not authentic, only unbroken: what was sealed when there was no key"
    elif result.is_authentic is None and keyed:
        yield "not authentic, only unbroken: give the verification key (--key) of each chain"
    elif result.is_authentic is None:
        yield "not authentic, only unbroken: there is no key (`execaudit seal setup`)"
    else:
        yield f"NOT AUTHENTIC: {_no_key(result)}"
    yield from chain_lines(result)


def _no_key(result: Result) -> str:
    """Returns why the keys that were given do not vouch for all of it."""
    if result.problems or not result.chains:
        return "the key does not vouch for it"
    if not result.chains[-1].is_keyed:
        return "the newest seals have no key: look at `execaudit seal status`"
    return "no key that was given vouches for all of it: give the key of each chain (--key)"


def chain_lines(result: Result) -> Iterator[str]:
    """Yields a line for each chain that began after the first, and why."""
    for each in result.chains[1:]:
        yield f"chain: {each.id.hex()[:16]} since {local_text(each.begun_ns)}, because {reason_text(each.reason)}"


def _pruned(each: Pruning) -> str:
    execs = "1 exec" if each.execs == 1 else f"{each.execs} execs"
    return (
        f"pruned: {execs} from {local_text(each.from_ns)} to {local_text(each.to_ns)},"
        f" at {local_text(each.at_ns)} ({printable(each.reason)})"
    )
