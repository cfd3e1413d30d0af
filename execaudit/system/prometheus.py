"""Metrics in Prometheus's text format 0.0.4. Pure."""

from __future__ import annotations


def metric(name: str, kind: str, text: str, *values: str) -> list[str]:
    """Returns the lines of a metric. Each value begins with its labels, or a blank."""
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}", *(f"{name}{value}" for value in values)]
