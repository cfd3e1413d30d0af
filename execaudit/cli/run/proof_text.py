"""What an answer says of seals: the head, and whether its range is proved."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

import click

from execaudit.cli.run import verify_text
from execaudit.escaping import printable
from execaudit.output.summary_line import local_text
from execaudit.times import utc_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from execaudit.seal.segment_check import Problem

# More hosts would hide the answer.
_MOST_HOSTS = 20


class Proof(str, Enum):
    """Whether the range of an answer is as it was sealed. The value is its name in JSON."""

    PROVED = "proved"
    """It is, and a key vouches for all of it."""
    UNBROKEN = "unbroken"
    """It is, and no key was given, or there was none for a part."""
    NOT_PROVED = "not_proved"
    """It is not."""
    NOT_SEALED = "not_sealed"
    """Nothing is sealed."""
    NOT_LOOKED_AT = "not_looked_at"
    """Nobody asked."""

    @property
    def is_fine(self) -> bool:
        """Says whether `verify` would be content."""
        return self in {Proof.PROVED, Proof.UNBROKEN}


class Vouched(NamedTuple):
    """What vouches for the answer of one host, or of the file of a history."""

    host: str | None
    """None: nobody recorded into the history itself."""
    head: str | None
    """None: nothing is sealed, or it has not arrived."""
    epoch: int | None
    sealed_ns: int | None
    """Wall clock: what was stored until then is sealed."""
    is_keyed: bool | None
    """None: nobody knows."""
    proof: Proof
    is_central: bool = False
    """It is what has arrived of another host."""
    from_ns: int | None = None
    """What was verified begins here; None: at the beginning, or nothing was."""
    execs: int | None = None
    """How many execs were verified; None: nobody asked."""
    problems: Sequence[Problem] = ()
    verified_ns: int | None = None
    """When `verify --state` had verified all that was there; None: nobody knows."""


def record(vouched: Vouched) -> dict[str, object]:
    """Returns it as JSON values. Its `kind` distinguishes it from the record of an exec.

    The first keys are those of a seal in the JSON log: see output.record.sealed_record().
    """
    return {
        "kind": "sealed",
        "time": _utc(vouched.sealed_ns),
        "host": vouched.host,
        "head": vouched.head,
        "epoch": vouched.epoch,
        "keyed": vouched.is_keyed,
        "proof": vouched.proof.value,
        "from": _utc(vouched.from_ns),
        "execs": vouched.execs,
        "problems": [verify_text.problem_record(each) for each in vouched.problems],
        "verified": _utc(vouched.verified_ns),
    }


def _utc(time_ns: int | None) -> str | None:
    return None if time_ns is None else utc_text(time_ns)


def lines(all_: Sequence[Vouched], time_text: Callable[[int], str]) -> Iterator[str]:
    """Yields it for people, safe to show. Of very many hosts, the first."""
    if not all_:
        yield "not sealed: no head has arrived"
    for vouched in all_[:_MOST_HOSTS]:
        yield from _lines(vouched, time_text)
    if len(all_) > _MOST_HOSTS:
        yield f"and {len(all_) - _MOST_HOSTS} more hosts: `--format json` has all"


def _lines(vouched: Vouched, time_text: Callable[[int], str]) -> Iterator[str]:
    until = None if vouched.sealed_ns is None else time_text(vouched.sealed_ns)
    if vouched.is_central:
        host = "?" if vouched.host is None else printable(vouched.host)
        if vouched.head is None:
            yield f"no head of {host} has arrived: it ships none, or nothing is sealed there"
        else:
            yield f"{host} is sealed until {until}, head {printable(vouched.head)}"
        return
    if vouched.proof is Proof.NOT_SEALED:
        yield "not sealed: nothing can prove that this is as it was recorded"
    else:
        yield f"sealed until {until or '?'}, head {vouched.head or '?'}"
    yield from _proof_lines(vouched, time_text)


def _proof_lines(vouched: Vouched, time_text: Callable[[int], str]) -> Iterator[str]:
    since = "" if vouched.from_ns is None else f" since {time_text(vouched.from_ns)}"
    execs = "1 exec is" if vouched.execs == 1 else f"{vouched.execs} execs are"
    if vouched.proof is Proof.PROVED:
        yield f"proved: all{since} is as it was sealed, and the key vouches for it ({execs} verified)"
    elif vouched.proof is Proof.UNBROKEN:
        yield (
            f"unbroken: all{since} is as it was sealed ({execs} verified), but without a key for all of it root could"
            " have written that anew"
        )
    elif vouched.proof is Proof.NOT_LOOKED_AT:
        last = (
            ""
            if vouched.verified_ns is None
            else f"; all until {time_text(vouched.verified_ns)} was verified then"
        )
        yield f"not looked at: `--verify` says whether this range is as it was sealed{last}"
    elif vouched.proof is Proof.NOT_PROVED:
        yield f"NOT PROVED{since}: {verify_text.trusted(vouched.problems, time_text)}"
    yield from verify_text.problem_lines(vouched.problems, time_text)


def say(all_: Sequence[Vouched]) -> None:
    """Says on stderr whether what was looked at is proved."""
    if any(each.execs is not None for each in all_):
        for line in lines(all_, local_text):
            click.echo(line, err=True)
