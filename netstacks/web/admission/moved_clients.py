"""Clients whose session an administrator has moved away from here: another instance takes them."""

import time
from uuid import UUID

from netstacks import greenlets
from netstacks.cluster.balancing import Room
from netstacks.terminal.frames import CloseCode
from netstacks.web.admission.handing_on import hand_on
from netstacks.web.admission.waiting_client import WaitingClient
from netstacks.web.context import Services

# The duration and the interval of attempts.
_MOVE_SECS, _PAUSE_SECS = 15.0, 0.25


class MovedClients:
    """Hands clients on by their reconnect tokens.

    Of several connections with one token, the newest is handed on. An older one may be half-open: if it reached the new
    owner later, it would take the terminal from the connection that its user sees.
    """

    def __init__(self, services: Services, room: Room) -> None:
        self._services = services
        self._room = room
        self._newest: dict[UUID | None, WaitingClient] = {}

    def hand_on(self, client: WaitingClient) -> bool:
        """Hands the client on; False when no other instance takes it, or this one stops."""
        token = client.request.token
        self._newest[token] = client
        try:
            return self._try_peers(client)
        finally:
            if self._newest.get(token) is client:
                del self._newest[token]

    def _try_peers(self, client: WaitingClient) -> bool:
        agent, moves, token = self._services.agent, self._services.moves, client.request.token
        ttl_secs = self._services.settings.ha_stale_instance_ttl_secs
        until = time.monotonic() + _MOVE_SECS
        # While the former owner stores the session's last output, a peer declines its client, and is asked again.
        while time.monotonic() < until and moves.is_away(token) and not client.stays and agent.me.state == "active":
            if client.drop_if_gone():
                return True
            if self._newest.get(token) is not client:
                client.close(CloseCode.SUPERSEDED, "this terminal was opened elsewhere")
                return True
            peer = self._room.reserve(agent.snapshot, agent.me.id, ttl_secs, time.monotonic())
            if peer is not None and hand_on(self._services, client, peer):
                return True
            greenlets.sleep(_PAUSE_SECS)
        return False
