"""The recorder's state as a line for systemd and as metrics for Prometheus. Pure."""

from __future__ import annotations

from typing import NamedTuple

from execaudit.system.prometheus import metric


class SealHealth(NamedTuple):
    """The newest seal."""

    age_s: float
    """How long ago it was made."""
    is_keyed: bool
    """A key vouches for it."""
    epoch: int
    stamped_s: float | None = None
    """When the newest time stamp in the history was made, seconds since 1970; None: there is none, or none is
    asked for."""


class Health(NamedTuple):
    """The state of a recorder. Counts begin when it was started."""

    execs: int
    """Execs that went to the sinks."""
    exits: int
    """Ends of programs that did."""
    missed: int
    """Execs that are only counted, in gaps."""
    gaps: int
    queued_bytes: int
    """Records that wait to be decoded."""
    most_queued_bytes: int
    """The most that waited at a time."""
    waiting: tuple[str, ...]
    """Sinks that cannot write now."""
    seal: SealHealth | None = None
    """None: this recorder has sealed nothing yet."""


# name, type, help; the last one has a label.
_METRICS = (
    ("execaudit_execs_total", "counter", "Execs recorded since the recorder was started."),
    ("execaudit_exits_total", "counter", "Ends of programs recorded."),
    ("execaudit_missed_execs_total", "counter", "Execs that were missed and are only counted, in gaps."),
    ("execaudit_gaps_total", "counter", "Gaps declared."),
    ("execaudit_queued_bytes", "gauge", "Bytes of records that wait to be decoded."),
    ("execaudit_queued_bytes_max", "gauge", "The most of them since the recorder was started."),
)


def status(health: Health, per_second: float) -> str:
    """Returns a line for `systemctl status`."""
    parts = [
        f"{health.execs} execs, {per_second:.1f}/s",
        f"{health.gaps} gaps with {health.missed} execs missed" if health.gaps else "no gaps",
    ]
    if health.queued_bytes:
        parts.append(f"{health.queued_bytes} bytes queued")
    parts += [f"the {name} cannot be written" for name in health.waiting]
    return "; ".join(parts)


def metrics(health: Health, *, started_s: float, sinks: tuple[str, ...]) -> str:
    """Returns the metrics in Prometheus's text format 0.0.4. `started_s`: seconds since 1970."""
    lines = [
        line
        for (name, kind, text), value in zip(_METRICS, health[: len(_METRICS)], strict=True)
        for line in metric(name, kind, text, f" {value}")
    ]
    started = "When the recorder was started."
    lines += metric("execaudit_start_time_seconds", "gauge", started, f" {started_s:.3f}")
    lines += metric(
        "execaudit_sink_waiting",
        "gauge",
        "Whether what is recorded cannot be written there now.",
        *(f'{{sink="{name}"}} {int(name in health.waiting)}' for name in sinks),
    )
    if health.seal is not None:
        lines += _of_seal(health.seal)
    return "\n".join((*lines, ""))


def _of_seal(seal: SealHealth) -> list[str]:
    age = "How long ago what was stored was sealed; at rest, a minute at most."
    stamped = "When an authority stamped the newest head in the history."
    return [
        *metric("execaudit_seal_age_seconds", "gauge", age, f" {seal.age_s:.3f}"),
        *metric("execaudit_seal_keyed", "gauge", "Whether a key vouches for it.", f" {int(seal.is_keyed)}"),
        *metric("execaudit_seal_epoch", "gauge", "The number of the newest seal.", f" {seal.epoch}"),
        *(
            []
            if seal.stamped_s is None
            else metric("execaudit_seal_timestamp_seconds", "gauge", stamped, f" {seal.stamped_s:.0f}")
        ),
    ]
