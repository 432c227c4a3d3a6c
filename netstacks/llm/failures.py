"""How a call to a provider fails, and what follows from it for its circuit."""

from typing import Literal

from netstacks.errors import ComeAgain, NetstacksError

# counts: one of the consecutive failures that open the circuit.
# rate_limited: the circuit is open until the provider's Retry-After.
# neutral: neither a success nor a failure.
Verdict = Literal["counts", "rate_limited", "neutral"]


class ProviderFailure(NetstacksError):
    """A call to a provider did not end with the provider's own end. The text is one sentence without keys.

    `kind` is what it is in our words. `said`, which follows it in the text, is in the provider's words and may quote
    the question: logs, events and circuits get `kind` only.
    """

    verdict: Verdict = "counts"

    def __init__(self, kind: str, said: str = "") -> None:
        super().__init__(kind + said)
        self.kind = kind


class ProviderTimeout(ProviderFailure):
    """One of the three clocks ran out: connect, first token, total. The text says which.

    `was_sent` tells whether the provider has the question, which then costs tokens. `silent_secs` is how long the
    model had sent nothing.
    """

    def __init__(self, kind: str, said: str = "", *, was_sent: bool = True, silent_secs: float = 0.0) -> None:
        super().__init__(kind, said)
        self.was_sent = was_sent
        self.silent_secs = silent_secs


class ProviderUnreachable(ProviderFailure):
    """No connection: refused, reset, no such name, no TLS."""


class ProviderBroken(ProviderFailure):
    """The provider answered with an error of its own (5xx, 529), or with what is not an answer."""


class StreamCut(ProviderFailure):
    """The answer began and did not end: what has come is incomplete."""


class NotSent(ProviderFailure):
    """This instance could not send the request, for a reason of its own: it says nothing about the provider."""

    verdict = "neutral"


class RateLimited(ProviderFailure):
    """The provider asks to be left alone (429). `retry_after_secs` is what it named, None when it named nothing."""

    verdict = "rate_limited"

    def __init__(self, kind: str, retry_after_secs: float | None, said: str = "") -> None:
        super().__init__(kind, said)
        self.retry_after_secs = retry_after_secs


class ProviderRefused(ProviderFailure):
    """The provider refused this request or our key (4xx), or has no answer to it: the provider works.

    `status` is its HTTP status.
    """

    verdict = "neutral"

    def __init__(self, kind: str, status: int, said: str = "") -> None:
        super().__init__(kind, said)
        self.status = status


class CallCancelled(ProviderFailure):
    """The caller no longer wants the answer."""

    verdict = "neutral"


class NotConfigured(ComeAgain):
    """No provider is configured, or AI is switched off."""


class AllResting(ComeAgain):
    """Every provider's circuit is open. `retry_after_secs` is when the first may be tried again."""

    def __init__(self, text: str, retry_after_secs: float) -> None:
        super().__init__(text)
        self.retry_after_secs = retry_after_secs


class TooManyCalls(ComeAgain):
    """A limit of this controller is reached: concurrent calls of a user or a provider, or a day's tokens."""

    def __init__(self, text: str, retry_after_secs: float) -> None:
        super().__init__(text)
        self.retry_after_secs = retry_after_secs


class NoAnswer(NetstacksError):
    """Every provider that was tried failed. `timed_out`: time ran out rather than providers."""

    def __init__(self, text: str, *, timed_out: bool) -> None:
        super().__init__(text)
        self.timed_out = timed_out


class Incomplete(NetstacksError):
    """The reader has a part of the answer, and no provider could finish it."""
