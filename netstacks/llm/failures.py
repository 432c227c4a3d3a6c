"""The failures of calls to providers, with their effect on the circuit breaker."""

from typing import Literal

from netstacks.errors import NetstacksError, RetryLater

# counts: one of the consecutive failures that open the circuit.
# rate_limited: the circuit is open until the provider's Retry-After.
# neutral: neither a success nor a failure.
Verdict = Literal["counts", "rate_limited", "neutral"]


class ProviderFailure(NetstacksError):
    """A call to a provider did not end regularly. The text is one sentence without keys.

    `kind` is our description. `detail`, which follows it in the text, is the provider's message and may quote the
    request: logs, events and circuits get `kind` only.
    """

    verdict: Verdict = "counts"

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(kind + detail)
        self.kind = kind


class ProviderTimeout(ProviderFailure):
    """One of the three time limits expired: connect, first token, total. The text says which.

    `was_sent` says whether the provider has received the request, which then costs tokens. `silent_secs` is the time
    since the model last sent something.
    """

    def __init__(self, kind: str, detail: str = "", *, was_sent: bool = True, silent_secs: float = 0.0) -> None:
        super().__init__(kind, detail)
        self.was_sent = was_sent
        self.silent_secs = silent_secs


class ProviderUnreachable(ProviderFailure):
    """No connection: refused, reset, unknown host name, TLS failure."""


class ProviderBroken(ProviderFailure):
    """The provider answered with a server error (5xx, 529), or with something that is not an answer."""


class StreamCut(ProviderFailure):
    """The answer began and did not end: its text is incomplete."""


class NotSent(ProviderFailure):
    """This instance could not send the request, for a local reason that proves nothing about the provider."""

    verdict = "neutral"


class RateLimited(ProviderFailure):
    """The provider limits the rate of requests (429). `retry_after_secs` is its Retry-After, None without one."""

    verdict = "rate_limited"

    def __init__(self, kind: str, retry_after_secs: float | None, detail: str = "") -> None:
        super().__init__(kind, detail)
        self.retry_after_secs = retry_after_secs


class ProviderRefused(ProviderFailure):
    """The provider refused this request or our key (4xx), or gave an empty answer: the provider itself works.

    `status` is its HTTP status.
    """

    verdict = "neutral"

    def __init__(self, kind: str, status: int, detail: str = "") -> None:
        super().__init__(kind, detail)
        self.status = status


class CallCancelled(ProviderFailure):
    """The caller cancelled the call."""

    verdict = "neutral"


class NotConfigured(RetryLater):
    """No provider is configured, or AI is switched off."""


class AllResting(RetryLater):
    """Every provider's circuit is open. `retry_after_secs` is when the first may be tried again."""

    def __init__(self, text: str, retry_after_secs: float) -> None:
        super().__init__(text)
        self.retry_after_secs = retry_after_secs


class TooManyCalls(RetryLater):
    """A limit of this controller is reached: concurrent calls of a user or provider, or tokens per day."""

    def __init__(self, text: str, retry_after_secs: float) -> None:
        super().__init__(text)
        self.retry_after_secs = retry_after_secs


class NoAnswer(NetstacksError):
    """Every provider that was tried failed. `timed_out`: the last one exceeded a time limit."""

    def __init__(self, text: str, *, timed_out: bool) -> None:
        super().__init__(text)
        self.timed_out = timed_out


class Incomplete(NetstacksError):
    """The client has a part of the answer, and no provider could complete it."""
