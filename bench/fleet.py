"""Ship the execs of a fleet into a central database: rows a second, and bytes an exec.

`python -m bench.fleet clickhouse 1000000 1000` makes a million execs of 1000 hosts and ships them into a new
server: `postgresql` (of the wheel), `postgresql-15`, `clickhouse` (modern, behind a socket in Python),
`clickhouse-old` (Debian's) or `clickhouse-shards`. A URL names a server that is there. One process makes and
ships; only shipping is timed.

`… 10 240`: the execs are of ten days, and each host ships them in 240 rounds, so every hour. By default it is
one day and one round: hosts that were away, which ship batches of up to 5000.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from bench.fleet_hosts import DAY_NS, hosts
from execaudit.central.tables import EXEC
from execaudit.cli.run import central_db
from execaudit.database.url import Central, location_of
from execaudit.forward.open_target import open_target
from execaudit.sizes import size_text
from tests.fleet.clickhouse_servers import CLUSTER, ModernClickHouse, OldClickHouse, Shards
from tests.fleet.servers import PostgresServer, debian_postgres, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.fleet_hosts import Host
    from execaudit.forward.target import Target

_DAYS, _ROUNDS = 1, 1
# As `forward` does.
_BATCH = 5000
_REPORTS = 10


class _Cost(NamedTuple):
    """What shipping some execs took."""

    execs: int
    wall_s: float
    cpu_s: float
    """Of this process."""

    def and_also(self, other: _Cost) -> _Cost:
        """Returns what both took."""
        return _Cost(self.execs + other.execs, self.wall_s + other.wall_s, self.cpu_s + other.cpu_s)


@contextlib.contextmanager
def _server(name: str) -> Iterator[tuple[str, str | None]]:
    """Runs a server. Gives its URL, and the name of its cluster if it has one."""
    with contextlib.ExitStack() as stack:
        if "://" in name:
            yield name, None
        elif name == "clickhouse-shards":
            shards = Shards()
            for each in shards:
                stack.enter_context(running(each))
            yield shards.first.url("fleet"), CLUSTER
        elif name.startswith("clickhouse"):
            clickhouse = OldClickHouse() if name == "clickhouse-old" else ModernClickHouse()
            stack.enter_context(running(clickhouse))
            yield clickhouse.url("fleet"), None
        else:
            programs = debian_postgres() if name == "postgresql-15" else None
            postgres = PostgresServer(
                "shared_buffers=512MB", "max_wal_size=4GB", programs=programs, is_durable=True
            )
            stack.enter_context(running(postgres))
            yield postgres.url(postgres.new_database()), None


def _shipped(target: Target, host: Host, most: int) -> _Cost:
    """Ships the next batch of a host."""
    batch = host.batch(most)
    wall, cpu = time.perf_counter(), time.process_time()
    if batch.before is None:
        target.streams(batch.stream.stream_id)
    target.send(batch)
    return _Cost(len(batch.rows[EXEC]), time.perf_counter() - wall, time.process_time() - cpu)


def _batches(host: Host, rounds: int) -> Iterator[int]:
    """Yields how large the next batches of a host are, in one round."""
    left = -(-host.execs // rounds)
    while left > 0 and not host.is_done:
        yield min(left, _BATCH)
        left -= _BATCH


def _ship_all(location: Central, fleet: Sequence[Host], rounds: int) -> None:
    target = open_target(location, lambda: None)
    execs, total, reported = sum(host.execs for host in fleet), _Cost(0, 0.0, 0.0), 0
    for _ in range(rounds):
        for host in fleet:
            for most in _batches(host, rounds):
                total = total.and_also(_shipped(target, host, most))
            if total.execs * _REPORTS // execs > reported:
                reported = total.execs * _REPORTS // execs
                _say(total)
    target.close()


def _say(cost: _Cost) -> None:
    print(
        f"{cost.execs:>11} execs  {cost.execs / cost.wall_s:>9.0f} a second"
        f"  {cost.cpu_s / cost.execs * 1e6:>6.1f} us of CPU each, of who ships",
        flush=True,
    )


def main() -> None:
    """Prints what shipping costs."""
    name, execs = sys.argv[1], int(sys.argv[2])
    given = [int(each) for each in sys.argv[3:]]
    count, days, rounds = (*given, *(1000, _DAYS, _ROUNDS)[len(given) :])
    print(
        f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f};"
        f" {execs} execs of {count} hosts in {days} days and {rounds} rounds: {name}"
    )
    fleet = hosts(count, execs, time.time_ns() // DAY_NS * DAY_NS - days * DAY_NS, days * DAY_NS)
    with _server(name) as (url, cluster):
        location = location_of(url)
        if not isinstance(location, Central):
            raise SystemExit(__doc__)
        print(central_db.upgrade(location, None, cluster))
        _ship_all(location, fleet, rounds)
        content = central_db.admin_of(location).content(location, None)
        print(
            f"{content.execs} execs of {content.hosts} hosts take {size_text(content.size)},"
            f" {content.size / content.execs:.1f} bytes each"
        )
    print(f"who shipped took {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB at most")


if __name__ == "__main__":
    main()
