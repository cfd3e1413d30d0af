"""Metrics as Prometheus reads them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from execaudit.output.prometheus import Metric, metrics_text, single


@given(st.text(), st.integers(0, 2**53))
def test_every_label_comes_back(label: str, value: int) -> None:
    """Hosts have names that somebody chose."""
    text = metrics_text([Metric("hosts", "gauge", "Hosts.", (({"host": label}, value),))])

    (family,) = text_string_to_metric_families(text)
    (sample,) = family.samples
    assert (sample.labels, sample.value) == ({"host": label}, value)


def test_a_metric_without_labels() -> None:
    """Its line has the name and the value."""
    assert metrics_text([single("a", "gauge", "A.", 1), single("b", "gauge", "B.", 0.5)]) == (
        "# HELP a A.\n# TYPE a gauge\na 1\n# HELP b B.\n# TYPE b gauge\nb 0.500\n"
    )
