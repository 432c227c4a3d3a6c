"""How stored values look in JSON."""

from datetime import UTC, datetime


def timestamp(at: datetime | None) -> str | None:
    """RFC 3339 in UTC, whole seconds, ending in `Z` (wire contract 13)."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else None
