"""Metric families with values that are read at the time of a scrape."""

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric


def gauge(name: str, text: str, value: float) -> Metric:
    """A gauge without labels."""
    return GaugeMetricFamily(f"netstacks_{name}", text, value=value)


def gauges(name: str, text: str, labels: Iterable[str], values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    """A gauge with labels: the values of the labels, and the value of their series."""
    family = GaugeMetricFamily(f"netstacks_{name}", text, labels=list(labels))
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family


def states(name: str, text: str, label: str, known: Iterable[str], current: Iterable[str]) -> Metric:
    """A gauge that is 1 for each of the `current` states and 0 for the others that are `known`."""
    is_current = set(current)
    return gauges(name, text, (label,), (((each,), float(each in is_current)) for each in known))
