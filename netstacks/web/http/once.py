"""Warnings that repeat with every request of every user, logged once for as long as their cause lasts."""

import structlog
from cachetools import TTLCache

log = structlog.get_logger()

# Causes contain what clients send: a client that makes up new ones must fill neither the log nor the memory. Those that
# have not occurred for a while make room for others.
_MAX_OF_EVENT, _FORGOTTEN_SECS = 5, 3600.0
_occurrences: TTLCache[tuple[str, ...], int] = TTLCache(1000, _FORGOTTEN_SECS)


def warn(event: str, *cause: str, problem: str, at: int = 1) -> None:
    """Logs `problem` at the occurrence with number `at` of this event with this cause."""
    key = (event, *cause)
    if key not in _occurrences and sum(known[0] == event for known in _occurrences) >= _MAX_OF_EVENT:
        return
    _occurrences[key] = _occurrences.get(key, 0) + 1
    if _occurrences[key] == at:
        log.warning(event, problem=problem)
