"""How stored values look in JSON."""

import math
from datetime import UTC, datetime

from netstacks.store.loading import LATEST


def timestamp(at: datetime | None) -> str | None:
    """RFC 3339 in UTC, whole seconds, ending in `Z` (wire contract 13)."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else None


def finite(number: float | None) -> float | None:
    """The number, if JSON can hold it."""
    return number if number is not None and math.isfinite(number) else None


def moment(secs: float) -> datetime:
    """A time in seconds since 1970, or the nearest that is one."""
    return datetime.fromtimestamp(0.0 if math.isnan(secs) else min(max(secs, 0.0), LATEST.timestamp()), UTC)
