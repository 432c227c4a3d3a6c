"""One viewer's connection, at the session's owner: joins, watches, perhaps types, and leaves."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

from netstacks.errors import (
    ComeAgain,
    Forbidden,
    InvalidInput,
    NetstacksError,
    SessionGone,
    StoreBusy,
    StoreUnavailable,
)
from netstacks.peer.token import Visitor
from netstacks.terminal import frames
from netstacks.terminal.frames import CloseCode
from netstacks.terminal.resume import Resume, start
from netstacks.terminal.session import Session
from netstacks.terminal.viewer import Viewer, expel, viewers
from netstacks.web.sockets import ConnectionClosed, WebSocket

log = structlog.get_logger()

# How often a viewer is pinged, and its share looked at: what no message told the owner, it finds out by then.
_LOOK_SECS = 10.0


@dataclass(frozen=True)
class Call:
    """A viewer that may join. `session` waits for the session, `over` tells why the share is none any more.

    `note` writes an event to the audit log, in the viewer's name.
    """

    visitor: Visitor
    viewer_id: UUID
    speaks_offsets: bool
    session: Callable[[], Session]
    over: Callable[[], str | None]
    note: Callable[..., None]


def refuse(ws: WebSocket, error: NetstacksError) -> None:
    """Shows a person why; the code tells our own page whether to come again."""
    match error:
        case SessionGone():
            code = CloseCode.ENDED
        case ComeAgain() | StoreUnavailable():
            code = CloseCode.RESTARTING
        case _:
            code = CloseCode.REFUSED
    ws.send(frames.error(str(error)))
    ws.close(code, str(error))


def watch(ws: WebSocket, call: Call) -> None:
    """Serves a viewer until it leaves, its share is over or the session ends."""
    try:
        session = call.session()
        viewer = _join(ws, call, session)
    except NetstacksError as error:
        refuse(ws, error)
        return
    resource = f"session:{session.id}"
    about = {"viewer": str(viewer.viewer_id), "share": viewer.share_id, "permission": viewer.permission}
    call.note("session.viewer_joined", resource, **about)
    ws.on_pong = viewer.on_pong
    try:
        _serve(ws, call, session, viewer)
    except ConnectionClosed:
        pass
    finally:
        session.detach(viewer)
        call.note("session.viewer_left", resource, **about)


def _join(ws: WebSocket, call: Call, session: Session) -> Viewer:
    visitor = call.visitor
    assert visitor.share_id is not None
    assert visitor.max_viewers is not None
    begin = start(session, Resume(None, None, tail=True), (session.cols, session.rows))
    # From here to `attach` no other greenlet runs, so the count is exact.
    if not session.is_live:
        raise ComeAgain("the session has just moved or ended")
    for former in viewers(session, share_id=visitor.share_id, viewer_id=str(call.viewer_id)):
        session.detach(former)
        former.drop(CloseCode.SUPERSEDED, "this viewer has come back over another connection")
    if len(viewers(session, share_id=visitor.share_id)) >= visitor.max_viewers:
        raise Forbidden(
            f"as many as may are watching already ({visitor.max_viewers}): try again when somebody has left"
        )
    viewer = Viewer(
        ws,
        viewer_id=call.viewer_id,
        share_id=visitor.share_id,
        permission=visitor.permission,
        user_id=visitor.user_id,
        username=visitor.username,
        address=visitor.address,
        speaks_offsets=call.speaks_offsets,
    )
    viewer.queue(frames.session_info(**_about(session, viewer, begin.cursor, visitor.expires_at)))
    viewer.follow_window(session.cols, session.rows)
    if begin.before:
        viewer.show(begin.before)
    session.attach(viewer, begin.cursor)
    return viewer


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


def _serve(ws: WebSocket, call: Call, session: Session, viewer: Viewer) -> None:
    # At once for the first time: a revocation while this viewer was on its way found nobody to end.
    look_at = time.monotonic()
    while True:
        if time.monotonic() >= look_at:
            _look(ws, call, session, viewer)
            look_at = time.monotonic() + _LOOK_SECS
        message = ws.receive(timeout=max(0.0, look_at - time.monotonic()))
        if message is None:
            continue
        viewer.heard()
        try:
            frame = frames.parse(message)
        except InvalidInput as error:
            expel(session, [viewer], f"the controller did not understand {error}")
            continue
        match frame:
            case frames.Data(payload) if viewer.permission == "read-write":
                session.input(viewer, payload)
            case frames.Ping():
                ws.send(frames.PONG)
            case frames.Close():
                return


def _look(ws: WebSocket, call: Call, session: Session, viewer: Viewer) -> None:
    """Ends a view whose share is over or whose client is gone, and pings the others (wire contract 7)."""
    try:
        reason = call.over()
    except StoreBusy:
        reason = None  # It is asked again at the next look.
    if reason is not None:
        expel(session, [viewer], reason)
    elif viewer.is_dead():
        log.info("viewer.half_open", session_id=str(session.id), viewer_id=str(viewer.viewer_id))
        ws.abort()
    else:
        viewer.queue(frames.PING)
        viewer.keep_alive()
