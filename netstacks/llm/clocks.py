"""The time limits of a call to a provider."""

import math
import time
from enum import Enum

from netstacks.llm.failures import ProviderTimeout
from netstacks.llm.provider import Provider

# The longest time without an item for the caller.
_WAITING_SECS = 1.0
# How long to wait for the token count after the end of the answer.
_COUNT_SECS = 1.0


class Stage(Enum):
    """The progress of a call, on which the time limits depend."""

    CONNECTING = "the request is not sent yet"
    SENT = "the request is sent"
    BEGUN = "the model has begun to answer"
    COMPLETE = "only the token count may be missing"


class Clocks:
    """The three time limits of a call, connect, first token and total, and the time for a Waiting."""

    def __init__(self, provider: Provider, total_secs: float) -> None:
        now = time.monotonic()
        self._total_secs = total_secs
        self._total_at = now + total_secs
        self._connect_secs = provider.connect_secs
        self._first_token_secs = provider.first_token_secs
        self._limits = {Stage.SENT: provider.first_token_secs, Stage.BEGUN: math.inf, Stage.COMPLETE: _COUNT_SECS}
        self._stage = Stage.CONNECTING
        self._stage_at = now + provider.connect_secs
        self._progress = 0
        self._heard_at = now
        self._waiting_at = now + _WAITING_SECS

    def reached(self, stage: Stage, progress: int) -> None:
        """Records the stage, and that the model has sent content `progress` times."""
        now = time.monotonic()
        if stage is not self._stage:
            self._stage, self._stage_at = stage, now + self._limits[stage]
        if progress > self._progress:
            self._progress, self._heard_at = progress, now

    def pause(self, secs: float) -> None:
        """Extends the total by the time that the caller has taken for a piece."""
        self._total_at += secs
        self._heard_at += secs
        self._waiting_at = time.monotonic() + _WAITING_SECS

    def left_secs(self) -> float:
        """How long to wait for the provider."""
        return min(self._total_at, self._stage_at, self._waiting_at) - time.monotonic()

    @property
    def is_expired(self) -> bool:
        """Whether one of the limits has expired."""
        return min(self._total_at, self._stage_at) <= time.monotonic()

    @property
    def is_waiting(self) -> bool:
        """Whether the caller has had no item for a second."""
        return self._waiting_at <= time.monotonic()

    def timeout(self) -> ProviderTimeout:
        """The failure for the limit that has expired."""
        now = time.monotonic()
        if self._total_at <= now or self._stage is Stage.BEGUN:
            kind = f"did not finish its answer within {round(self._total_secs, 1):g} s"
        elif self._stage is Stage.SENT:
            kind = f"did not begin to answer within {self._first_token_secs:g} s"
        else:
            kind = f"could not be reached within {self._connect_secs:g} s"
        was_sent = self._stage is not Stage.CONNECTING
        return ProviderTimeout(kind, was_sent=was_sent, silent_secs=now - self._heard_at)
