"""What redaction costs: `python -m bench.redaction`. CPU time of this process; nothing is recorded.

The lines are those of tests/redaction, and the worst that were found: two megabytes of words that look like
secrets. What is printed last is how long the same bytes take to be stored, as a measure.
"""

from __future__ import annotations

import hashlib
import random
import time
from typing import TYPE_CHECKING

from execaudit.redaction.redactor import Redactor
from execaudit.redaction.rules import RedactSettings
from execaudit.redaction.ruleset import compile_rules
from tests.redaction.corpus import lines

if TYPE_CHECKING:
    from collections.abc import Sequence

# As the Redactor reads arguments.
_AS_LINES = bytes.maketrans(b"\0\n", b"\n ")
_SECONDS, _ROUNDS = 1.0, 3
_LARGE = 2_000_000
_FRAGMENTS = (
    b"mysql", b"curl", b"sh", b"-c", b"-p", b"-u", b"--password", b"=", b"token", b"x7Kq", b"://a:b@c", b"Bearer ", b"\0", b" ",
    b";", b"|", b'"', b"'", b"\\", b"$(", b"\n", b"Authorization: ", b'{"secret": "',
)  # fmt: skip
_ATTACKS = (
    b"-pGx7kW\0", b"mysql -pGx7kW;", b"password=Gx7kW\0", b"mysql\0", b"token token ", b"://a:b@", b"Authorization: ",
    b"$(", b"\\'", b"a", b"".join(random.Random(1).choices(_FRAGMENTS, k=2000)),  # noqa: S311  # no secret
)  # fmt: skip


def _cost_us(redactor: Redactor, argvs: Sequence[bytes]) -> float:
    """Returns the microseconds that a command line takes on average: the best of some rounds."""
    best = float("inf")
    for _ in range(_ROUNDS):
        begun, done = time.process_time(), 0
        while time.process_time() - begun < _SECONDS:
            for argv in argvs:
                redactor.redact(argv)
            done += len(argvs)
        best = min(best, (time.process_time() - begun) / done)
    return best * 1e6


def main() -> None:
    """Prints what command lines cost that have no secret, that have one, and that are attacks."""
    rules = compile_rules(RedactSettings(("all",), ()))
    redactor = Redactor(rules, bytes(32))

    def may_have(argv: bytes) -> bool:
        return rules.trigger.search(argv.translate(_AS_LINES)) is not None

    without = [line.argv for line in lines("without_secrets.txt")]
    plain = [argv for argv in without if not may_have(argv)]
    looked = [argv for argv in without if may_have(argv)]
    secret = [line.argv for line in lines("with_secrets.txt")]
    for title, argvs in (
        ("in which no rule can apply", plain),
        ("that are looked at, without a secret", looked),
        ("with a secret", secret),
    ):
        print(f"{len(argvs):4} command lines {title}: {_cost_us(redactor, argvs):.1f} us each")
    worst = {attack: _worst_s(redactor, attack) for attack in _ATTACKS}
    slowest = max(worst, key=worst.__getitem__)
    print(f"2 MB of {slowest[:40]!r}, the worst of {len(worst)} attacks: {worst[slowest]:.2f} s")
    begun = time.process_time()
    hashlib.blake2b(bytes(_LARGE)).digest()
    print(f"to hash 2 MB: {time.process_time() - begun:.3f} s")


def _worst_s(redactor: Redactor, attack: bytes) -> float:
    argv = b"mysql\0" + attack * (_LARGE // len(attack)) + b"\0"
    times = []
    for _ in range(_ROUNDS):
        begun = time.process_time()
        redactor.redact(argv)
        times.append(time.process_time() - begun)
    return min(times)


if __name__ == "__main__":
    main()
