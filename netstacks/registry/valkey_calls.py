"""Calls to Valkey: the scripts, and the circuit breaker around every method of the registry."""

from collections.abc import Callable
from functools import wraps
from importlib import resources
from typing import Any, TypeVar, cast

from redis import Redis

from netstacks.registry.circuit_breaker import CircuitBreaker
from netstacks.registry.connection import address_of, uses_tls
from netstacks.registry.damage import Damage
from netstacks.registry.problems import explain
from netstacks.registry.sentinel import Sentinels

_SCRIPTS = (
    "register",
    "heartbeat",
    "set_state",
    "publish",
    "remove",
    "reap",
    "lost",
    "keep_lost",
    "forget_lost",
    "snapshot",
    "circuits",
    "replace_circuit",
    "add_samples",
    "samples",
    "record_event",
    "events",
)

_Method = TypeVar("_Method", bound=Callable[..., Any])


def guarded(method: _Method) -> _Method:
    """Runs a method of `Calls` behind its circuit breaker."""

    @wraps(method)
    def guarded_method(self: "Calls", *args: Any, **kwargs: Any) -> Any:
        with self.breaker.guard():
            return method(self, *args, **kwargs)

    return cast(_Method, guarded_method)


class Calls:
    """What all parts of the registry in Valkey share."""

    def __init__(self, client: Redis, damage: Damage, sentinels: Sentinels | None) -> None:
        self._client = client
        self._damage = damage
        self._sentinels = sentinels
        self.breaker = self._new_breaker()
        folder = resources.files("netstacks.registry") / "lua"
        shared = (folder / "shared.lua").read_text()
        self._scripts = {
            name: client.register_script(shared + (folder / f"{name}.lua").read_text()) for name in _SCRIPTS
        }

    def _new_breaker(self) -> CircuitBreaker:
        return CircuitBreaker(self._explain)

    def _explain(self, error: Exception) -> str:
        return explain(
            error,
            has_sentinels=self._sentinels is not None,
            has_tls=uses_tls(self._client),
            address=address_of(self._client, self._sentinels),
        )

    def _run(self, script: str, touched: list[str], *arguments: Any) -> Any:
        return self._scripts[script](keys=touched, args=arguments)
