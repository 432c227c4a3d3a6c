"""How long a Valkey that hangs is waited for: once, and not once for every question of a request."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import MaxConnectionsError, RedisError

from netstacks.errors import RegistryBusy, RegistryUnavailable

# What failed sooner was refused, which costs nobody anything.
HUNG_SECS = 0.25
REST_SECS = 1.0


class CircuitBreaker:
    """After a question that hung, others are answered at once, with its error, until Valkey has been left a moment."""

    def __init__(self) -> None:
        self._rests_until = 0.0
        self._error = ""

    def renew(self) -> None:
        """Valkey has answered something: the next question is asked."""
        self._rests_until = 0.0

    @contextmanager
    def ask(self) -> Iterator[None]:
        """Around one question. Raises RegistryUnavailable for whatever the client library raises.

        RegistryBusy is one that was not asked: it begins no rest.
        """
        asked_at = time.monotonic()
        if asked_at < self._rests_until:
            raise RegistryUnavailable(self._error)
        try:
            yield
        except MaxConnectionsError as error:
            raise RegistryBusy(f"Valkey: {error}") from error
        except (RedisError, RegistryUnavailable) as error:
            self._error = f"Valkey: {error}"
            if time.monotonic() - asked_at > HUNG_SECS:
                self._rests_until = time.monotonic() + REST_SECS
            raise RegistryUnavailable(self._error) from error
