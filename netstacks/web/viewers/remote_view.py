"""A view of a session that another instance owns, seen from the instance that its viewer came to."""

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

# The owner lives and has let the session go.
LET_GO = (CloseCode.RESTARTING, CloseCode.FENCED)


def query_of(asked: ViewerRequest, resume: Resume) -> str:
    """What the owner is to know of a viewer beside the peer token."""
    place = {"offset": "tail"} if resume.tail else {"epoch": resume.epoch, "offset": resume.offset}
    returns = {"returns": "yes"} if asked.returns else {}
    login = {"login_id": asked.login_id} if asked.login_id else {}
    return urlencode({"viewer": asked.viewer_id, **place, **returns, **login})


class RemoteView:
    """What a viewer types goes to the owner; what a lost owner does not take is lost with it."""

    def __init__(self, owner: OwnerSocket, permission: str) -> None:
        self._owner = owner
        self._may_type = permission == "read-write"

    def type(self, data: bytes) -> None:
        if self._may_type:
            with contextlib.suppress(ConnectionClosed):
                self._owner.send(frames.data(data))

    def ping(self) -> None:
        """Asks the owner for a Pong, which is passed on."""
        with contextlib.suppress(ConnectionClosed):
            self._owner.send(frames.PING)

    def on_pong(self, payload: bytes) -> None:
        with contextlib.suppress(ConnectionClosed):
            self._owner.pong(payload)

    def pass_on(self, client: ViewerClient) -> Close | None:
        """Passes on what the owner says until it says no more. How it has ended the view; None when it was lost.

        An error is held back until it is known to be for the viewer: before a view that was lost it is for this
        instance, which looks again. Raises ConnectionClosed when the client is gone.
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
