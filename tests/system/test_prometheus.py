"""Metrics as Prometheus reads them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from execaudit.system.prometheus import labelled, metric


@given(st.text(), st.integers(0, 2**53))
def test_every_label_comes_back(label: str, value: int) -> None:
    """Hosts have names that somebody chose."""
    text = "\n".join((*metric("hosts", "gauge", "Hosts.", labelled(value, host=label)), ""))

    (family,) = text_string_to_metric_families(text)
    (sample,) = family.samples
    assert (sample.labels, sample.value) == ({"host": label}, value)
