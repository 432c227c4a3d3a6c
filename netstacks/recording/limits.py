"""How much may be recorded: of one session, and of all sessions of one user in a day of UTC."""

from dataclasses import dataclass
from datetime import UTC, date, datetime


@dataclass(eq=False)
class DayTotal:
    """What was recorded of one user on the present day, as far as this instance knows: other instances record, too."""

    day: date | None = None
    recorded_bytes: int = 0

    @property
    def is_over(self) -> bool:
        """Whether the day that this is of has ended; what was recorded on the next one is not known yet."""
        return self.day is not None and self.day < datetime.now(UTC).date()

    def update(self, day: date, stored_bytes: int) -> None:
        """Takes what all instances had stored a moment ago. What is still to be stored here is not in it."""
        has_changed = self.day not in (None, day)
        self.recorded_bytes = stored_bytes if has_changed else max(self.recorded_bytes, stored_bytes)
        self.day = day


class Allowance:
    """What one session may still record. It has recorded `recorded_bytes` by now; a limit of 0 is none."""

    def __init__(
        self, *, session_bytes: int = 0, day_bytes: int = 0, recorded_bytes: int = 0, today: DayTotal | None = None
    ) -> None:
        self.recorded_bytes = recorded_bytes
        self._session_bytes = session_bytes
        self._day_bytes = day_bytes
        self._today = today or DayTotal()

    def spend(self, size: int) -> None:
        """Takes note that so much more is recorded."""
        self.recorded_bytes += size
        self._today.recorded_bytes += size

    @property
    def problem(self) -> str | None:
        """Which limit is reached, or None."""
        if 0 < self._session_bytes <= self.recorded_bytes:
            return f"the limit of {shown_size(self._session_bytes)} for the recording of one session is reached"
        if 0 < self._day_bytes <= self._today.recorded_bytes and not self._today.is_over:
            return f"the limit of {shown_size(self._day_bytes)} recorded for one user in a day (UTC) is reached"
        return None


def shown_size(size: int) -> str:
    """A number of bytes as a person reads it."""
    for unit, step in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= step:
            return f"{size / step:.4g} {unit}"
    return f"{size} bytes"
