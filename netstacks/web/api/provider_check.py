"""The test of a provider: one cheap call with its stored settings, and advice when it fails."""

import time
from typing import NotRequired
from uuid import UUID

from typing_extensions import TypedDict

from netstacks.llm import failures
from netstacks.llm.failures import ProviderFailure
from netstacks.llm.service import Llm


class ProviderTrial(TypedDict):
    """The outcome of a test call."""

    ok: bool
    model: str | None
    message: str
    """The outcome in words."""
    advice: NotRequired[str]
    """What to do about a failure."""
    msecs: NotRequired[int]
    """How long a successful call took."""


# What an administrator can do about a failed test.
_ADVICE: dict[type[ProviderFailure], str] = {
    failures.NotSent: "Check the proxy and the CA file in the environment of this instance.",
    failures.ProviderTimeout: "Try again. If the provider is slow, increase its timeouts.",
    failures.ProviderUnreachable: "Check the base URL, and whether this controller can reach it: proxy, firewall, CA.",
    failures.RateLimited: "The provider works. Check the limits of your account with it.",
    failures.StreamCut: "Try again. A proxy in between may cut long answers.",
    failures.ProviderBroken: "Check that the base URL belongs to an API of this type. If so, the provider is faulty.",
}


def check_provider(llm: Llm, provider_id: UUID, model: str | None) -> ProviderTrial:
    """The outcome for the API. `model` is one of the provider's models; None is its default one."""
    directory = llm.directory
    directory.refresh()
    if problem := directory.problem(provider_id):
        advice = "Store its key again, or correct the settings of this controller."
        return {"ok": False, "model": model, "message": f"The provider cannot be used: {problem}.", "advice": advice}
    provider = directory.provider(provider_id)
    model = provider.model(model)
    began_at = time.monotonic()
    try:
        llm.canary(provider, model)
    except ProviderFailure as error:
        return {"ok": False, "model": model, "message": f"{provider.name} {error}.", "advice": _advice(error)}
    msecs = round((time.monotonic() - began_at) * 1000)
    return {"ok": True, "model": model, "message": f"{provider.name} answers: {model}, {msecs} ms.", "msecs": msecs}


def _advice(error: ProviderFailure) -> str:
    match error:
        case failures.ProviderRefused(status=401 | 403):
            return "Check the key and its permissions."
        case failures.ProviderRefused(status=404):
            return "Check the base URL and the name of the model."
        case failures.ProviderRefused():
            return "The provider works but refuses this request. Check the name of the model."
    return next((advice for kind, advice in _ADVICE.items() if isinstance(error, kind)), "Try again.")
