"""Log-in, refresh and log-out (docs/protocol.md, 3)."""

from typing import Any, Literal
from uuid import UUID

import structlog
from flask import Blueprint, Response, jsonify, request
from pydantic import BaseModel, Field, model_validator
from werkzeug.exceptions import Unauthorized

from netstacks import permissions
from netstacks.crypto.password_rules import MAX_LENGTH
from netstacks.errors import StoreUnavailable
from netstacks.instance.withdrawals import Scope, Withdrawal
from netstacks.store import access, audit, logins, users
from netstacks.store.logins import Refresh
from netstacks.store.users import User
from netstacks.web.auth import guard, known_devices
from netstacks.web.auth.authenticate import Authenticated, authenticate
from netstacks.web.auth.licensing import SeatLimitReached
from netstacks.web.auth.tokens import ACCESS_TTL, Claims, Subject, TokenType
from netstacks.web.context import services
from netstacks.web.http.inputs import parse
from netstacks.web.http.outputs import timestamp

log = structlog.get_logger()

blueprint = Blueprint("login", __name__)

# The wait for PostgreSQL. A failed refresh logs the user out and closes every terminal (docs/protocol.md, rule 3), so
# after this time the refresh succeeds without the database.
REFRESH_SECS = 4.0

_ENDED = "Your log-in has ended. Log in again."


class LoginInput(BaseModel):
    username: str = ""
    email: str = ""
    password: str = Field(max_length=MAX_LENGTH)
    client_type: Literal["terminal", "admin_ui"] = "terminal"

    @property
    def name(self) -> str:
        return (self.username or self.email).strip()

    @model_validator(mode="after")
    def _is_named(self) -> "LoginInput":
        if not self.name:
            raise ValueError("username: is missing")
        return self


class RefreshInput(BaseModel):
    refresh_token: str


@blueprint.post("/api/auth/login")
def log_in() -> Response:
    """Logs a user in: with tokens, or with the page cookie when the request has the header `X-NetStacks-Page`."""
    body = parse(LoginInput)
    proof = authenticate(body.name, body.password)
    if proof is None:
        raise Unauthorized("The user name or the password is not correct.")
    if "X-NetStacks-Page" in request.headers:
        guard.start_page_login(proof)
        response = jsonify(user=as_json(proof.user), csrf_token=guard.csrf_token())
    else:
        try:
            response = jsonify(_begin(proof, body.client_type))
        except SeatLimitReached as error:
            response = jsonify(error=str(error), seats_total=error.seats_total, seats_used=error.seats_used)
            response.status_code = 409
            return response
    known_devices.remember(response, services().tokens, proof.user.id)
    return response


@blueprint.post("/api/auth/refresh")
def refresh() -> dict[str, Any]:
    """New tokens for a refresh token; without PostgreSQL the same refresh token is returned."""
    token = parse(RefreshInput).refresh_token
    claims = services().tokens.read(TokenType.REFRESH, token)
    if claims is None:
        raise Unauthorized(_ENDED)
    try:
        subject, token = _rotate(claims)
    except StoreUnavailable as error:
        log.warning("auth.refreshed_without_database", login_id=str(claims.subject.login_id), error=str(error))
        if guard.login_states().last_known_role(claims.subject) is None:
            raise Unauthorized(_ENDED) from None
        subject = claims.subject
    return _tokens(subject, token)


@blueprint.post("/api/auth/logout")
def log_out() -> Response:
    """Ends the log-in of the bearer token or of the page cookie."""
    guard.end_login()
    return jsonify(status="logged out")


@blueprint.delete("/api/auth/logins/<uuid:login_id>")
@guard.requires()
def end_own_login(login_id: UUID) -> Response:
    """Ends another log-in of the same user, such as one on a lost device."""
    user_id = guard.identity().user_id
    with services().database.transaction() as tx:
        access.lock(tx, user_id)
        guard.confirm(tx)
        logins.revoke_own(tx, user_id, login_id)
        audit.append(tx, guard.actor(), "auth.logout", f"user:{user_id}", login=str(login_id))
    services().withdrawals.everywhere(Withdrawal(user_id, Scope.LOGINS, (login_id,)))
    return Response(status=204)


@blueprint.get("/api/auth/me")
@guard.requires()
def me() -> dict[str, Any]:
    with services().database.transaction() as tx:
        return as_json(users.get(tx, guard.identity().user_id))


@blueprint.get("/api/auth/providers")
def providers() -> Response:
    return jsonify([{"type": "local", "name": "Local users", "enabled": True}])


def as_json(user: User) -> dict[str, Any]:
    """A user in the API: the client's `User`, plus `name` and `role` (docs/protocol.md, 3.1)."""
    return {
        "id": str(user.id),
        "username": user.username,
        "email": user.email,
        "display_name": user.display_name,
        "name": user.display_name or user.username,
        "role": user.role,
        "roles": [user.role],
        "permissions": sorted(permissions.of_role(user.role)),
        "auth_provider": "local",
        "is_active": user.is_active,
        "created_at": timestamp(user.created_at),
        "last_login": timestamp(user.last_login_at),
    }


def _begin(proof: Authenticated, client_type: Literal["terminal", "admin_ui"]) -> dict[str, Any]:
    tokens = services().tokens
    token_id = tokens.new_token_id()
    with services().database.transaction() as tx:
        # Before the lock on the seats: a wait for this user's lock must not delay the log-ins of other users.
        access.lock(tx, proof.user.id)
        if client_type == "terminal":
            services().licensing.take_seat(tx, proof.user.id)
        subject = guard.begin_login(tx, proof, client_type, token_id)
    return {**_tokens(subject, tokens.issue(TokenType.REFRESH, subject, token_id)), "user": as_json(proof.user)}


def _rotate(claims: Claims) -> tuple[Subject, str]:
    user_id, login_id = claims.subject.user_id, claims.subject.login_id
    next_id = services().tokens.next_token_id(claims.token_id)
    with services().database.transaction(timeout_secs=REFRESH_SECS) as tx:
        max_days = services().settings.login_max_days
        refreshed = logins.refresh(tx, login_id, token_id=claims.token_id, next_id=next_id, max_days=max_days)
        if refreshed and refreshed.result is Refresh.REUSED:
            actor = audit.Actor(refreshed.username, user_id, request.remote_addr)
            audit.append(tx, actor, "auth.refresh_reused", f"user:{user_id}", login_id=str(login_id))
    if refreshed is None:
        raise Unauthorized(_ENDED)
    if refreshed.result is Refresh.REUSED:
        services().withdrawals.everywhere(Withdrawal(user_id, Scope.LOGINS, (login_id,)))
        raise Unauthorized(_ENDED)
    subject = Subject(user_id, refreshed.username, refreshed.role, login_id)
    return subject, services().tokens.issue(TokenType.REFRESH, subject, next_id)


def _tokens(subject: Subject, refresh_token: str) -> dict[str, Any]:
    return {
        "access_token": services().tokens.issue(TokenType.ACCESS, subject),
        "refresh_token": refresh_token,
        "token_type": "Bearer",
        "expires_in": int(ACCESS_TTL.total_seconds()),
    }
