"""Tickets: a client that has waited at one instance keeps its place at another. They are valid on all instances."""

import time
from uuid import UUID

from netstacks.cluster.clocks import TOLERATED_SECS
from netstacks.web.auth.tokens import Tokens

# The maximum age of a ticket; reconnection storms are shorter.
_MAX_SECS = 1800.0


def issue(tokens: Tokens, user_id: UUID, token: UUID | None, since: float) -> str:
    """A signed ticket: this user has waited since `since` (seconds since 1970) for this session, or for a new one."""
    msecs = round(since * 1000)
    return f"{msecs}.{tokens.sign(_text(user_id, token, msecs))}"


def since(tokens: Tokens, user_id: UUID, token: UUID | None, ticket: str) -> float:
    """The start of the wait, in seconds since 1970; now for anything but a valid ticket of this user and session."""
    now = time.time()
    msecs, _, signature = ticket.partition(".")
    if not (msecs.isascii() and msecs.isdigit() and len(msecs) <= 15):
        return now
    if not tokens.is_signed(_text(user_id, token, int(msecs)), signature):
        return now
    age_secs = now - int(msecs) / 1000
    return int(msecs) / 1000 if -TOLERATED_SECS <= age_secs <= _MAX_SECS else now


def _text(user_id: UUID, token: UUID | None, msecs: int) -> str:
    return f"waiting:{user_id}:{token or 'new'}:{msecs}"
