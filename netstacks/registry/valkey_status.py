"""The status of Valkey for operators and for health: its figures, and the views of its Sentinels."""

import time

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from netstacks.errors import RegistryUnavailable
from netstacks.registry import figures
from netstacks.registry.base import Mode, RegistryStatus
from netstacks.registry.circuit_breaker import CircuitBreaker
from netstacks.registry.connection import address_of, beside
from netstacks.registry.figures import ValkeyFigures
from netstacks.registry.sentinel import Sentinels

# Health and the page HA status query the status.
_CONNECTIONS = 2


class StatusReader:
    """Has connections of its own: with the others in use, health must not report Valkey as unreachable."""

    def __init__(self, client: Redis, sentinels: Sentinels | None, breaker: CircuitBreaker) -> None:
        self._client = beside(client, _CONNECTIONS)
        self._sentinels = sentinels
        self._breaker = breaker

    @property
    def address(self) -> str:
        """The `host:port` of the server; empty before the Sentinels have named it."""
        return address_of(self._client, self._sentinels)

    def read(self) -> RegistryStatus:
        """Never raises."""
        mode: Mode = "plain" if self._sentinels is None else "sentinel"
        views = self._sentinels.figures() if self._sentinels is not None else None
        try:
            with self._breaker.guard():
                return RegistryStatus("connected", mode, self._figures(), views)
        except RegistryUnavailable as error:
            return RegistryStatus("disconnected", mode, None, views, str(error))

    def _figures(self) -> ValkeyFigures:
        pipeline = self._client.pipeline(transaction=False)
        pipeline.info()
        pipeline.config_get("save")
        began_at = time.monotonic()
        info, save = pipeline.execute(raise_on_error=False)
        latency_secs = time.monotonic() - began_at
        if isinstance(info, RedisError):
            raise info
        try:
            # Managed servers rename the command, and an ACL may forbid it.
            return figures.read(
                info, self.address, latency_secs, None if isinstance(save, ResponseError) else save["save"]
            )
        except (KeyError, ValueError, TypeError) as error:
            raise RegistryUnavailable(f"its INFO reply is malformed: {error!r}") from error
