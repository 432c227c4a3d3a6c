"""Prometheus metrics of the log-ins."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter
from werkzeug.exceptions import TooManyRequests, Unauthorized

from netstacks.errors import RetryLater, StoreUnavailable
from netstacks.web.auth.licensing import SeatLimitReached
from netstacks.web.auth.oidc_errors import SsoRefused

REFUSED = Counter(
    "netstacks_logins_refused",
    "Refused log-ins: wrong name or password, throttled, too many at once (busy), no seat, no database, single sign-on",
    ["reason"],
)
_REASONS: dict[type[Exception], str] = {
    Unauthorized: "password",
    TooManyRequests: "throttled",
    RetryLater: "busy",
    SeatLimitReached: "seats",
    StoreUnavailable: "database",
    SsoRefused: "sso",
}
for _reason in _REASONS.values():
    # A series that appears with its first event has no rate before the second one.
    REFUSED.labels(_reason)


@contextmanager
def counting_refusals() -> Iterator[None]:
    """Counts the log-in of its block if it is refused."""
    try:
        yield
    except Exception as error:
        for kind, reason in _REASONS.items():
            if isinstance(error, kind):
                REFUSED.labels(reason).inc()
        raise
