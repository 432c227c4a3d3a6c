"""The dependencies of authentication: one `AuthParts` per application, stored in its extensions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

from flask import Flask, current_app

from netstacks.instance.withdrawals import Withdrawals
from netstacks.store.failed_logins import Lockout
from netstacks.store.pool import Database
from netstacks.store.vault import Vault
from netstacks.web.auth.factor_states import FactorStates
from netstacks.web.auth.login_states import LoginStates
from netstacks.web.auth.oidc_directory import OidcDirectory
from netstacks.web.auth.password_checks import PasswordChecks
from netstacks.web.auth.tokens import Tokens

_EXTENSION = "netstacks.auth"


@dataclass(frozen=True)
class AuthParts:
    """The parts of one instance that authenticate requests."""

    database: Database
    vault: Vault
    tokens: Tokens
    login_states: LoginStates
    withdrawals: Withdrawals
    allowed_origins: Sequence[str]
    login_max_days: int
    failed_logins_per_hour: int
    """How many failed log-ins get an audit row of their own in one hour; the others are counted in a summary."""
    lockout: Callable[[], Lockout] = Lockout
    """The limit of wrong passwords of the moment."""
    second_factor_policy: Callable[[], str] = lambda: "optional"
    """The users who must have a second factor: `optional` (none), `administrators` or `all`."""
    password_checks: PasswordChecks = field(default_factory=PasswordChecks)
    factor_states: FactorStates = field(default_factory=FactorStates)
    oidc: OidcDirectory = field(default_factory=OidcDirectory)


def install(app: Flask, parts: AuthParts) -> None:
    """Stores `parts` in the extensions of `app`."""
    app.extensions[_EXTENSION] = parts


def auth_parts() -> AuthParts:
    """The parts of the instance that serves the current request."""
    return cast(AuthParts, current_app.extensions[_EXTENSION])
