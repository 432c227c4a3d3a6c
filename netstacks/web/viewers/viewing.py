"""A view of a session at its owner, from joining to leaving."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import structlog

from netstacks.errors import (
    AccessWithdrawn,
    Forbidden,
    InvalidInput,
    NetstacksError,
    RetryLater,
    SessionGone,
    StoreBusy,
    StoreUnavailable,
)
from netstacks.instance.pending_claims import PendingClaim
from netstacks.peer.token import PeerPrincipal
from netstacks.terminal import frames
from netstacks.terminal.frames import CloseCode
from netstacks.terminal.protocols import Sink
from netstacks.terminal.resume import Resume, Start, start
from netstacks.terminal.session import Session
from netstacks.terminal.viewer import Viewer, expel, viewers
from netstacks.web.viewers.watchdog import Watchdog
from netstacks.web.ws.routes import ConnectionClosed, WebSocket

log = structlog.get_logger()

# After a change of owners, former viewers get their slots first. They look for the new owner every two seconds at the
# latest.
_RETURN_SECS = 3.0
# Begin with the current screen.
NOW = Resume(None, None, tail=True)


def _confirm_nothing() -> None:
    """A guest has no access that could be withdrawn."""


@dataclass(frozen=True)
class ViewerRequest:
    """A viewer that may join. `over` returns why its share is not valid any more, None while it is valid.

    `confirm` raises AccessWithdrawn when the viewer is a user who has lost access. `note` writes an event to the audit
    log with the viewer as actor. `returns` tells that the viewer has watched this session before.
    """

    principal: PeerPrincipal
    viewer_id: UUID
    over: Callable[[], str | None]
    note: Callable[..., None]
    returns: bool = False
    login_id: UUID | None = None
    """The viewer's log-in; None for a guest."""
    confirm: Callable[[], None] = _confirm_nothing


def refuse(ws: WebSocket, error: NetstacksError) -> None:
    """Sends the reason as an Error frame, and closes. The close code tells our own page whether to retry."""
    match error:
        case SessionGone() | AccessWithdrawn():
            code = CloseCode.ENDED
        case RetryLater() | StoreUnavailable():
            code = CloseCode.RESTARTING
        case _:
            code = CloseCode.REFUSED
    ws.send(frames.error(str(error)))
    ws.close(code, str(error))


def session_at(location: Session | PendingClaim) -> Session:
    """Waits for the session. Raises RetryLater when it has left this instance or could not be opened here."""
    try:
        session = location.wait() if isinstance(location, PendingClaim) else location
    except NetstacksError as error:
        raise RetryLater(f"the session could not be opened here: {error}") from error
    if not session.is_live:
        raise RetryLater("the session has just moved or ended")
    return session


def over_now(request: ViewerRequest) -> str | None:
    """Why the share is not valid any more; None while it is valid, or while the database is too busy to tell."""
    try:
        return request.over()
    except StoreBusy:
        return None


@contextmanager
def viewing(
    sink: Sink,
    request: ViewerRequest,
    session: Session,
    resume: Resume,
    *,
    speaks_offsets: bool,
    on_finish: Callable[[CloseCode, str], bool] | None = None,
    is_wanted: Callable[[], bool] = lambda: True,
) -> Iterator[Viewer]:
    """Attaches a viewer to a session for the duration of the block. A redraw of the screen stops unless `is_wanted`.

    Raises Forbidden when the viewer limit is reached or the share is over, RetryLater when the session has left this
    instance, and ConnectionClosed when the viewer has.
    """
    # Before the redraw, which is expensive; checked again without a yield in `_join`.
    _check_limit(session, request)
    begin = _begin(session, resume, is_wanted)
    _confirm(request, session)
    viewer = _join(sink, request, session, begin, speaks_offsets, on_finish)
    resource = f"session:{session.id}"
    about = {"viewer": str(viewer.viewer_id), "share": viewer.share_id, "permission": viewer.permission}
    request.note("session.viewer_joined", resource, **about)
    try:
        yield viewer
    finally:
        session.detach(viewer)
        request.note("session.viewer_left", resource, **about)


def _confirm(request: ViewerRequest, session: Session) -> None:
    """Checks again that the viewer may join: a revocation before `attach` cannot end its view.

    The caller must not yield between this and `attach`. Raises Forbidden, AccessWithdrawn and RetryLater.
    """
    seen = -1
    # The checks yield: an expulsion meanwhile may concern this viewer, so they are repeated.
    while seen != session.expulsions:
        seen = session.expulsions
        try:
            reason = request.over()
        except StoreBusy as error:
            raise RetryLater("the share cannot be checked now") from error
        if reason is not None:
            raise Forbidden(reason)
        request.confirm()


def _check_limit(session: Session, request: ViewerRequest) -> None:
    """Raises Forbidden when the share's viewer limit is reached by others."""
    most = request.principal.max_viewers
    assert most is not None
    others = [
        each for each in viewers(session, share_id=request.principal.share_id) if each.viewer_id != request.viewer_id
    ]
    if len(others) >= most:
        raise Forbidden(f"the viewer limit of this share is reached ({most}): try again when a viewer has left")


def _join(
    sink: Sink,
    request: ViewerRequest,
    session: Session,
    begin: Start,
    speaks_offsets: bool,
    on_finish: Callable[[CloseCode, str], bool] | None,
) -> Viewer:
    principal = request.principal
    assert principal.share_id is not None
    # No yield from here to `attach`: the count would be stale, and access could be withdrawn after `_confirm`.
    if not session.is_live:
        raise RetryLater("the session has just moved or ended")
    if session.facts.epoch > 1 and not request.returns and time.time() < session.opened_at + _RETURN_SECS:
        raise RetryLater("the session has just changed its owner, and former viewers reconnect first")
    _check_limit(session, request)
    for former in viewers(session, share_id=principal.share_id, viewer_id=str(request.viewer_id)):
        session.detach(former)
        former.drop(CloseCode.SUPERSEDED, "this viewer has reconnected over another connection")
    viewer = Viewer(
        sink,
        viewer_id=request.viewer_id,
        share_id=principal.share_id,
        permission=principal.permission,
        user_id=principal.user_id,
        username=principal.username,
        login_id=request.login_id,
        address=principal.address,
        speaks_offsets=speaks_offsets,
    )
    if on_finish is not None:
        viewer.on_finish = on_finish
    viewer.queue(frames.session_info(**_about(session, viewer, begin.cursor, principal.expires_at)))
    viewer.follow_window(session.cols, session.rows)
    if begin.before:
        viewer.show(begin.before)
    session.attach(viewer, begin.cursor)
    return viewer


def _begin(session: Session, resume: Resume, is_wanted: Callable[[], bool]) -> Start:
    """The start of the view: the viewer's offset, or after a change of owners the output of the new shell, if kept."""
    is_new_epoch = resume.offset is not None and resume.epoch != session.facts.epoch
    if is_new_epoch and session.output.start > session.first_offset:
        resume = NOW
    return start(session, resume, (session.cols, session.rows), is_wanted)


def _about(session: Session, viewer: Viewer, offset: int, expires_at: int | None) -> dict[str, Any]:
    return {
        "type": "shared",
        "session_id": str(session.id),
        "permission": viewer.permission,
        "viewer_id": str(viewer.viewer_id),
        "epoch": session.facts.epoch,
        "offset": offset,
        "cols": session.cols,
        "rows": session.rows,
        "device": session.facts.device_name,
        "username": session.facts.username,
        "expires_at": expires_at,
    }


def watch(ws: WebSocket, request: ViewerRequest, location: Session | PendingClaim, resume: Resume) -> None:
    """Serves a viewer that another instance has forwarded, until one side ends the view.

    Instances of the first release relay the viewer's frames unchanged, so the viewer may not speak offsets.
    """
    speaks_offsets = resume.speaks_offsets
    start_at = resume if resume.offset is not None else NOW
    try:
        session = session_at(location)
        is_wanted = partial(_is_connected, ws)
        with viewing(ws, request, session, start_at, speaks_offsets=speaks_offsets, is_wanted=is_wanted) as viewer:
            ws.on_pong = viewer.on_pong
            _serve(ws, request, session, viewer)
    except ConnectionClosed:
        pass
    except NetstacksError as error:
        refuse(ws, error)


def _is_connected(ws: WebSocket) -> bool:
    return not ws.has_hung_up()


def _serve(ws: WebSocket, request: ViewerRequest, session: Session, viewer: Viewer) -> None:
    # The first check at once: a revocation before `attach` could not end this view.
    watchdog = Watchdog(partial(_look, ws, request, session, viewer), at_once=True)
    while True:
        watchdog.look_if_due()
        message = ws.receive(timeout=watchdog.due_secs)
        if message is None:
            continue
        viewer.heard()
        try:
            frame = frames.parse(message)
        except InvalidInput as error:
            expel(session, [viewer], f"the controller did not understand {error}")
            continue
        match frame:
            case frames.Data(payload):
                watchdog.during(partial(viewer.type, payload))
            case frames.Ping():
                ws.send(frames.PONG)
            case frames.Close():
                return


def _look(ws: WebSocket, request: ViewerRequest, session: Session, viewer: Viewer, is_read: bool) -> None:
    """Ends the view if its share is over or its client is gone; else pings the client (docs/protocol.md, 7).

    Raises ConnectionClosed when the client is gone.
    """
    reason = over_now(request)
    if reason is not None:
        expel(session, [viewer], reason)
    elif viewer.is_dead(is_read=is_read):
        log.info("viewer.half_open", session_id=str(session.id), viewer_id=str(viewer.viewer_id))
        ws.abort()
        raise ConnectionClosed(None, "")
    else:
        viewer.queue(frames.PING)
        viewer.keep_alive()
