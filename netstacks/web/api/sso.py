"""Log-in by single sign-on: the way to the identity provider and back. Any instance may take the second half."""

from contextlib import suppress
from typing import Literal, cast
from urllib.parse import quote
from uuid import UUID

import structlog
from flask import Blueprint, Response, redirect, request
from pydantic import BaseModel
from typing_extensions import TypedDict
from werkzeug.exceptions import BadGateway, HTTPException, TooManyRequests

from netstacks.errors import Forbidden, NetstacksError, NotFound
from netstacks.formats import Uuid
from netstacks.hosts import network
from netstacks.store import external_identities, failed_logins, identity_providers
from netstacks.store.failed_logins import Attempt
from netstacks.store.identity_providers import IdentityProvider
from netstacks.urls import Origin
from netstacks.web.api import sso_users
from netstacks.web.auth import metrics, oidc_flow, origins, page_cookie, signed_texts
from netstacks.web.auth.oidc_directory import CHECKED_SECS
from netstacks.web.auth.oidc_errors import ProviderUnavailable, SsoRefused
from netstacks.web.auth.oidc_flow import CodeExchange, Flow
from netstacks.web.auth.oidc_profile import profile_of
from netstacks.web.auth.parts import auth_parts
from netstacks.web.auth.tokens import Subject
from netstacks.web.context import services
from netstacks.web.http import cookies
from netstacks.web.http.declarations import answers, takes_body, takes_query
from netstacks.web.http.json_response import JsonResponse, json_response
from netstacks.web.http.outputs import as_sentence
from netstacks.web.http.own_path import own_path

log = structlog.get_logger()

blueprint = Blueprint("sso", __name__)

_FLOW_COOKIE = "netstacks_sso"
_REFUSAL_COOKIE = "netstacks_sso_refusal"
_REFUSAL = "sso-refusal"
_REFUSAL_SECS = 120.0

_NOT_BEGUN = "This log-in was not begun in this browser, or it has taken more than a few minutes. Log in again."


# A longer path does not fit into the cookie.
_MAX_PATH = 1500


class Start(BaseModel):
    """The path that the user gets to after the log-in. One of another site, or a very long one, counts as `/`."""

    next: str = "/"

    @property
    def path(self) -> str:
        return own_path(self.next) if len(self.next) <= _MAX_PATH else "/"


class ProviderAnswer(BaseModel):
    """The query string that the provider sends the browser back with."""

    code: str | None = None
    error: str | None = None
    iss: str | None = None
    state: str | None = None


class SsoProvider(TypedDict):
    """An identity provider on the log-in page."""

    type: Literal["oidc"]
    name: str
    enabled: Literal[True]
    id: Uuid
    start_url: str
    """The path for the `POST` that begins a log-in."""
    problem: str | None
    """Why users cannot log in by it now."""


class Started(TypedDict):
    location: str
    """The address at the provider where the log-in goes on."""


class Refusal(TypedDict):
    error: str | None


@blueprint.post("/api/auth/sso/<uuid:provider_id>/start")
@takes_body(Start)
@answers(403, 502)
def start(body: Start, provider_id: UUID) -> JsonResponse[Started]:
    """Begins a log-in: sets the cookie that the callback needs, and returns the address at the provider.

    The page's header Origin says which address users open, and the provider's entry must name it: the header Host,
    which it also has to match, is what the client writes.
    """
    with services().database.transaction() as tx:
        provider = identity_providers.find(tx, provider_id)
    if not provider.enabled:
        raise NotFound("there is no such identity provider")
    origin = _confirmed_origin(provider)
    try:
        metadata = auth_parts().oidc.metadata(provider, max_age_secs=CHECKED_SECS)
    except ProviderUnavailable as error:
        raise BadGateway(str(oidc_flow.of_provider(provider, error))) from error
    flow = Flow.begin(provider.id, redirect_uri(provider, origin), body.path)
    location = oidc_flow.authorization_url(services().tokens, provider, metadata, flow)
    response: JsonResponse[Started] = json_response({"location": location})
    value = oidc_flow.cookie_of(services().tokens, flow)
    cookies.put(response, _FLOW_COOKIE, value, max_age_secs=signed_texts.TTL_SECS)
    return response


@blueprint.get("/api/auth/sso/<uuid:provider_id>/callback")
@takes_query(ProviderAnswer, keeps_empty=True)
@answers(302)
def callback(query: ProviderAnswer, provider_id: UUID) -> Response:
    """The way back from the provider: logs the user in, or leads to the log-in page, which says what is wrong.

    Each provider has an address of its own, so that the answer of one is never taken for that of another (RFC 9700,
    section 4.4).
    """
    flow = _flow(provider_id, query)
    try:
        if flow is None:
            raise SsoRefused("not_begun", _NOT_BEGUN)
        with metrics.counting_refusals():
            subject = _finish(flow, query)
        page_cookie.issue(subject)
        response = cast(Response, redirect(flow.next))
    except (NetstacksError, HTTPException) as error:
        text = error.description if isinstance(error, HTTPException) else str(error)
        log.info("sso.refused", reason=getattr(error, "reason", type(error).__name__), error=text)
        response = _to_login_page(flow, as_sentence(text or "The log-in has failed. Log in again."))
    cookies.delete(response, _FLOW_COOKIE)
    return response


@blueprint.get("/api/auth/sso/refusal")
def refusal() -> JsonResponse[Refusal]:
    """Why the last log-in of this browser was refused, once; null when there is nothing to tell.

    In a signed cookie, and not in the address: a link could make this site show any text.
    """
    read = (signed_texts.read(services().tokens, _REFUSAL, each) for each in cookies.values(request, _REFUSAL_COOKIE))
    texts = [signed.content["text"] for signed in read if signed]
    response: JsonResponse[Refusal] = json_response({"error": texts[0] if texts else None})
    cookies.delete(response, _REFUSAL_COOKIE)
    return response


def providers_as_json() -> list[SsoProvider]:
    """The enabled identity providers for the log-in page; `problem` says why one cannot be used now."""
    with services().database.transaction() as tx:
        enabled = [provider for provider in identity_providers.list_all(tx) if provider.enabled]
    return [
        {
            "type": "oidc",
            "name": provider.name,
            "enabled": True,
            "id": str(provider.id),
            "start_url": f"/api/auth/sso/{provider.id}/start",
            "problem": problem,
        }
        for provider, problem in zip(enabled, auth_parts().oidc.problems(enabled), strict=True)
    ]


def end_session_url(login_id: UUID) -> str | None:
    """Where the browser logs out at the provider that this log-in came from; None when the provider has no such page.

    OpenID Connect RP-Initiated Logout, without `id_token_hint`: this controller keeps no token of the provider.
    """
    with suppress(NetstacksError):
        with services().database.transaction() as tx:
            provider_id = external_identities.origin_of(tx, login_id)
            provider = identity_providers.find(tx, provider_id) if provider_id else None
        if provider is None or (url := auth_parts().oidc.metadata(provider).end_session_endpoint) is None:
            return None
        from authlib.common.urls import add_params_to_uri

        parameters = [("client_id", provider.client_id)]
        if (origin := request.headers.get("Origin")) in provider.origins:
            parameters.append(("post_logout_redirect_uri", f"{origin}/login"))
        return str(add_params_to_uri(url, parameters))
    return None


def redirect_uri(provider: IdentityProvider, origin: str) -> str:
    """Where the provider sends users back to, when they have begun at this origin."""
    return f"{origin}/api/auth/sso/{provider.id}/callback"


def _confirmed_origin(provider: IdentityProvider) -> str:
    """The origin of the page of this request. Raises Forbidden unless it is one of the provider's entry."""
    given = request.headers.get("Origin")
    if given is None:
        raise Forbidden("A log-in by single sign-on begins on the log-in page of this controller.")
    origins.check()
    origin = str(Origin.parse(given))
    if origin not in provider.origins:
        raise Forbidden(
            f"Log-in with {provider.name} does not work at the address {origin}. An administrator can add it to the"
            " addresses of the provider, in Administration, Single sign-on."
        )
    return origin


def _flow(provider_id: UUID, query: ProviderAnswer) -> Flow | None:
    """The log-in at this provider that this browser has begun with the state of this answer."""
    values = cookies.values(request, _FLOW_COOKIE)
    flows = (oidc_flow.flow_of(services().tokens, value, query.state or "") for value in values)
    return next((flow for flow in flows if flow and flow.provider_id == str(provider_id)), None)


def _finish(flow: Flow, query: ProviderAnswer) -> Subject:
    """Raises SsoRefused, and TooManyRequests after many answers that the provider has refused."""
    with services().database.transaction() as tx:
        provider = sso_users.current_provider(tx, UUID(flow.provider_id))
        secret = identity_providers.secret_of(tx, services().vault, provider)
    if flow.redirect_uri not in (redirect_uri(provider, each) for each in provider.origins):
        raise SsoRefused("origin_removed", f"This address was removed from those of {provider.name}. Log in again.")
    # The counter is of this provider and address alone: guesses from elsewhere must not keep users out.
    attempt = Attempt(f"sso {provider.id}", network(request.remote_addr), is_known=True)
    with auth_parts().oidc.exchanges.slot(attempt.address, is_known=False):
        with services().database.transaction() as tx:
            wait_secs = failed_logins.reserve(tx, attempt, auth_parts().lockout()).wait_secs
        if wait_secs:
            text = f"Too many log-ins with {provider.name} have failed. Try again in {wait_secs} seconds."
            raise TooManyRequests(text, retry_after=wait_secs)
        try:
            code = _code(provider, query)
            exchange = CodeExchange(auth_parts().oidc, services().tokens, provider, secret, flow)
            profile = profile_of(provider, exchange.claims(code, query.iss))
        except ProviderUnavailable as error:
            raise oidc_flow.of_provider(provider, error) from error
        except SsoRefused as error:
            with services().database.transaction() as tx:
                sso_users.note_refusal(tx, provider, error)
                failed_logins.note_pair(tx, attempt)
            raise
    with services().database.transaction() as tx:
        failed_logins.forgive(tx, attempt)
    return sso_users.log_in(provider, profile)


def _code(provider: IdentityProvider, query: ProviderAnswer) -> str:
    """The code of the provider's answer. Raises SsoRefused when the provider has refused the log-in."""
    if query.error is not None:
        named = oidc_flow.word(query.error)
        if named == "access_denied":
            raise SsoRefused("access_denied", f"The log-in was cancelled or refused at {provider.name}.")
        raise SsoRefused("provider_error", f"{provider.name} refused the log-in{f' ({named})' if named else ''}.")
    if not query.code:
        raise SsoRefused("no_code", f"{provider.name} sent neither a code nor an error. Log in again.")
    return query.code


def _to_login_page(flow: Flow | None, text: str) -> Response:
    next_path = f"next={quote(flow.next)}&" if flow else ""
    response = cast(Response, redirect(f"/login?{next_path}sso=refused"))
    value = signed_texts.issue(services().tokens, _REFUSAL, {"text": text})
    cookies.put(response, _REFUSAL_COOKIE, value, max_age_secs=_REFUSAL_SECS)
    return response
