"""`/ws/check`: tells our own pages why their WebSockets fail, which browsers hide (docs/protocol.md, 6.6)."""

from flask import Blueprint

from netstacks.terminal.frames import CloseCode
from netstacks.web.auth import origins
from netstacks.web.ws.routes import Sock, WebSocket

blueprint = Blueprint("check", __name__)
sock = Sock()

# At most 123 bytes in UTF-8, the longest reason of a close frame.
_HOST_NOT_PASSED = "The load balancer does not pass the header Host on, so this page counts as one of another site"


@sock.route("/ws/check", bp=blueprint, authorise=origins.problem)
def check(ws: WebSocket, problem: str | None) -> None:
    """Accepts every upgrade, and closes with 1000, or with 4002 when the page's origin would be refused.

    Needs no log-in: it tells a page only how its own request has arrived.
    """
    if problem is None:
        ws.close(CloseCode.NORMAL)
    else:
        ws.close(CloseCode.REFUSED, _HOST_NOT_PASSED)
