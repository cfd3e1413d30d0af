"""What an import of an audit log costs: `python -m bench.importing 250000`, the number of execs.

The log is as auditd writes it without names: six records an exec, of 150 programs in 30 folders.
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.importing.audit_logs import LOADER, path, stamp, syscall

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMMAND = str(Path(sys.executable).parent / "execaudit")
_PROGRAMS, _FOLDERS, _PIDS = 150, 30, 30_000


def records(execs: int) -> Iterator[str]:
    """Yields the lines of a log, always the same."""
    chance = random.Random(1)  # noqa: S311  # no secret
    for number in range(execs):
        at = stamp(7 * number, 1000 + number)
        program = min(_PROGRAMS - 1, int(chance.expovariate(1 / 20)))
        name, exe = f'"prog{program}"', f'"/usr/bin/prog{program}"'
        parent = (number - 1 - min(number - 1, int(chance.expovariate(1 / 50)))) % _PIDS if number else -299
        words = [f"prog{program}", *(f"--option={chance.randrange(100)}" for _ in range(chance.randrange(6)))]
        uid = chance.choice((0, 1000, 33))
        yield syscall(at, 300 + number % _PIDS, 300 + parent, name, exe, uid=uid, tty="(none)")
        arguments = " ".join(f'a{place}="{word}"' for place, word in enumerate(words))
        yield f"type=EXECVE {at}: argc={len(words)} {arguments}"
        yield f'type=CWD {at}: cwd="/srv/app{chance.randrange(_FOLDERS)}"'
        yield path(at, 0, exe, 1000 + program)
        yield path(at, 1, LOADER, 131_300)
        yield f"type=PROCTITLE {at}: proctitle={chr(0).join(words).encode().hex().upper()}"


def main() -> None:
    """Prints how long an import takes."""
    execs = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "audit.log"
        with log.open("w", encoding="ascii") as file:
            file.writelines(f"{line}\n" for line in records(execs))
        command = [
            _COMMAND,
            "--config",
            "/dev/null",
            "--db",
            f"{scratch}/x.db",
            "import",
            "--host",
            "web1",
            str(log),
        ]
        subprocess.run(command, check=True)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = used.ru_utime + used.ru_stime
        print(
            f"{execs} execs, {log.stat().st_size / 1e6:.0f} MB: {1e6 * seconds / execs:.0f} us of CPU each,"
            f" a million in {1e6 * seconds / execs:.0f} s, {used.ru_maxrss / 1000:.0f} MB resident"
        )


if __name__ == "__main__":
    main()
