"""`/api/sessions/{id}/share` and `/viewers`: shares of a session, and its viewers (docs/protocol.md, 7)."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from flask import Blueprint, Response, jsonify, url_for
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from netstacks.errors import Conflict, NotFound, RetryLater, SessionGone
from netstacks.formats import Timestamp, Uuid
from netstacks.instance.pending_claims import PendingClaim
from netstacks.peer.claims import EndingViews, FormOfSession, OfSession
from netstacks.peer.client import Reply
from netstacks.store import audit, sessions, shares
from netstacks.store.pool import Transaction
from netstacks.store.sessions import SessionRow
from netstacks.store.setting_definitions import SHARING
from netstacks.store.shares import Permission, Share
from netstacks.terminal.session import Session
from netstacks.terminal.viewer import ViewerJson, expel, viewers
from netstacks.web import peer
from netstacks.web.auth import features, guard
from netstacks.web.auth.seeing import sight
from netstacks.web.auth.share_tokens import Invitation
from netstacks.web.context import services
from netstacks.web.http.declarations import after, answers, takes_body
from netstacks.web.http.json_response import JsonResponse, json_response
from netstacks.web.http.outputs import timestamp

blueprint = Blueprint("shares", __name__)
log = structlog.get_logger()

_SHARES = "/api/sessions/<uuid:session_id>/share"
_VIEWERS = "/api/sessions/<uuid:session_id>/viewers"


class _NewShare(BaseModel):
    permission: Permission = "read-only"
    ttl_minutes: int = Field(60, ge=5, le=1440)
    max_viewers: int = Field(5, ge=1, le=50)


class ShareJson(TypedDict):
    token: str
    share_url: str
    """The link for a browser."""
    permission: Permission
    max_viewers: int
    created_at: Timestamp
    expires_at: Timestamp


class NewShareJson(TypedDict):
    share_url: str
    """The link for a browser."""
    token: str
    expires_at: Timestamp


class SingleShareJson(ShareJson):
    """A share and how many viewers it has now."""

    session_id: Uuid
    created_by: str
    viewer_count: int


class LateRevocation(TypedDict):
    """The share is revoked; its views end later."""

    status: str


class Viewers(TypedDict):
    items: list[ViewerJson]


@blueprint.get(_SHARES)
@guard.requires()
def browse(session_id: UUID) -> list[ShareJson]:
    """The shares of a session."""
    with services().database.transaction() as tx:
        session = _managed(tx, session_id)
        found = [] if session.state == "ended" else shares.open_of(tx, session_id)
    return [_item(share) for share in found]


def _check_sharing() -> None:
    features.check(services().system_settings.get, SHARING)


@blueprint.post(_SHARES)
@guard.requires()
@after(_check_sharing)
@takes_body(_NewShare)
@answers(201)
def create(wanted: _NewShare, session_id: UUID) -> tuple[NewShareJson, int]:
    """Shares a session by a link."""
    with guard.transaction() as tx:
        if _managed(tx, session_id).state == "ended":
            raise Conflict("This session has ended. Only a live one can be shared.")
        share = shares.create(
            tx,
            session_id=session_id,
            permission=wanted.permission,
            max_viewers=wanted.max_viewers,
            ttl=timedelta(minutes=wanted.ttl_minutes),
            created_by=guard.identity().username,
        )
        _note(tx, "session.shared", session_id, share=str(share.id), **wanted.model_dump())
    item = _item(share)
    return {"share_url": item["share_url"], "token": item["token"], "expires_at": item["expires_at"]}, 201


@blueprint.get(f"{_SHARES}/<token>")
@guard.requires()
def show(session_id: UUID, token: str) -> SingleShareJson:
    """One share of a session."""
    share_id = _share_id(session_id, token)
    with services().database.transaction() as tx:
        _managed(tx, session_id)
        # Expiry is judged by PostgreSQL's clock, which has set it: the clocks of instances may differ.
        share = shares.find(tx, share_id) if shares.is_open(tx, share_id) else None
    if share is None:
        raise NotFound("This share has expired or was revoked.")
    count = sum(viewer["share_id"] == str(share_id) for viewer in _watching(session_id))
    return {**_item(share), "session_id": str(session_id), "created_by": share.created_by, "viewer_count": count}


@blueprint.delete(f"{_SHARES}/<token>")
@guard.requires()
@answers(202, 204)
def revoke(session_id: UUID, token: str) -> JsonResponse[LateRevocation] | Response:
    """Revokes a share and ends its views. Idempotent."""
    return _revoke(session_id, _share_id(session_id, token))


@blueprint.delete(_SHARES)
@guard.requires()
@answers(202, 204)
def revoke_all(session_id: UUID) -> JsonResponse[LateRevocation] | Response:
    """Revokes every share of the session and ends all its views."""
    return _revoke(session_id, None)


def _revoke(session_id: UUID, share_id: UUID | None) -> JsonResponse[LateRevocation] | Response:
    """204 when no viewer of these shares is left, 202 when the session's owner could not be reached."""
    with guard.transaction() as tx:
        _managed(tx, session_id)
        for share in shares.revoke(tx, session_id, share_id):
            _note(tx, "session.share_revoked", session_id, share=str(share.id))
    reason = f"this share was revoked by {guard.identity().username}"
    try:
        _at_owner(session_id, "viewers/end", share_id=str(share_id) if share_id else None, reason=reason)
    except RetryLater as error:
        log.info("share.revoked_without_owner", session_id=str(session_id), error=str(error))
        status = "The share is revoked. Its views end as soon as the instance that owns the session answers again."
        return json_response({"status": status}, 202)
    return Response(status=204)


@blueprint.get(_VIEWERS)
@guard.requires()
def watching(session_id: UUID) -> Viewers:
    """The current viewers of the session, connected through any instance."""
    with services().database.transaction() as tx:
        _managed(tx, session_id)
    return {"items": _watching(session_id)}


@blueprint.delete(f"{_VIEWERS}/<uuid:viewer_id>")
@guard.requires()
@answers(204)
def end_view(session_id: UUID, viewer_id: UUID) -> tuple[str, int]:
    """Ends one view. The share stays valid: the viewer can come back until it is revoked."""
    with guard.transaction() as tx:
        _managed(tx, session_id)
    reason = f"{guard.identity().username} has ended your view of this session"
    if not _at_owner(session_id, "viewers/end", viewer_id=str(viewer_id), reason=reason):
        raise NotFound("This viewer has left already.")
    with guard.transaction() as tx:
        _note(tx, "session.view_ended", session_id, viewer=str(viewer_id))
    return "", 204


def end_views_of(share: Share, reason: str) -> None:
    """Ends the views of a share after its revocation is committed. An owner that does not answer checks by itself."""
    try:
        _at_owner(share.session_id, "viewers/end", share_id=str(share.id), reason=reason)
    except RetryLater as error:
        log.info("share.revoked_without_owner", session_id=str(share.session_id), error=str(error))


def _watching(session_id: UUID) -> list[ViewerJson]:
    try:
        return _at_owner(session_id, "viewers")
    except RetryLater:
        return []  # A session without an owner has no viewers.


def _managed(tx: Transaction, session_id: UUID) -> SessionRow:
    """A session of the user's own, or any in sight with `sessions.manage`. Raises NotFound."""
    row = sessions.find_seen(tx, session_id, by=sight())
    if row is None:
        raise NotFound("There is no such session.")
    return row


def _note(tx: Transaction, event: str, session_id: UUID, **details: Any) -> None:
    audit.append(tx, guard.actor(), event, f"session:{session_id}", **details)


def _share_id(session_id: UUID, token: str) -> UUID:
    match services().share_tokens.read(token):
        case Invitation(share_id=share_id, session_id=owned) if owned == session_id:
            return share_id
    raise NotFound("This session has no such share.")


def share_url(share: Share) -> str:
    """The link of a share, for a browser."""
    # In the fragment of the URL: browsers send it to no server, so it appears in no access log.
    has_client = services().settings.terminal_web_dir is not None
    url = f"{url_for('client.file', _external=True)}#share=" if has_client else f"{_page_url()}#"
    return f"{url}{services().share_tokens.issue(share)}"


def _item(share: Share) -> ShareJson:
    return {
        "token": services().share_tokens.issue(share),
        "share_url": share_url(share),
        "permission": share.permission,
        "max_viewers": share.max_viewers,
        "created_at": timestamp(share.created_at),
        "expires_at": timestamp(share.expires_at),
    }


def _page_url() -> str:
    return url_for("shared.page", _external=True)


# Operations at the session's owner: no other instance knows the viewers.


def _list(session: Session) -> list[ViewerJson]:
    return [viewer.describe() for viewer in viewers(session)]


def _end(
    session: Session, *, reason: str, share_id: str | None = None, viewer_id: str | None = None
) -> list[ViewerJson]:
    those = viewers(session, share_id=share_id, viewer_id=viewer_id)
    expel(session, those, reason)
    return [viewer.describe() for viewer in those]


_OPERATIONS: dict[str, Callable[..., list[ViewerJson]]] = {"viewers": _list, "viewers/end": _end}


def _at_owner(session_id: UUID, operation: str, **arguments: str | None) -> list[ViewerJson]:
    """Runs an operation at the session's owner, this instance or a peer. Raises RetryLater when no owner answers."""
    try:
        match services().broker.ask(session_id, operation, **arguments):
            case Session() as session:
                return _OPERATIONS[operation](session, **arguments)
            case Reply(list(found)):
                return found
            case Reply(body):
                raise RetryLater(f"The owner of the session sent an invalid answer ({str(body)[:100]!r}). Try again.")
    except SessionGone:
        pass
    return []


@blueprint.post("/peer/sessions/<uuid:session_id>/viewers")
def list_for_peer(session_id: UUID) -> Response:
    return _answer_peer(session_id, "viewers", OfSession)


@blueprint.post("/peer/sessions/<uuid:session_id>/viewers/end")
def end_for_peer(session_id: UUID) -> Response:
    return _answer_peer(session_id, "viewers/end", EndingViews)


def _answer_peer(session_id: UUID, operation: str, form: type[FormOfSession]) -> Response:
    message, location = peer.owned(session_id, form)
    arguments = message.model_dump(exclude={"epoch"})
    # A session that is still being opened has no viewers.
    return jsonify([] if isinstance(location, PendingClaim) else _OPERATIONS[operation](location, **arguments))
