"""The number of event streams that are open at one instance, in total and for each user."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from netstacks.errors import RetryLater

_MOST, _MAX_OF_USER = 100, 20


class Streams:
    """One user must not take the live updates of all others."""

    def __init__(self) -> None:
        self._of_user: Counter[UUID] = Counter()

    def __len__(self) -> int:
        return self._of_user.total()

    def check(self, user_id: UUID) -> None:
        """Raises RetryLater when no other stream may be opened."""
        if len(self) >= _MOST:
            raise RetryLater(f"{_MOST} pages receive live updates already. Reload this page instead.")
        if self._of_user[user_id] >= _MAX_OF_USER:
            raise RetryLater(f"{_MAX_OF_USER} of your pages receive live updates already. Close one of them.")

    @contextmanager
    def taken(self, user_id: UUID) -> Iterator[None]:
        """Around the life of a stream."""
        self._of_user[user_id] += 1
        try:
            yield
        finally:
            self._of_user[user_id] -= 1
            self._of_user += Counter()  # Forgets the users without a stream.
