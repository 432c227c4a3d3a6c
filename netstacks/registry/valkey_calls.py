"""Calls to Valkey: the scripts, and the circuit breaker around every method of the registry."""

from collections.abc import Callable
from functools import partial, wraps
from importlib import resources
from typing import Any, TypeVar, cast

from redis import Redis

from netstacks.registry.circuit_breaker import CircuitBreaker
from netstacks.registry.damage import Damage
from netstacks.registry.problems import explain

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

    def __init__(self, client: Redis, damage: Damage, *, has_sentinels: bool) -> None:
        self._client = client
        self._damage = damage
        self._has_sentinels = has_sentinels
        self.breaker = self._new_breaker()
        folder = resources.files("netstacks.registry") / "lua"
        shared = (folder / "shared.lua").read_text()
        self._scripts = {
            name: client.register_script(shared + (folder / f"{name}.lua").read_text()) for name in _SCRIPTS
        }

    def _new_breaker(self) -> CircuitBreaker:
        return CircuitBreaker(partial(explain, has_sentinels=self._has_sentinels))

    def _run(self, script: str, touched: list[str], *arguments: Any) -> Any:
        return self._scripts[script](keys=touched, args=arguments)
