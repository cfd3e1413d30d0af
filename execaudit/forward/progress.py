"""How a forwarder gets on, as a line for systemd and as metrics for Prometheus. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from execaudit.system.prometheus import metric


@dataclass
class Progress:
    """What a forwarder has done since it was started."""

    started_s: float
    execs: int = 0
    argv_bytes: int = 0
    batches: int = 0
    retries: int = 0
    contact_s: float = 0.0
    """When the centre last took something, in seconds since 1970; 0: never."""
    waiting: int = 0
    """Execs that have not arrived there."""
    lag_s: float = 0.0
    """How old the oldest of these is."""
    failure: str | None = None
    """Why nothing arrives now."""


def status(progress: Progress) -> str:
    """Returns a line for `systemctl status`."""
    if progress.failure is not None:
        return f"{progress.waiting} execs wait: {progress.failure}"
    return f"{progress.execs} execs forwarded, {progress.waiting} wait"


def metrics(progress: Progress) -> str:
    """Returns the metrics in Prometheus's text format 0.0.4."""
    lines = [
        *metric("execaudit_forward_execs_total", "counter", "Execs forwarded since the start.", f" {progress.execs}"),
        *metric(
            "execaudit_forward_argv_bytes_total", "counter", "Bytes of their command lines.", f" {progress.argv_bytes}"
        ),
        *metric("execaudit_forward_batches_total", "counter", "Batches that arrived.", f" {progress.batches}"),
        *metric("execaudit_forward_retries_total", "counter", "Tries that failed.", f" {progress.retries}"),
        *metric("execaudit_forward_connected", "gauge", "Whether the last try did not fail.", f" {int(progress.failure is None)}"),
        *metric("execaudit_forward_waiting_execs", "gauge", "Execs that have not arrived.", f" {progress.waiting}"),
        *metric("execaudit_forward_lag_seconds", "gauge", "How old the oldest of these is.", f" {progress.lag_s:.3f}"),
        *metric(
            "execaudit_forward_last_contact_seconds",
            "gauge",
            "When the central database last took something.",
            f" {progress.contact_s:.3f}",
        ),
        *metric("execaudit_forward_start_time_seconds", "gauge", "When the forwarder was started.", f" {progress.started_s:.3f}"),
    ]  # fmt: skip
    return "\n".join((*lines, ""))
