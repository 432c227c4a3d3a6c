"""Prometheus metrics of the hops: clients' connections that one instance forwards to the owner of their session."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from prometheus_client import Counter, Gauge

_OPEN = Gauge(
    "netstacks_hops_open",
    "Clients' connections that this instance forwards to another one (out) or that another one forwards to it (in)",
    ["direction"],
)
_BEGUN = Counter("netstacks_hops", "Clients' connections forwarded so far, by direction (out, in)", ["direction"])
for _direction in ("out", "in"):
    _OPEN.labels(_direction)
    _BEGUN.labels(_direction)


@contextmanager
def hop(direction: Literal["out", "in"]) -> Iterator[None]:
    """Counts a forwarded connection, which lasts as long as the block."""
    _BEGUN.labels(direction).inc()
    with _OPEN.labels(direction).track_inprogress():
        yield
