"""Metrics for the path of every key, without the locks of prometheus_client, which cost many times as much.

Only the thread of the event loop may change them.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


class QuickCounter(Collector):
    """A counter: add to `value`."""

    def __init__(self, name: str, text: str) -> None:
        self.value = 0
        self._name, self._text = name, text
        REGISTRY.register(self)

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily(self._name, self._text, value=self.value)


class QuickHistogram(Collector):
    """A histogram; `bounds` are the upper bounds of its buckets, in ascending order."""

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self._name, self._text, self._bounds = name, text, tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        """How many values each bucket has, those of lower buckets not included. The last one has no bound."""
        self._sum = 0.0
        REGISTRY.register(self)

    def observe(self, value: float) -> None:
        # A value equal to a bound belongs to its bucket.
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def collect(self) -> Iterator[Metric]:
        # No yield between the reading of the counts and of the sum: they must be of the same values.
        total, buckets = 0, []
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, float(total)))
        yield HistogramMetricFamily(self._name, self._text, buckets=buckets, sum_value=self._sum)
