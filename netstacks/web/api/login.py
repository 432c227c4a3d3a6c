"""Log-in, refresh and log-out (docs/protocol.md, 3)."""

from typing import Literal
from uuid import UUID

import structlog
from flask import Blueprint, Response, request
from pydantic import BaseModel, Field, model_validator
from typing_extensions import TypedDict
from werkzeug.exceptions import Unauthorized

from netstacks.crypto.password_rules import MAX_LENGTH
from netstacks.errors import StoreUnavailable
from netstacks.instance.withdrawals import Scope, Withdrawal
from netstacks.store import access, audit, logins, second_factors, users
from netstacks.store.logins import Refresh
from netstacks.store.users import User
from netstacks.web.api import sso
from netstacks.web.api.user_json import UserJson, as_json
from netstacks.web.auth import guard, known_devices, metrics, passkeys, second_factor
from netstacks.web.auth.authenticate import Authenticated, authenticate
from netstacks.web.auth.licensing import SeatLimitReached
from netstacks.web.auth.second_factor import Method, SecondStep
from netstacks.web.auth.tokens import ACCESS_TTL, Claims, Subject, TokenType
from netstacks.web.context import services
from netstacks.web.http.declarations import answers, takes_body
from netstacks.web.http.json_response import JsonResponse, Refused, json_response, refused

log = structlog.get_logger()

blueprint = Blueprint("login", __name__)

# The wait for PostgreSQL. A failed refresh logs the user out and closes every terminal (docs/protocol.md, rule 3), so
# after this time the refresh succeeds without the database.
REFRESH_SECS = 4.0

_ENDED = "Your log-in has ended. Log in again."

ClientType = Literal["terminal", "admin_ui"]


class Client(BaseModel):
    """The client that logs a user in; one of the type `terminal` takes a licence seat."""

    client_type: ClientType = "terminal"


class LoginInput(Client):
    """`code` saves the second step: it is that of an authenticator app, or a recovery code."""

    username: str = ""
    email: str = ""
    password: str = Field(max_length=MAX_LENGTH)
    code: str = Field("", max_length=64)

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


class Tokens(TypedDict):
    """The tokens of a log-in."""

    access_token: str
    """For the header `Authorization: Bearer`."""
    refresh_token: str
    """For `POST /api/auth/refresh`, once."""
    token_type: Literal["Bearer"]
    expires_in: int
    """Seconds for which the access token is valid."""


class LoggedIn(Tokens):
    """A completed log-in of a program."""

    user: UserJson


class PageLoggedIn(TypedDict):
    """A completed log-in of a page, which has the page cookie in place of tokens."""

    user: UserJson
    csrf_token: str
    """For the header `X-CSRF-Token` of changes."""


class SecondFactorRequired(TypedDict):
    """The password is correct, and the user must give a second factor as well."""

    error: str
    code: Literal["SECOND_FACTOR_REQUIRED"]
    methods: list[Method]
    """Those of the user's second factors that work for this client."""
    ticket: str
    """It stands for the password in the next step of the log-in."""


class NoSeat(TypedDict):
    """Other users have all the seats of the licence."""

    error: str
    """It begins with `seat_limit_reached:`."""
    seats_total: int
    seats_used: int


Begun = JsonResponse[LoggedIn | PageLoggedIn] | Refused[Literal[409], NoSeat]


class LoggedOut(TypedDict):
    status: Literal["logged out"]
    end_session_url: str | None
    """Where the browser logs out at the identity provider."""


class LocalProvider(TypedDict):
    """The log-in with a user name and a password."""

    type: Literal["local"]
    name: str
    enabled: bool


@blueprint.post("/api/auth/login")
@takes_body(LoginInput)
@answers(401, 403, 429)
def log_in(body: LoginInput) -> Begun | Refused[Literal[401], SecondFactorRequired]:
    """Logs a user in: with tokens, or with the page cookie when the request has the header `X-NetStacks-Page`.

    A user with a second factor is asked for it, unless the code is in `code` or follows the password.
    """
    with metrics.counting_refusals():
        proof = authenticate(body.name, body.password, may_end_in_code=not is_page() and not body.code)
        if proof is None:
            raise Unauthorized("The user name or the password is not correct.")
    site = passkeys.site()
    step = second_factor.step_after(proof, site.rp_id if site else None)
    if step is not None:
        code = body.code or proof.code
        if not code:
            return _ask(step)
        with metrics.counting_refusals():
            second_factor.check_code(proof.user, code)
    return begin(proof, body.client_type)


def is_page() -> bool:
    """Whether a page logs its user in, which gets the cookie in place of tokens."""
    return "X-NetStacks-Page" in request.headers


def _ask(step: SecondStep) -> Refused[Literal[401], SecondFactorRequired]:
    hint = " Add the 6 digits of your authenticator app to the end of your password." if "totp" in step.methods else ""
    body: SecondFactorRequired = {
        "error": f"A second factor is required.{hint}",
        "code": "SECOND_FACTOR_REQUIRED",
        "methods": step.methods,
        "ticket": step.ticket,
    }
    response: Refused[Literal[401], SecondFactorRequired] = refused(401, body)
    response.headers["WWW-Authenticate"] = "Bearer"
    return response


def begin(proof: Authenticated, client_type: ClientType) -> Begun:
    """The answer to a completed log-in. Raises Unauthorized when access was withdrawn meanwhile."""
    if is_page():
        with metrics.counting_refusals():
            guard.start_page_login(proof)
        answer: LoggedIn | PageLoggedIn = {"user": _user_json(proof.user), "csrf_token": guard.csrf_token()}
    else:
        try:
            with metrics.counting_refusals():
                answer = _begin(proof, client_type)
        except SeatLimitReached as error:
            body: NoSeat = {"error": str(error), "seats_total": error.seats_total, "seats_used": error.seats_used}
            return refused(409, body)
    response = json_response(answer)
    known_devices.remember(response, services().tokens, proof.user.id)
    return response


@blueprint.post("/api/auth/refresh")
@takes_body(RefreshInput)
@answers(401)
def refresh(body: RefreshInput) -> Tokens:
    """New tokens for a refresh token; without PostgreSQL the same refresh token is returned."""
    token = body.refresh_token
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
@answers(401, 403)
def log_out() -> LoggedOut:
    """Ends the log-in of the bearer token or of the page cookie.

    `end_session_url` is where the browser then logs out at the identity provider that the log-in came from, or null.
    """
    login_id = guard.identity().login_id
    guard.end_login()
    return {"status": "logged out", "end_session_url": sso.end_session_url(login_id)}


@blueprint.delete("/api/auth/logins/<uuid:login_id>")
@guard.requires()
@answers(204)
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
def me() -> UserJson:
    """The user of the request."""
    with services().database.transaction() as tx:
        user = users.get(tx, guard.identity().user_id)
        return as_json(user, second_factors.kinds_of(tx, user.id))


@blueprint.get("/api/auth/providers")
def providers() -> list[LocalProvider | sso.SsoProvider]:
    """How users log in. The client knows `type`, `name`, `enabled` (docs/protocol.md, 3.5); pages know the others."""
    return [{"type": "local", "name": "Local users", "enabled": True}, *sso.providers_as_json()]


def _user_json(user: User) -> UserJson:
    with services().database.transaction() as tx:
        return as_json(user, second_factors.kinds_of(tx, user.id))


def _begin(proof: Authenticated, client_type: ClientType) -> LoggedIn:
    tokens = services().tokens
    token_id = tokens.new_token_id()
    with services().database.transaction() as tx:
        # Before the lock on the seats: a wait for this user's lock must not delay the log-ins of other users.
        access.lock(tx, proof.user.id)
        if client_type == "terminal":
            services().licensing.take_seat(tx, proof.user.id)
        subject = guard.begin_login(tx, proof, client_type, token_id)
    return {**_tokens(subject, tokens.issue(TokenType.REFRESH, subject, token_id)), "user": _user_json(proof.user)}


def _rotate(claims: Claims) -> tuple[Subject, str]:
    user_id, login_id = claims.subject.user_id, claims.subject.login_id
    next_id = services().tokens.next_token_id(claims)
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


def _tokens(subject: Subject, refresh_token: str) -> Tokens:
    return {
        "access_token": services().tokens.issue(TokenType.ACCESS, subject),
        "refresh_token": refresh_token,
        "token_type": "Bearer",
        "expires_in": int(ACCESS_TTL.total_seconds()),
    }
