"""Asking a registry that may be away for a moment."""

from collections.abc import Callable
from typing import TypeVar

from netstacks.errors import RegistryUnavailable
from tests.valkey import SentinelCluster
from tests.waits import until

Answer = TypeVar("Answer")


def answered(ask: Callable[[], Answer]) -> Answer:
    """The first answer. A failover, or a replica that a pause of the machine has delayed, may refuse some before."""
    answers: list[Answer] = []

    def try_once() -> bool:
        try:
            answers.append(ask())
        except RegistryUnavailable:
            return False
        return True

    until(try_once, "an answer", SentinelCluster.FAILOVER_SECS)
    return answers[0]
