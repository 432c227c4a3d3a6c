"""Limits on concurrent calls per user and provider, and on tokens per day."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from netstacks.errors import StoreUnavailable
from netstacks.llm.failures import TooManyCalls
from netstacks.llm.provider import Provider

# The Retry-After while all slots are in use.
_RETRY_SECS = 5.0
# The slots of a user for requests that pages make by themselves, separate from the interactive ones.
_BACKGROUND_CONCURRENCY = 3
# The maximum age of the day's sums, because other instances use tokens too.
_SUMS_AGE_SECS = 5.0


@dataclass(frozen=True)
class TokensToday:
    """The tokens used on the current UTC day: by one user, and of each provider by its id."""

    user: int = 0
    providers: Mapping[UUID, int] = field(default_factory=dict)


class Slots:
    """Calls in progress on this instance, by the id of a user or of a provider."""

    def __init__(self) -> None:
        self._taken: Counter[UUID] = Counter()

    def in_use(self, key: UUID) -> int:
        """The number of calls in progress."""
        return self._taken[key]

    def are_full(self, key: UUID, most: int) -> bool:
        """Whether `most` calls are in progress; 0 means that there is no limit."""
        return 0 < most <= self._taken[key]

    @contextmanager
    def taken(self, key: UUID) -> Iterator[None]:
        """Holds one slot for as long as the block runs."""
        self._taken[key] += 1
        try:
            yield
        finally:
            self._taken[key] -= 1
            if not self._taken[key]:
                del self._taken[key]


class Limits:
    """Concurrent calls per user and per provider, and tokens per day. 0 means that there is no limit.

    `read_today` reads the day's sums from the database; it may raise StoreUnavailable. Without a database the last
    known sums count.
    """

    def __init__(
        self, read_today: Callable[[UUID], TokensToday], *, user_concurrency: int = 4, user_daily_tokens: int = 0
    ) -> None:
        self._read_today = read_today
        self._user_concurrency = user_concurrency
        self._user_daily_tokens = user_daily_tokens
        self._sums: dict[UUID, tuple[float, TokensToday]] = {}
        self.users = Slots()
        self.users_background = Slots()
        self.providers = Slots()

    def slots(self, *, is_background: bool) -> Slots:
        """The slots of interactive requests, or of those that pages make by themselves."""
        return self.users_background if is_background else self.users

    def check_user(self, user_id: UUID, today: TokensToday, *, is_background: bool) -> None:
        """Raises TooManyCalls when the user has reached a limit."""
        most = _BACKGROUND_CONCURRENCY if is_background else self._user_concurrency
        if self.slots(is_background=is_background).are_full(user_id, most):
            background = " in the background" if is_background else ""
            raise TooManyCalls(
                f"You have {most} AI requests in progress{background}. Wait for one of them to end.", _RETRY_SECS
            )
        if 0 < self._user_daily_tokens <= today.user:
            raise TooManyCalls(
                f"You have used your {self._user_daily_tokens:,} AI tokens of today. The budget resets at 00:00 UTC.",
                _until_midnight_secs(),
            )

    def obstacle(self, provider: Provider, today: TokensToday) -> tuple[str, float] | None:
        """The limit that prevents a call to the provider now, and for how many seconds; None without one."""
        if self.providers.are_full(provider.id, provider.max_concurrent):
            return f"is busy with {provider.max_concurrent} calls", _RETRY_SECS
        if 0 < provider.daily_tokens <= today.providers.get(provider.id, 0):
            return f"has used its {provider.daily_tokens:,} tokens of today", _until_midnight_secs()
        return None

    def today(self, user_id: UUID, providers: list[Provider]) -> TokensToday:
        """The day's sums; empty when no budget depends on them."""
        if not self._user_daily_tokens and not any(each.daily_tokens for each in providers):
            return TokensToday()
        read_at, sums = self._sums.get(user_id, (0.0, TokensToday()))
        now = time.monotonic()
        if not read_at or now - read_at > _SUMS_AGE_SECS:
            try:
                sums = self._read_today(user_id)
            except StoreUnavailable:
                return sums
            self._forget_old(now)
            self._sums[user_id] = (now, sums)
        return sums

    def spend(self, user_id: UUID, provider_id: UUID, tokens: int) -> None:
        """Adds tokens to the cached sums, which do not include them yet."""
        if user_id in self._sums:
            read_at, sums = self._sums[user_id]
            providers = {**sums.providers, provider_id: sums.providers.get(provider_id, 0) + tokens}
            self._sums[user_id] = (read_at, TokensToday(sums.user + tokens, providers))

    def _forget_old(self, now: float) -> None:
        # Bounds the memory: sums of inactive users are dropped.
        for user_id in [each for each, (read_at, _) in self._sums.items() if now - read_at > 3600]:
            del self._sums[user_id]


def _until_midnight_secs() -> float:
    now = datetime.now(UTC)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return (midnight - now).total_seconds()
