"""Tickets: a client that waited at one instance keeps its place at another. Any instance of the cluster reads them."""

import hmac
import time
from uuid import UUID

from netstacks.cluster.clocks import TOLERATED_SECS
from netstacks.web.auth.tokens import Tokens

# An older one counts for nothing: no storm lasts so long.
_LONGEST_SECS = 1800.0


def issue(tokens: Tokens, user_id: UUID, token: UUID | None, since: float) -> str:
    """A ticket that says since when this user has waited for this session, or for a new one; seconds since 1970."""
    msecs = round(since * 1000)
    return f"{msecs}.{tokens.sign(_text(user_id, token, msecs))}"


def since(tokens: Tokens, user_id: UUID, token: UUID | None, ticket: str) -> float:
    """Since when its holder has waited; now for anything but a valid ticket of this user for this session."""
    now = time.time()
    msecs, _, signature = ticket.partition(".")
    if not (msecs.isascii() and msecs.isdigit() and len(msecs) <= 15):
        return now
    if not hmac.compare_digest(tokens.sign(_text(user_id, token, int(msecs))).encode(), signature.encode()):
        return now
    age_secs = now - int(msecs) / 1000
    return int(msecs) / 1000 if -TOLERATED_SECS <= age_secs <= _LONGEST_SECS else now


def _text(user_id: UUID, token: UUID | None, msecs: int) -> str:
    return f"waiting:{user_id}:{token or 'new'}:{msecs}"
