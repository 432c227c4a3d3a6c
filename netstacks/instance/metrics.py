"""Prometheus metrics of this instance's part in the cluster, and of the terminals that it opens."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Histogram

from netstacks.errors import DeviceError, NetstacksError, OpeningAbandoned, StoreUnavailable, VaultLocked

HEARTBEAT_SECS = Histogram(
    "netstacks_heartbeat_duration_seconds",
    "Duration of the successful heartbeats: the time that Valkey takes to answer",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
HEARTBEAT_FAILURES = Counter("netstacks_heartbeat_failures", "Heartbeats that did not reach the registry")
REAPED = Counter("netstacks_reaped", "Dead instances that this instance has removed from the registry")

ADMISSION_REFUSED = Counter("netstacks_admission_refused", "Clients refused because the admission queue was full")
_CLAIMS = Counter(
    "netstacks_claims",
    "Takeovers of sessions: claimed and logged in to the device, lost to a faster instance, or failed",
    ["result"],
)
CLAIMED, LOST, FAILED = (_CLAIMS.labels(result) for result in ("claimed", "lost", "failed"))

_OPENS = Counter(
    "netstacks_opens",
    "New terminals: opened, abandoned by the user, failed at the device (device), refused, or failed here (error)",
    ["result"],
)
for _result in ("opened", "abandoned", "device", "refused", "error"):
    # A series that appears with its first event has no rate before the second one.
    _OPENS.labels(_result)


@contextmanager
def counting_open() -> Iterator[None]:
    """Counts the new terminal that its block opens, by the block's end."""
    try:
        yield
    except Exception as error:
        _OPENS.labels(_result_of(error)).inc()
        raise
    _OPENS.labels("opened").inc()


def _result_of(error: Exception) -> str:
    match error:
        case OpeningAbandoned():
            return "abandoned"
        case DeviceError():
            return "device"
        case NetstacksError() if not isinstance(error, StoreUnavailable | VaultLocked):
            return "refused"
    return "error"
