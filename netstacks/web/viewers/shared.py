"""`/share` and `/ws/shared`: for those who were invited to a session (wire contract 7)."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from uuid import UUID, uuid4
from weakref import WeakValueDictionary

from flask import Blueprint, render_template, request

from netstacks import greenlets
from netstacks.cluster.clocks import TOLERATED_SECS
from netstacks.errors import Forbidden, InvalidInput, NetstacksError, StoreBusy, StoreUnavailable
from netstacks.peer.token import PeerPrincipal
from netstacks.store import audit, shares
from netstacks.store.audit import Actor
from netstacks.store.pool import Database
from netstacks.web import peer
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.viewers.viewer_connection import SharedSession, ViewerConnection
from netstacks.web.viewers.viewing import ViewerRequest, refuse, watch
from netstacks.web.ws.routes import Sock, WebSocket
from netstacks.web.ws.terminal import parse_login, parse_resume

blueprint = Blueprint("shared", __name__)
sock = Sock()

# A database that takes longer does not hold a viewer up: its share is looked at the next time.
_DATABASE_SECS = 2.0
_GUEST = "guest"

_Connection = Callable[[WebSocket], ViewerConnection]


@blueprint.get("/share")
def page() -> str:
    """For whoever has a link: the token is in the fragment, which only the page's script sees."""
    return render_template("share.html")


def _authorise() -> _Connection | NetstacksError:
    guard.check_origin()
    try:
        return _check()
    except NetstacksError as error:
        # The viewer's page shows what an Error frame says, and of a refused upgrade nothing (wire contract 7).
        return error


def _check() -> _Connection:
    invitation = services().share_tokens.read(request.args.get("share", ""))
    if invitation is None:
        raise Forbidden("this link is not complete, or not of this controller: ask for it once more")
    who = guard.identify(anew=True)
    principal = PeerPrincipal(
        kind="viewer",
        permission=invitation.permission,
        user_id=who.user_id if who else None,
        username=who.username if who else _GUEST,
        address=request.remote_addr,
        share_id=str(invitation.share_id),
        max_viewers=invitation.max_viewers,
        expires_at=invitation.expires_at,
    )
    agent = services().agent
    shared_session = SharedSession(invitation.session_id, services().broker, lambda: agent.is_draining)
    asked = _request(principal, who.login_id if who else None, returns="viewer" in request.args)
    speaks_offsets = parse_resume().speaks_offsets
    reason = asked.over()
    if reason is not None:
        raise Forbidden(reason)
    return partial(ViewerConnection, shared=shared_session, asked=asked, speaks_offsets=speaks_offsets)


def _admit(session_id: UUID) -> partial[None]:
    admitted = peer.admit(session_id)
    if admitted.principal.kind != "viewer":
        raise Forbidden("this door is for viewers")
    asked = _request(admitted.principal, parse_login(), returns="returns" in request.args)
    return partial(watch, asked=asked, place=admitted.place, resume=parse_resume())


def _request(principal: PeerPrincipal, login_id: UUID | None, *, returns: bool) -> ViewerRequest:
    parts = services()
    actor = Actor(principal.username, principal.user_id, principal.address, login_id)
    asked = ViewerRequest(
        principal,
        _viewer_id(),
        _over_of(parts.routing_database, principal),
        partial(parts.deferred_writes.put, audit.append, actor),
        returns,
        login_id,
    )
    # A guest has no access that could be withdrawn, but for the share.
    return replace(asked, confirm=partial(parts.withdrawals.confirm, actor, None)) if principal.user_id else asked


def _viewer_id() -> UUID:
    """Our own page's viewers keep their id when they come back, and so take the place of what is left of them."""
    text = request.args.get("viewer")
    try:
        return UUID(text) if text else uuid4()
    except ValueError as error:
        raise InvalidInput(f"viewer={text!r}: it must be a UUID") from error


def _over(database: Database, principal: PeerPrincipal) -> str | None:
    """Why a share is valid no more: by PostgreSQL's clock, by which it was made.

    Without the database its token alone counts, by a clock that may differ, and a revocation catches up.
    Raises StoreBusy when the database answers others and not this.
    """
    assert principal.share_id is not None
    assert principal.expires_at is not None
    try:
        with database.transaction(timeout_secs=_DATABASE_SECS) as tx:
            return None if shares.is_open(tx, UUID(principal.share_id)) else "this share was revoked, or has expired"
    except StoreBusy:
        raise
    except StoreUnavailable:
        return "this share has expired" if principal.expires_at + TOLERATED_SECS <= time.time() else None


_checks: WeakValueDictionary[str, greenlets.SingleFlight] = WeakValueDictionary()


def _over_of(database: Database, principal: PeerPrincipal) -> greenlets.SingleFlight:
    """`_over` for one share: its viewers, who all ask when the session's owner was lost, share an answer."""
    assert principal.share_id is not None
    check = _checks.get(principal.share_id)
    if check is None:
        check = greenlets.SingleFlight("share-check", partial(_over, database, principal))
        _checks[principal.share_id] = check
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
