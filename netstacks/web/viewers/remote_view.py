"""A view of a session that another instance owns: this instance relays between the viewer and the owner."""

import contextlib
from urllib.parse import urlencode

from websockets.frames import Close

from netstacks.peer.owner_socket import OwnerSocket, Ping
from netstacks.terminal import frames
from netstacks.terminal.frames import CloseCode, FrameType
from netstacks.terminal.resume import Resume
from netstacks.web.viewers.viewer_client import ViewerClient
from netstacks.web.viewers.viewing import ViewerRequest
from netstacks.web.ws.routes import ConnectionClosed

# Close codes of an owner that is alive and has released the session.
LET_GO = (CloseCode.RESTARTING, CloseCode.FENCED)


def query_of(request: ViewerRequest, resume: Resume) -> str:
    """The query string of the request to the owner: facts about the viewer that are not in the peer token."""
    position = {"offset": "tail"} if resume.tail else {"epoch": resume.epoch, "offset": resume.offset}
    returns = {"returns": "yes"} if request.returns else {}
    login = {"login_id": request.login_id} if request.login_id else {}
    return urlencode({"viewer": request.viewer_id, **position, **returns, **login})


class RemoteView:
    """Forwards a viewer's input to the owner. Input that a lost owner has not received is lost."""

    def __init__(self, owner: OwnerSocket, permission: str) -> None:
        self._owner = owner
        self._may_type = permission == "read-write"

    def type(self, data: bytes) -> None:
        if self._may_type:
            with contextlib.suppress(ConnectionClosed):
                self._owner.send(frames.data(data))

    def ping(self) -> None:
        """Sends a Ping to the owner; its Pong is passed on to the viewer."""
        with contextlib.suppress(ConnectionClosed):
            self._owner.send(frames.PING)

    def on_pong(self, payload: bytes) -> None:
        with contextlib.suppress(ConnectionClosed):
            self._owner.pong(payload)

    def pass_on(self, client: ViewerClient) -> Close | None:
        """Passes the owner's frames on until the connection ends. Returns its close frame; None when it was lost.

        Error frames are held back until the next frame: an error right before a loss is not for the viewer, because
        this instance looks for the next owner. Raises ConnectionClosed when the client is gone.
        """
        errors: list[bytes] = []
        while (event := self._owner.receive()) is not None:
            match event:
                case Ping(payload):
                    client.ping(payload)
                case bytes() if event[0] == FrameType.ERROR:
                    errors.append(event)
                case bytes():
                    client.send(*errors, event)
                    errors.clear()
        end = self._owner.close_frame
        if end is None or end.code in LET_GO:
            return None
        client.send(*errors)
        return end
