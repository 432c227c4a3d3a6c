"""Recording limits: per session, and per user and day (UTC)."""

from dataclasses import dataclass
from datetime import UTC, date, datetime


@dataclass(eq=False)
class DayTotal:
    """The bytes recorded for one user on the current day, as far as this instance knows; other instances record too."""

    day: date | None = None
    recorded_bytes: int = 0

    @property
    def is_over(self) -> bool:
        """Whether the day has ended: the total of the next day is not known yet."""
        return self.day is not None and self.day < datetime.now(UTC).date()

    def update(self, day: date, stored_bytes: int) -> None:
        """Takes the total that all instances have stored. It lacks the unstored bytes of this instance."""
        has_changed = self.day not in (None, day)
        self.recorded_bytes = stored_bytes if has_changed else max(self.recorded_bytes, stored_bytes)
        self.day = day


class Allowance:
    """The limits of one session, which has recorded `recorded_bytes` so far. A limit of 0 means no limit."""

    def __init__(
        self, *, session_bytes: int = 0, day_bytes: int = 0, recorded_bytes: int = 0, today: DayTotal | None = None
    ) -> None:
        self.recorded_bytes = recorded_bytes
        self._session_bytes = session_bytes
        self._day_bytes = day_bytes
        self._today = today or DayTotal()

    def spend(self, size: int) -> None:
        """Counts `size` more recorded bytes."""
        self.recorded_bytes += size
        self._today.recorded_bytes += size

    @property
    def problem(self) -> str | None:
        """The limit that is reached, as a text, or None."""
        if 0 < self._session_bytes <= self.recorded_bytes:
            return f"the limit of {shown_size(self._session_bytes)} for the recording of one session is reached"
        if 0 < self._day_bytes <= self._today.recorded_bytes and not self._today.is_over:
            return f"the limit of {shown_size(self._day_bytes)} recorded for one user in a day (UTC) is reached"
        return None


def shown_size(size: int) -> str:
    """A number of bytes with a binary unit."""
    for unit, step in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= step:
            return f"{size / step:.4g} {unit}"
    return f"{size} bytes"
