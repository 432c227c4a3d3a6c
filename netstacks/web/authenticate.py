"""Name and password to user: rate limited, equally slow for unknown names, failures audited."""

import math
import time

from flask import Response, jsonify, request
from flask_limiter import Limiter, RequestLimit
from flask_limiter.util import get_remote_address

from netstacks.store import audit, users
from netstacks.store.passwords import is_password
from netstacks.store.users import User
from netstacks.web.context import services
from netstacks.web.inputs import json_body

_LONGEST_NAME = 128


def _too_many(breached: RequestLimit) -> Response:
    response = jsonify(error="Too many attempts to log in. Wait a minute and try again.")
    response.status_code = 429
    response.headers["Retry-After"] = str(max(1, math.ceil(breached.window.reset_time - time.time())))
    return response


# Each instance counts for itself: a shared count would make logging in depend on one more server.
limiter = Limiter(get_remote_address, storage_uri="memory://", strategy="moving-window", on_breach=_too_many)


def address_and_name() -> str:
    """Whom the log-in limit counts: one name, tried from one address. A body that is no JSON is refused here."""
    body = json_body()
    name = (body.get("username") or body.get("email")) if isinstance(body, dict) else None
    known = name.strip().lower()[:_LONGEST_NAME] if isinstance(name, str) else ""
    return f"{get_remote_address()} {known}"


def authenticate(name: str, password: str) -> User | None:
    """The active user of this name or e-mail address if the password is right; else None, which is audited."""
    with services().database.transaction() as tx:
        found = users.by_login_name(tx, name)
    user, password_hash = found or (None, None)
    if is_password(password, password_hash) and user is not None and user.is_active:
        _forgive()
        return user
    with services().database.transaction() as tx:
        actor = audit.Actor(name[:_LONGEST_NAME], None, request.remote_addr)
        audit.append(tx, actor, "auth.login_failed", f"user:{user.id}" if user else "user:unknown")
    return None


def _forgive() -> None:
    # Only the count of this name: one right password must not reopen the address for guessing others'.
    of_name = min(limiter.current_limits, key=lambda each: each.limit.amount)
    limiter.limiter.clear(of_name.limit, *of_name.request_args)
