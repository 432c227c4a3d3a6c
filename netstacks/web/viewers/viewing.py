"""One viewer at the session's owner: joins, watches, perhaps types, and leaves."""

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
    ComeAgain,
    Forbidden,
    InvalidInput,
    NetstacksError,
    SessionGone,
    StoreBusy,
    StoreUnavailable,
)
from netstacks.instance.pending_claims import PendingClaim
from netstacks.peer.token import PeerPrincipal
from netstacks.terminal import frames
from netstacks.terminal.attachment import Sink
from netstacks.terminal.frames import CloseCode
from netstacks.terminal.resume import Resume, Start, start
from netstacks.terminal.session import Session
from netstacks.terminal.viewer import Viewer, expel, viewers
from netstacks.web.viewers.watchdog import Watchdog
from netstacks.web.ws.routes import ConnectionClosed, WebSocket

log = structlog.get_logger()

# After a change of owners those who were watching get their places back first: they look for the new owner every two
# seconds at the latest.
_RETURN_SECS = 3.0
# Where the screen of now is wanted.
NOW = Resume(None, None, tail=True)


def _hold() -> None:
    """Nothing has been withdrawn."""


@dataclass(frozen=True)
class ViewerRequest:
    """A viewer that may join. `over` tells why its share is not valid any more, None while it is.

    `confirm` raises AccessWithdrawn when the viewer is a user who has no access any more.
    `note` writes an event to the audit log, in the viewer's name. `returns` says that the viewer has watched before.
    """

    principal: PeerPrincipal
    viewer_id: UUID
    over: Callable[[], str | None]
    note: Callable[..., None]
    returns: bool = False
    login_id: UUID | None = None
    """The log-in of a viewer who has one."""
    confirm: Callable[[], None] = _hold


def refuse(ws: WebSocket, error: NetstacksError) -> None:
    """Shows a person why; the code tells our own page whether to come again."""
    match error:
        case SessionGone() | AccessWithdrawn():
            code = CloseCode.ENDED
        case ComeAgain() | StoreUnavailable():
            code = CloseCode.RESTARTING
        case _:
            code = CloseCode.REFUSED
    ws.send(frames.error(str(error)))
    ws.close(code, str(error))


def session_at(place: Session | PendingClaim) -> Session:
    """The session there. Raises ComeAgain when it has gone from here, or could not be opened here: others may do it."""
    try:
        session = place.wait() if isinstance(place, PendingClaim) else place
    except NetstacksError as error:
        raise ComeAgain(f"the session could not be opened here: {error}") from error
    if not session.is_live:
        raise ComeAgain("the session has just moved or ended")
    return session


def over_now(asked: ViewerRequest) -> str | None:
    """Why the share is not valid any more; a database that is busy is asked again at the next look."""
    try:
        return asked.over()
    except StoreBusy:
        return None


@contextmanager
def viewing(
    sink: Sink,
    asked: ViewerRequest,
    session: Session,
    resume: Resume,
    *,
    speaks_offsets: bool,
    on_finish: Callable[[CloseCode, str], bool] | None = None,
    is_wanted: Callable[[], bool] = lambda: True,
) -> Iterator[Viewer]:
    """Attaches a viewer to a session for as long as the block runs; `is_wanted` is asked while its screen is redrawn.

    Raises Forbidden when there is no place for it or its share is over, ComeAgain when the session has just gone from
    here, and ConnectionClosed when the viewer has.
    """
    # A viewer that has no place costs no redraw.
    _check_place(session, asked)
    begin = _begin(session, resume, is_wanted)
    _confirm(asked, session)
    viewer = _join(sink, asked, session, begin, speaks_offsets, on_finish)
    resource = f"session:{session.id}"
    about = {"viewer": str(viewer.viewer_id), "share": viewer.share_id, "permission": viewer.permission}
    asked.note("session.viewer_joined", resource, **about)
    try:
        yield viewer
    finally:
        session.detach(viewer)
        asked.note("session.viewer_left", resource, **about)


def _confirm(asked: ViewerRequest, session: Session) -> None:
    """Asks anew whether the viewer may join: a revocation while it was on its way could not end its view.

    No yield between its return and `attach`. Raises Forbidden, AccessWithdrawn and ComeAgain.
    """
    counted = -1
    while counted != session.expulsions:
        counted = session.expulsions
        try:
            reason = asked.over()
        except StoreBusy as error:
            raise ComeAgain("whether the share is still valid cannot be told now") from error
        if reason is not None:
            raise Forbidden(reason)
        asked.confirm()


def _check_place(session: Session, asked: ViewerRequest) -> None:
    """Raises Forbidden when as many others as may are watching."""
    most = asked.principal.max_viewers
    assert most is not None
    others = [each for each in viewers(session, share_id=asked.principal.share_id) if each.viewer_id != asked.viewer_id]
    if len(others) >= most:
        raise Forbidden(f"as many as may are watching already ({most}): try again when somebody has left")


def _join(
    sink: Sink,
    asked: ViewerRequest,
    session: Session,
    begin: Start,
    speaks_offsets: bool,
    on_finish: Callable[[CloseCode, str], bool] | None,
) -> Viewer:
    principal = asked.principal
    assert principal.share_id is not None
    # No yield from here to `attach`: the count is exact, and what was confirmed holds.
    if not session.is_live:
        raise ComeAgain("the session has just moved or ended")
    if session.facts.epoch > 1 and not asked.returns and time.time() < session.opened_at + _RETURN_SECS:
        raise ComeAgain("the session has just changed its owner: those who were watching come first")
    _check_place(session, asked)
    for former in viewers(session, share_id=principal.share_id, viewer_id=str(asked.viewer_id)):
        session.detach(former)
        former.drop(CloseCode.SUPERSEDED, "this viewer has come back over another connection")
    viewer = Viewer(
        sink,
        viewer_id=asked.viewer_id,
        share_id=principal.share_id,
        permission=principal.permission,
        user_id=principal.user_id,
        username=principal.username,
        login_id=asked.login_id,
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
    """A viewer that was there goes on at its byte, or with all that a new owner's shell has printed, if it is held."""
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


def watch(ws: WebSocket, asked: ViewerRequest, place: Session | PendingClaim, resume: Resume) -> None:
    """Serves a viewer that another instance has brought here, until one of the two ends it.

    Instances of the first release relay the viewer's own frames, and their viewers may not speak offsets.
    """
    speaks_offsets = resume.speaks_offsets
    where = resume if resume.offset is not None else NOW
    try:
        session = session_at(place)
        is_wanted = partial(_is_connected, ws)
        with viewing(ws, asked, session, where, speaks_offsets=speaks_offsets, is_wanted=is_wanted) as viewer:
            ws.on_pong = viewer.on_pong
            _serve(ws, asked, session, viewer)
    except ConnectionClosed:
        pass
    except NetstacksError as error:
        refuse(ws, error)


def _is_connected(ws: WebSocket) -> bool:
    return not ws.has_hung_up()


def _serve(ws: WebSocket, asked: ViewerRequest, session: Session, viewer: Viewer) -> None:
    # At once for the first time: a revocation while this viewer was on its way found nobody to end.
    looks = Watchdog(partial(_look, ws, asked, session, viewer), at_once=True)
    while True:
        looks.look_if_due()
        message = ws.receive(timeout=looks.due_secs)
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
                looks.during(partial(viewer.type, payload))
            case frames.Ping():
                ws.send(frames.PONG)
            case frames.Close():
                return


def _look(ws: WebSocket, asked: ViewerRequest, session: Session, viewer: Viewer, is_read: bool) -> None:
    """Ends a view whose share is over or whose client is gone, and pings the others (wire contract 7).

    Raises ConnectionClosed when the client is gone.
    """
    reason = over_now(asked)
    if reason is not None:
        expel(session, [viewer], reason)
    elif viewer.is_dead(is_read=is_read):
        log.info("viewer.half_open", session_id=str(session.id), viewer_id=str(viewer.viewer_id))
        ws.abort()
        raise ConnectionClosed(None, "")
    else:
        viewer.queue(frames.PING)
        viewer.keep_alive()
