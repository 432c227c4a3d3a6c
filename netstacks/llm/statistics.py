"""Statistics of this instance's calls by provider, for administrators."""

from collections import deque
from dataclasses import dataclass, field
from uuid import UUID

# How many of the newest durations the percentiles cover.
_KEPT = 200


@dataclass
class Figures:
    """The figures of one provider since the instance's start. Durations are in seconds."""

    requests: int = 0
    failures: int = 0
    durations: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT))

    def percentile(self, share: float) -> float | None:
        """The duration that `share` (0 to 1) of the newest successful calls did not exceed; None without calls."""
        ordered = sorted(self.durations)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


class Statistics:
    """The figures of all providers, by their ids."""

    def __init__(self) -> None:
        self._figures: dict[UUID, Figures] = {}

    def of(self, provider_id: UUID) -> Figures:
        """The figures of one provider, empty ones for a provider without calls."""
        return self._figures.setdefault(provider_id, Figures())

    def add(self, provider_id: UUID, took_secs: float, *, failed: bool) -> None:
        """Counts one finished call."""
        figures = self.of(provider_id)
        figures.requests += 1
        if failed:
            figures.failures += 1
        else:
            figures.durations.append(took_secs)
