"""What `execaudit doctor` finds on this machine."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import click

from execaudit import native
from execaudit.capture import coverage, doctor, loader, own_tracefs, probe_options
from execaudit.cli.run import doctor_seal
from execaudit.daemon.settings import upkeep
from execaudit.database.revision import REVISION
from execaudit.errors import ConfigError, ExecauditError, StoreError
from execaudit.output.summary_line import local_text
from execaudit.query import recorders
from execaudit.query.connection import open_history, revision_of
from execaudit.sizes import size_text
from execaudit.store import limits
from execaudit.system import clock
from execaudit.times import utc_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from execaudit.config import Settings
    from execaudit.daemon.settings import HuntSettings
    from execaudit.redaction.rules import RedactSettings


def examine(path: Path, settings: Settings, *, as_json: bool) -> bool:
    """Writes the checks, and what each probe would see, to standard output. Returns whether all passed."""
    # As the recorder does: the checks are to see what it would see.
    environment = doctor.Environment(has_own_tracefs=own_tracefs.mount_if_missing())
    checks = doctor.run(environment, lambda: _database(path))
    time_text = utc_text if as_json else local_text
    of_history = (
        [doctor_seal.check(path, settings, time_text), _recorder(path, time_text)] if checks[-1].ok else []
    )
    checks = [*checks, _limits(path, settings), *_rules(settings), _compiled(), *of_history]
    # Without tracefs, or permission to read it, nothing is known of what the probes would see.
    folder = probe_options.tracefs()
    coverages = [] if folder is None else coverage.look(folder, loader.KALLSYMS)
    if as_json:
        click.echo(doctor.as_json(checks, coverages))
    else:
        for line in doctor.as_text(checks):
            click.echo(line)
        if coverages:
            click.echo()
            for line in coverage.as_text(coverages):
                click.echo(line)
    return all(check.ok for check in checks)


def _database(path: Path) -> doctor.Check:
    """The history: can it be read, and does this version understand it?"""
    name = "database"
    upgrade = f"run `execaudit --db {path} db upgrade`"
    if _is_missing(path):
        return doctor.Check(
            name, ok=False, detail=f"there is none at {path} yet", fix=f"{upgrade}, or just record"
        )
    try:
        revision = revision_of(path)
    except StoreError as exc:
        return doctor.Check(name, ok=False, detail=exc.what, fix=exc.fix)
    if revision is None:
        return doctor.Check(
            name, ok=False, detail=f"{path} is no execaudit history", fix="name another file with --db"
        )
    if revision < REVISION:
        return doctor.Check(name, ok=False, detail=f"{path} has the older schema {revision}", fix=upgrade)
    if revision > REVISION:
        fix = "install the execaudit that made it"
        return doctor.Check(name, ok=False, detail=f"{path} has the newer schema {revision}", fix=fix)
    return doctor.Check(name, ok=True, detail=f"{path} has schema {revision}")


def _limits(path: Path, settings: Settings) -> doctor.Check:
    """How much history a recorder would keep here."""
    name = "retention"
    try:
        configured = upkeep(settings).limits
        kept = limits.effective(path, configured)
        disk = limits.disk_of(path)
    except ConfigError as exc:
        return doctor.Check(name, ok=False, detail=exc.what, fix=exc.fix or f"correct {settings.path}")
    except OSError as exc:
        fix = "make it, or name another file with --db"
        return doctor.Check(name, ok=False, detail=f"{path.parent}: {exc.strerror}", fix=fix)
    return doctor.Check(
        name, ok=True, detail=f"{limits.wording(configured, kept)}; {size_text(disk.free_bytes)} are free"
    )


def _rules(settings: Settings) -> Iterator[doctor.Check]:
    """Can a recorder run the rules that are configured? Nothing is said where there are none."""
    try:
        wanted = upkeep(settings)
    except ConfigError:
        return  # see _limits
    if wanted.hunt is not None:
        yield _hunt(wanted.hunt)
    if wanted.redact is not None:
        yield _redact(wanted.redact)


def _hunt(hunt: HuntSettings) -> doctor.Check:
    name = "hunt"
    try:
        importlib.import_module("execaudit.cli.run.hunt")  # raises where packages are missing
        from execaudit.hunt.rule_files import read_rules  # noqa: PLC0415

        found = read_rules(hunt.rules)
    except ExecauditError as exc:
        return doctor.Check(name, ok=False, detail=exc.what, fix=exc.fix or "correct rules in [hunt]")
    rules = "1 rule" if len(found.rules) == 1 else f"{len(found.rules)} rules"
    if found.refusals:
        file, why = found.refusals[0]
        detail = f"{rules}; {len(found.refusals)} cannot be run, the first in {file}: {why}"
        return doctor.Check(name, ok=False, detail=detail, fix="correct or remove them")
    if not found.rules:
        detail = f"there are no rules about execs on Linux in {', '.join(hunt.rules)}"
        return doctor.Check(name, ok=False, detail=detail, fix="correct rules in [hunt]")
    return doctor.Check(name, ok=True, detail=f"{rules} can be run")


def _redact(redact: RedactSettings) -> doctor.Check:
    name = "redact"
    try:
        from execaudit.redaction.ruleset import compile_rules  # noqa: PLC0415  # its package may be missing

        rules = compile_rules(redact).rules
    except ExecauditError as exc:
        return doctor.Check(name, ok=False, detail=exc.what, fix=exc.fix or "correct [redact]")
    return doctor.Check(name, ok=True, detail=f"secrets are replaced by {len(rules)} rules")


def _compiled() -> doctor.Check:
    """Which functions run: the compiled ones, or Python's? Both can record, so this does not fail."""
    name = "native"
    if native.fast is None:
        return doctor.Check(name, ok=True, detail=f"Python does all, slower: {native.why_not}")
    return doctor.Check(name, ok=True, detail="compiled functions are used")


def _recorder(path: Path, time_text: Callable[[int], str]) -> doctor.Check:
    """Does somebody record now?"""
    name, fix = "recorder", "run `execaudit record`, or `systemctl start execaudit`"
    try:
        with open_history(path) as connection:
            recorder = recorders.live(connection)
            silent = recorders.silences(connection, (), (), now_ns=clock.wall_ns())
    except StoreError as exc:
        return doctor.Check(name, ok=False, detail=exc.what, fix=exc.fix)
    if recorder is None:
        ends = [
            silence.from_ns for silence in silent if silence.to_ns is None and silence.from_ns is not None
        ]
        since = f"nobody has recorded since {time_text(max(ends))}" if ends else "nobody has ever recorded"
        return doctor.Check(name, ok=False, detail=f"{since} into {path}", fix=fix)
    seen_ns = recorder.started_ns if recorder.seen_ns is None else recorder.seen_ns
    if any(silence.is_stalled for silence in silent):
        detail = f"it runs, but has not written since {time_text(seen_ns)}"
        fix = "read its log; continue it with `kill -CONT` if it was stopped, or restart it"
        return doctor.Check(name, ok=False, detail=detail, fix=fix)
    return doctor.Check(name, ok=True, detail=f"records since {time_text(recorder.started_ns)} into {path}")


def _is_missing(path: Path) -> bool:
    try:
        return not path.exists()
    except OSError:  # reading it says why
        return False
