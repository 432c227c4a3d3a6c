"""Known devices: browsers in which a user has logged in before, marked by a signed cookie.

The cookie grants no access. With it, throttles caused by guesses from elsewhere do not apply, and wrong passwords are
counted separately.
"""

import secrets
import time
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from flask import Response, request

from netstacks.web.auth.tokens import Tokens
from netstacks.web.http import cookies

COOKIE = "netstacks_device"
KEPT = timedelta(days=180)


@dataclass(frozen=True)
class Mark:
    """The content of a valid cookie: a user who has logged in with this browser, and the browser's random id."""

    user_id: UUID
    device: str


def marks(tokens: Tokens) -> list[Mark]:
    """The valid marks that this request carries. Invalid cookies may precede them and are skipped."""
    return [mark for value in cookies.values(request, COOKIE) if (mark := _read(tokens, value))]


def remember(response: Response, tokens: Tokens, user_id: UUID) -> None:
    """Marks the browser of this request as a known device of the user."""
    device = next((mark.device for mark in marks(tokens) if mark.user_id == user_id), secrets.token_hex(8))
    text = f"{user_id}.{device}.{int(time.time() + KEPT.total_seconds())}"
    cookies.put(response, COOKIE, f"{text}.{tokens.sign(f'device:{text}')}", max_age_secs=KEPT.total_seconds())


def _read(tokens: Tokens, value: str) -> Mark | None:
    text, _, signature = value.rpartition(".")
    if not tokens.is_signed(f"device:{text}", signature):
        return None
    user_id, device, until = text.split(".")
    return Mark(UUID(user_id), device) if time.time() < int(until) else None
