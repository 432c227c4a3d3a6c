"""What authentication works with: one `AuthParts`, made with the application and reached through it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from flask import Flask, current_app

from netstacks.instance.withdrawals import Withdrawals
from netstacks.store.pool import Database
from netstacks.web.auth.login_states import LoginStates
from netstacks.web.auth.tokens import Tokens

_EXTENSION = "netstacks.auth"


@dataclass(frozen=True)
class AuthParts:
    """The parts of one instance that tell who makes a request."""

    database: Database
    tokens: Tokens
    login_states: LoginStates
    withdrawals: Withdrawals
    allowed_origins: Sequence[str]
    login_max_days: int
    failed_logins_per_hour: int
    """How many failed log-ins have audit rows of their own in one hour."""


def install(app: Flask, parts: AuthParts) -> None:
    """Makes `parts` those of `app`."""
    app.extensions[_EXTENSION] = parts


def auth_parts() -> AuthParts:
    """The parts of the instance that serves the current request."""
    return cast(AuthParts, current_app.extensions[_EXTENSION])
