"""What `execaudit fleet status` writes: a table or JSON, a page, metrics, and a line a kind of trouble."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

import click

from execaudit.cli.run import new_file
from execaudit.errors import ExecauditError
from execaudit.escaping import printable
from execaudit.fleet.heard import heard
from execaudit.fleet.status import MEANINGS, Limits, Trouble, by_trouble, hosts_of
from execaudit.output import widths
from execaudit.output.json_lines import json_text
from execaudit.output.summary_line import local_text
from execaudit.store.limits import time_text
from execaudit.system import clock
from execaudit.system.prometheus import labelled, metric
from execaudit.system.textfile import replace_text
from execaudit.times import utc_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from execaudit.cli.context import State
from execaudit.fleet.status import Host

_SECOND = 1_000_000_000
_HEADER = ("HOST", "LAST HEARD OF", "BEHIND", "MISSED", "VERSION", "STATUS")
# More names would hide the other lines.
_MOST_NAMED = 5


class Files(NamedTuple):
    """Where it is written to beside standard output."""

    page: Path | None
    metrics: Path | None
    force: bool


def write(state: State, limits: Limits, files: Files, *, as_json: bool, with_retired: bool) -> bool:
    """Writes how each host does to standard output. Returns whether there is trouble, or no host.

    Hosts that are retired are there only `with_retired`.

    Raises ExecauditError, also if --db is no central database.
    """
    if files.page is not None and not files.force:
        new_file.refuse_existing(files.page)
    now_ns = clock.wall_ns()
    with state.central() as engine:
        every = hosts_of(heard(engine, now_ns - limits.lately_ns), now_ns=now_ns, limits=limits)
    hosts = [host for host in every if with_retired or host.retired_ns is None]
    troubles = by_trouble(hosts)
    reasons = {host.host: f"{host.host} ({', '.join(host.chains)})" for host in hosts}
    said = [
        _line(trouble, [reasons[name] for name in names] if trouble is Trouble.NEW_CHAIN else names, limits)
        for trouble, names in troubles.items()
    ]
    if as_json:
        sys.stdout.write(json_text(_record(hosts, troubles)) + "\n")
    else:
        sys.stdout.writelines(_table(hosts))
    if files.metrics is not None:
        _write_metrics(files.metrics, "\n".join((*_metrics(hosts, troubles, now_ns), "")))
    if files.page is not None:
        page = _page(hosts, troubles, said, now_ns)
        with new_file.opened(files.page, force=files.force) as out:
            out.file.write(page)
    for line in said:
        click.echo(line, err=True)
    if not every:
        click.echo("no host has shipped anything yet: see `execaudit forward`", err=True)
    return not every or bool(troubles)


def _line(trouble: Trouble, names: Sequence[str], limits: Limits) -> str:
    """Returns what is said of the hosts with one kind of trouble."""
    meaning, fix = MEANINGS[trouble]
    meaning = meaning.format(
        silent=time_text(limits.silent_ns), behind=limits.behind, lately=time_text(limits.lately_ns)
    )
    shown = ", ".join(map(printable, names[:_MOST_NAMED]))
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{trouble.value}: {shown}{more}: {meaning}: {fix}"


def _table(hosts: Sequence[Host]) -> Iterator[str]:
    rows = [_HEADER, *(tuple(map(printable, _cells(host, local_text(host.seen_ns)))) for host in hosts)]
    sizes = [max(widths.columns(row[place]) for row in rows) for place in range(len(_HEADER))]
    for row in rows:
        cells = (widths.padded(cell, size) for cell, size in zip(row, sizes, strict=True))
        yield "  ".join(cells).rstrip() + "\n"


def _cells(host: Host, seen: str) -> tuple[str, ...]:
    return (host.host, seen, str(host.behind), str(host.missed), host.version, _status(host))


def _status(host: Host) -> str:
    if host.retired_ns is not None:
        return "retired"
    return ", ".join(trouble.value for trouble in host.troubles) or ("imported" if host.is_import else "ok")


def _record(hosts: Sequence[Host], troubles: Mapping[Trouble, Sequence[str]]) -> dict[str, object]:
    return {
        "hosts": [
            {
                "host": host.host,
                "last_heard_of": utc_text(host.seen_ns),
                "behind": host.behind,
                "missed": host.missed,
                "gaps": host.gaps,
                "version": host.version,
                "histories": host.streams,
                "imported": host.is_import,
                "retired": None if host.retired_ns is None else utc_text(host.retired_ns),
                "new_chains": list(host.chains),
                "troubles": [trouble.value for trouble in host.troubles],
            }
            for host in hosts
        ],
        "troubles": [{"kind": trouble.value, "hosts": list(names)} for trouble, names in troubles.items()],
    }


def _metrics(hosts: Sequence[Host], troubles: Mapping[Trouble, Sequence[str]], now_ns: int) -> Iterator[str]:
    """Yields the lines of the metrics. Of what was imported, or is retired, nothing more is to be heard."""
    expected = [host for host in hosts if host.retired_ns is None and not host.is_import]

    def of_hosts(name: str, text: str, value: Callable[[Host], float]) -> list[str]:
        return metric(name, "gauge", text, *(labelled(value(host), host=host.host) for host in expected))

    yield from metric("execaudit_fleet_hosts", "gauge", "Hosts that have shipped.", f" {len(hosts)}")
    yield from of_hosts(
        "execaudit_fleet_heard_seconds",
        "Seconds since the host was heard of.",
        lambda host: round((now_ns - host.seen_ns) / _SECOND, 3),
    )
    yield from of_hosts(
        "execaudit_fleet_behind_execs", "Execs that had not arrived then.", lambda host: host.behind
    )
    yield from of_hosts(
        "execaudit_fleet_missed_execs", "Execs that were missed lately.", lambda host: host.missed
    )
    yield from metric(
        "execaudit_fleet_trouble_hosts",
        "gauge",
        "Hosts with this kind of trouble.",
        *(labelled(len(troubles.get(trouble, ())), kind=trouble.value) for trouble in Trouble),
    )


def _write_metrics(path: Path, text: str) -> None:
    try:
        replace_text(path, text)
    except OSError as exc:
        raise ExecauditError(
            f"cannot write {path}: {exc.strerror}", fix="name another file with --metrics"
        ) from exc


def _page(
    hosts: Sequence[Host], troubles: Mapping[Trouble, Sequence[str]], said: Sequence[str], now_ns: int
) -> bytes:
    from execaudit.report import fleet_page  # noqa: PLC0415  # loads the library jinja2

    tiles = [("hosts", len(hosts), False)]
    tiles += [(trouble.value.replace("_", " "), len(names), True) for trouble, names in troubles.items()]
    rows = []
    for host in hosts:
        name, seen, _, _, version, status = map(printable, _cells(host, utc_text(host.seen_ns)))
        rows.append(
            fleet_page.Row(name, seen, host.behind, host.missed, version, status, bool(host.troubles))
        )
    return fleet_page.render(fleet_page.FleetPage(utc_text(now_ns), tiles, said, rows))
