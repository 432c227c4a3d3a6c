"""Users who must have a second factor and have none: their log-in may do nothing but set one up.

`check` covers requests. Connections that were opened before the setting was changed ask `concerns`.
"""

from flask import redirect, request, url_for
from werkzeug.wrappers import Response

from netstacks.errors import Forbidden, SecondFactorMissing
from netstacks.permissions import Role
from netstacks.web.auth import guard
from netstacks.web.auth.guard import Identity
from netstacks.web.auth.parts import auth_parts

# What a user without the required factor may use, and what needs no log-in. No view in them requires a permission. The
# views of `peer` are for instances; the one that acts for a user calls `check_set_up`.
_FREE_BLUEPRINTS = ("login", "sso", "login_steps", "second_factors", "peer", "shared", "client")
_FREE_ENDPOINTS = ("static", "pages.login", "pages.csrf_token", "pages.second_factor")
_PAGES = ("pages", "admin")
# The permission that makes a user an administrator in the setting.
ADMINISTRATION = "users.manage"

REQUIRED = (
    "Two-step log-in is required for your account. Open the page /account/second-factor of this controller in a"
    " browser, set it up, then try again."
)


def check() -> Response | None:
    """Called before every request: redirects pages to the one that sets a factor up. Raises Forbidden for calls."""
    if request.endpoint is None or request.endpoint in _FREE_ENDPOINTS or request.blueprint in _FREE_BLUEPRINTS:
        return None
    if auth_parts().second_factor_policy() == "optional":
        return None
    try:
        user = guard.identify()
    except Forbidden:
        return None  # The view refuses the request, or needs no log-in.
    if user is None:
        return None
    if request.blueprint in _PAGES and request.method == "GET" and must_set_up(user):
        return redirect(url_for("pages.second_factor"))
    check_set_up(user)
    return None


def check_set_up(user: Identity) -> None:
    """Raises Forbidden when this user has to set up a second factor first."""
    if must_set_up(user):
        raise SecondFactorMissing(REQUIRED)


def must_set_up(user: Identity) -> bool:
    """Whether this user has to set up a second factor before anything else."""
    return is_required(user) and auth_parts().factor_states.must_set_up(auth_parts().database, user.login_id)


def is_required(user: Identity) -> bool:
    """Whether this user must have a second factor."""
    return concerns(user.as_role, auth_parts().second_factor_policy())


def concerns(role: Role, policy: str) -> bool:
    """Whether users of `role` must have a second factor. `policy` is the value of the setting."""
    return policy == "all" or (policy == "administrators" and role.may(ADMINISTRATION))
