"""Metrics in Prometheus's text format 0.0.4. Pure.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations


def metric(name: str, kind: str, text: str, *values: str) -> list[str]:
    """Returns the lines of a metric. Each value begins with its labels, or a blank."""
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}", *(f"{name}{value}" for value in values)]


def labelled(value: float, **labels: str) -> str:
    """Returns a value of metric() with labels, which may have any text."""
    its = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
    return f"{{{its}}} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
