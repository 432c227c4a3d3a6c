"""`/share` and `/ws/shared`: the page and the WebSocket of viewers (docs/protocol.md, 7)."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from uuid import UUID, uuid4

from flask import Blueprint, render_template, request

from netstacks import greenlets
from netstacks.cluster.clocks import TOLERATED_SECS
from netstacks.errors import Forbidden, InvalidInput, NetstacksError, StoreBusy, StoreUnavailable
from netstacks.peer.token import PeerPrincipal
from netstacks.store import audit, shares
from netstacks.store.audit import Actor
from netstacks.store.setting_definitions import SHARING
from netstacks.web import peer
from netstacks.web.auth import guard, origins
from netstacks.web.context import Services, services
from netstacks.web.viewers.viewer_connection import SharedSession, ViewerConnection
from netstacks.web.viewers.viewing import ViewerRequest, refuse, watch
from netstacks.web.ws.routes import Sock, WebSocket
from netstacks.web.ws.terminal import parse_login, parse_resume

blueprint = Blueprint("shared", __name__)
sock = Sock()

# The timeout of a share check. After it the token counts, until the next check.
_DATABASE_SECS = 2.0
_GUEST = "guest"

_Connection = Callable[[WebSocket], ViewerConnection]


@blueprint.get("/share")
def page() -> str:
    """The page of a share link. The token is in the URL's fragment, which only the page's script reads."""
    return render_template("share.html")


def _authorise() -> _Connection | NetstacksError:
    origins.check()
    try:
        return _check()
    except NetstacksError as error:
        # Clients show the text of an Error frame, but nothing of a refused upgrade (docs/protocol.md, 7).
        return error


def _check() -> _Connection:
    invitation = services().share_tokens.read(request.args.get("share", ""))
    if invitation is None:
        raise Forbidden("this link is not complete, or not of this controller: ask for a new one")
    user = guard.identify(anew=True)
    principal = PeerPrincipal(
        kind="viewer",
        permission=invitation.permission,
        user_id=user.user_id if user else None,
        username=user.username if user else _GUEST,
        address=request.remote_addr,
        share_id=str(invitation.share_id),
        max_viewers=invitation.max_viewers,
        expires_at=invitation.expires_at,
    )
    agent = services().agent
    shared_session = SharedSession(invitation.session_id, services().broker, lambda: agent.is_draining)
    viewer_request = _request(principal, user.login_id if user else None, returns="viewer" in request.args)
    speaks_offsets = parse_resume().speaks_offsets
    reason = viewer_request.over()
    if reason is not None:
        raise Forbidden(reason)
    return partial(ViewerConnection, shared=shared_session, request=viewer_request, speaks_offsets=speaks_offsets)


def _admit(session_id: UUID) -> partial[None]:
    admitted = peer.admit(session_id)
    if admitted.principal.kind != "viewer":
        raise Forbidden("This endpoint is for viewers only.")
    viewer_request = _request(admitted.principal, parse_login(), returns="returns" in request.args)
    return partial(watch, request=viewer_request, location=admitted.location, resume=parse_resume())


def _request(principal: PeerPrincipal, login_id: UUID | None, *, returns: bool) -> ViewerRequest:
    parts = services()
    actor = Actor(principal.username, principal.user_id, principal.address, login_id)
    viewer_request = ViewerRequest(
        principal,
        _viewer_id(),
        _over_of(parts, principal),
        partial(parts.deferred_writes.put, audit.append, actor),
        returns,
        login_id,
    )
    # A guest has no access besides the share.
    return (
        replace(viewer_request, confirm=partial(parts.withdrawals.confirm, actor, None))
        if principal.user_id
        else viewer_request
    )


def _viewer_id() -> UUID:
    """The viewer's id. Our own page sends the same id when it reconnects, so that it replaces its former view."""
    text = request.args.get("viewer")
    try:
        return UUID(text) if text else uuid4()
    except ValueError as error:
        raise InvalidInput(f"viewer={text!r}: it must be a UUID") from error


def _over(parts: Services, principal: PeerPrincipal) -> str | None:
    """Why a share is not valid any more; None while it is. Expiry is judged by PostgreSQL's clock, which has set it.

    Without the database the token alone counts, by this instance's clock; a revocation takes effect later.
    Raises StoreBusy when the database is reachable but has no free connection.
    """
    assert principal.share_id is not None
    assert principal.expires_at is not None
    if not parts.system_settings.get(SHARING).enabled:
        return "an administrator has switched the sharing of sessions off"
    try:
        with parts.routing_database.transaction(timeout_secs=_DATABASE_SECS) as tx:
            return None if shares.is_open(tx, UUID(principal.share_id)) else "this share was revoked, or has expired"
    except StoreBusy:
        raise
    except StoreUnavailable:
        return "this share has expired" if principal.expires_at + TOLERATED_SECS <= time.time() else None


def _over_of(parts: Services, principal: PeerPrincipal) -> greenlets.SingleFlight:
    """`_over` for one share: when the session's owner is lost, all viewers of the share ask and share one answer."""
    assert principal.share_id is not None
    check = parts.share_checks.get(principal.share_id)
    if check is None:
        check = greenlets.SingleFlight("share-check", partial(_over, parts, principal))
        parts.share_checks[principal.share_id] = check
    return check


@sock.route("/ws/shared", bp=blueprint, authorise=_authorise)
def shared(ws: WebSocket, connect: _Connection | NetstacksError) -> None:
    if isinstance(connect, NetstacksError):
        refuse(ws, connect)
    else:
        connect(ws).run()


@sock.route("/peer/sessions/<uuid:session_id>/shared", bp=blueprint, authorise=_admit)
def shared_through_peer(ws: WebSocket, serve: partial[None], session_id: UUID) -> None:
    serve(ws)
