"""`/share` and `/ws/shared`: for those who were invited to a session (wire contract 7)."""

import time
from functools import partial
from urllib.parse import urlencode
from uuid import UUID, uuid4

from flask import Blueprint, render_template, request

from netstacks.errors import Forbidden, InvalidInput, NetstacksError, SessionGone, StoreBusy, StoreUnavailable
from netstacks.instance.openings import Opening
from netstacks.peer.client import Upgrade, Upstream
from netstacks.peer.token import Visitor
from netstacks.store import audit, shares
from netstacks.store.audit import Actor
from netstacks.store.pool import Database
from netstacks.terminal.session import Session
from netstacks.web import auth, peer
from netstacks.web.context import services
from netstacks.web.sockets import Sock, WebSocket
from netstacks.web.terminal import parse_resume, waiting_for
from netstacks.web.viewing import Call, refuse, watch

blueprint = Blueprint("shared", __name__)
sock = Sock()

# A database that takes longer does not hold a viewer up: its share is looked at the next time.
_DATABASE_SECS = 2.0
_GUEST = "guest"


@blueprint.get("/share")
def page() -> str:
    """For whoever has a link: the token is in the fragment, which only the page's script sees."""
    return render_template("share.html")


def _authorise() -> Call | Upstream | NetstacksError:
    auth.check_origin()
    try:
        return _find()
    except NetstacksError as error:
        # The viewer's page shows what an Error frame says, and of a refused upgrade nothing (wire contract 7).
        return error


def _find() -> Call | Upstream:
    invitation = services().share_tokens.read(request.args.get("share", ""))
    if invitation is None:
        raise Forbidden("this link is not complete, or not of this controller: ask for it once more")
    who = auth.identify()
    visitor = Visitor(
        kind="viewer",
        permission=invitation.permission,
        user_id=who.user_id if who else None,
        username=who.username if who else _GUEST,
        address=request.remote_addr,
        share_id=str(invitation.share_id),
        max_viewers=invitation.max_viewers,
        expires_at=invitation.expires_at,
    )
    reason = _over(services().routing_database, visitor)
    if reason is not None:
        raise Forbidden(reason)
    # Its row may not say so yet.
    ended = services().hub.ended(invitation.session_id)
    if ended is not None:
        raise SessionGone(f"it has ended: {ended[1]}")
    # What is wrong with them must be told here: an owner elsewhere is only heard when it accepts.
    _viewer_id()
    parse_resume()
    handed_on = {name: request.args[name] for name in ("viewer", "offset") if name in request.args}
    upgrade = Upgrade(request.headers["Sec-WebSocket-Key"], urlencode(handed_on))
    place = services().broker.watch(invitation.session_id, visitor, upgrade)
    if place is None:
        raise SessionGone("it has ended")
    return place if isinstance(place, Upstream) else _call(visitor, place)


def _admit(session_id: UUID) -> Call:
    admitted = peer.admit(session_id)
    if admitted.visitor.kind != "viewer":
        raise Forbidden("this door is for viewers")
    return _call(admitted.visitor, admitted.place)


def _call(visitor: Visitor, place: Session | Opening) -> Call:
    outbox = services().outbox
    return Call(
        visitor,
        _viewer_id(),
        parse_resume().speaks_offsets,
        waiting_for(place),
        partial(_over, services().routing_database, visitor),
        partial(outbox.put, audit.append, Actor(visitor.username, visitor.user_id, visitor.address)),
    )


def _viewer_id() -> UUID:
    """Our own page's viewers keep their id when they come back, and so take the place of what is left of them."""
    text = request.args.get("viewer")
    try:
        return UUID(text) if text else uuid4()
    except ValueError as error:
        raise InvalidInput(f"viewer={text!r}: it must be a UUID") from error


def _over(database: Database, visitor: Visitor) -> str | None:
    """Why a share is valid no more. Without the database its token alone counts, and a revocation catches up.

    Raises StoreBusy when the database answers others and not this.
    """
    assert visitor.share_id is not None
    assert visitor.expires_at is not None
    if visitor.expires_at <= time.time():
        return "this share has expired"
    try:
        with database.transaction(timeout_secs=_DATABASE_SECS) as tx:
            return None if shares.is_open(tx, UUID(visitor.share_id)) else "this share was revoked, or has expired"
    except StoreBusy:
        raise
    except StoreUnavailable:
        return None


@sock.route("/ws/shared", bp=blueprint, authorise=_authorise)
def shared(ws: WebSocket, call: Call | NetstacksError) -> None:
    if isinstance(call, NetstacksError):
        refuse(ws, call)
    else:
        watch(ws, call)


@sock.route("/peer/sessions/<uuid:session_id>/shared", bp=blueprint, authorise=_admit)
def shared_through_peer(ws: WebSocket, call: Call, session_id: UUID) -> None:
    watch(ws, call)
