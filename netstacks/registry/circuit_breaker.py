"""The circuit breaker for Valkey: while it hangs, one call waits for it and the others fail at once."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from redis.exceptions import MaxConnectionsError, RedisError

from netstacks.errors import RegistryBusy, RegistryUnavailable

# A call that fails sooner was refused at once, which costs no time.
HUNG_SECS = 0.25
OPEN_SECS = 1.0


class CircuitBreaker:
    """Opens for OPEN_SECS after a call that hung; calls meanwhile fail at once with the same error.

    `explain` puts an error of the client library into words for operators.
    """

    def __init__(self, explain: Callable[[Exception], str] = str) -> None:
        self._explain = explain
        self._open_until = 0.0
        self._error = ""

    def reset(self) -> None:
        """Closes the circuit, because another call has had an answer."""
        self._open_until = 0.0

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Around one call. Raises RegistryUnavailable for every error of the client library.

        RegistryBusy, for a call that got no connection, does not open the circuit.
        """
        began_at = time.monotonic()
        if began_at < self._open_until:
            raise RegistryUnavailable(self._error)
        try:
            yield
        except MaxConnectionsError as error:
            raise RegistryBusy(f"Valkey: {error}") from error
        except (RedisError, RegistryUnavailable) as error:
            self._error = f"Valkey: {self._explain(error)}"
            if time.monotonic() - began_at > HUNG_SECS:
                self._open_until = time.monotonic() + OPEN_SECS
            raise RegistryUnavailable(self._error) from error
