"""Short-lived signed texts between the steps of a log-in. They hold all state: any instance takes the next step."""

import base64
import binascii
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

from netstacks.cluster.clocks import TOLERATED_SECS
from netstacks.web.auth.tokens import Tokens

# Five minutes for the user, also where the clocks of two instances differ as much as is tolerated.
TTL_SECS = 300.0 + TOLERATED_SECS


@dataclass(frozen=True)
class SignedText:
    """The content of a valid text; `expires_at` is seconds since 1970."""

    content: Mapping[str, str]
    expires_at: float


def issue(tokens: Tokens, purpose: str, content: Mapping[str, str]) -> str:
    """A signed text for one purpose, without characters that need escaping; two of them are never equal."""
    body = {**content, "expires_at": str(int(time.time() + TTL_SECS)), "nonce": secrets.token_hex(8)}
    text = base64.urlsafe_b64encode(json.dumps(body).encode()).decode().rstrip("=")
    return f"{text}.{tokens.sign(_signed(purpose, text))}"


def read(tokens: Tokens, purpose: str, given: str) -> SignedText | None:
    """The content of a text that `issue` has made for this purpose and that has not expired; None for anything else."""
    text, _, signature = given.partition(".")
    if not tokens.is_signed(_signed(purpose, text), signature):
        return None
    try:
        content = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        return None
    expires_at = float(content.pop("expires_at"))
    return SignedText(content, expires_at) if time.time() < expires_at else None


def _signed(purpose: str, text: str) -> str:
    return f"{purpose}: {text}"
