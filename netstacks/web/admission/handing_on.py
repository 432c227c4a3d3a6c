"""Hands a waiting client on to another instance: this instance relays between the two from then on."""

from typing import TYPE_CHECKING
from urllib.parse import urlencode

import structlog

from netstacks import tracing
from netstacks.cluster.model import Instance, Peer
from netstacks.peer import relays
from netstacks.peer.client import NoAnswer, Upgrade, Upstream
from netstacks.web.admission.waiting_client import WaitingClient
from netstacks.web.context import Services
from netstacks.web.ws.routes import without_head

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

log = structlog.get_logger()

PATH = "/ws/ssh"
HANDED_ON_PATH = "/peer/terminals"
# The key in a request's environment of the time when it began to wait, in nanoseconds since 1970.
QUEUED_AT = "netstacks.queued_at_ns"


def hand_on(services: Services, client: WaitingClient, peer: Instance) -> bool:
    """Asks the peer to serve the client; True when it does from now on.

    Otherwise `client.stays` tells whether the peer has refused it for a reason other than capacity.
    """
    request = client.request
    claims = {
        "user_id": str(request.subject.user_id),
        "username": request.subject.username,
        "role": request.subject.role,
        "login_id": str(request.subject.login_id),
        "address": client.environ.get("REMOTE_ADDR"),
        "reconnect_token": str(request.token) if request.token else None,
    }
    # Without the user's token and the reconnect token: access logs contain URLs.
    query = {name: value for name, value in request.query.items() if name not in ("token", "reconnect_token")}
    upgrade = Upgrade(client.environ["HTTP_SEC_WEBSOCKET_KEY"], urlencode(query))
    span = _begin_span(client.environ)
    try:
        answer = services.peers.upgrade(Peer(peer.id, peer.peer_address), HANDED_ON_PATH, claims, upgrade)
    except Exception:
        log.exception("waiting_room.not_handed_on", peer=peer.id)
        answer = NoAnswer("declined")
    finally:
        span.end()
    if isinstance(answer, Upstream):
        client.begin()
        client.socket.settimeout(None)
        relays.begin(client.socket, without_head(answer), bytes(client.unread))
        return True
    client.stays = answer.status not in (0, 503)
    return False


def _begin_span(environ: "WSGIEnvironment") -> tracing.Span:
    """The span of a client that is handed on: the application, which begins other spans, has not run."""
    span = tracing.begin_request(
        environ.get("HTTP_TRACEPARENT"), environ.get("HTTP_TRACESTATE"), began_ns=environ.get(QUEUED_AT)
    )
    span.rename(f"GET {PATH}")
    span.set("http.request.method", "GET")
    span.set("http.route", PATH)
    return span
