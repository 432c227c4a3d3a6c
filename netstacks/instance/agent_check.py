"""HAProxy's agent-check: reports to HAProxy how much work this instance can take.

HAProxy connects, sends nothing unless `agent-send` tells it to, and reads one line.
"""

import socket
from collections.abc import Callable
from contextlib import suppress

from netstacks import greenlets
from netstacks.cluster.health import HealthReport

_BACKLOG = 128
# A flood of connections costs the event loop at most a hundred short answers a second.
_PAUSE_SECS = 0.01


class AgentCheck:
    """Answers each connection with one line and closes it, without reading from the client."""

    def __init__(self, report: Callable[[], HealthReport | None]) -> None:
        self._report = report
        self.background = greenlets.Background("agent-check", self._run)

    def start(self, address: tuple[str, int], *, shared: bool) -> None:
        """Listens until the process ends, also during a drain. Raises OSError when the address is in use.

        With `shared`, other workers of this controller listen at the same address, and the kernel chooses among them.
        """
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._listener.bind(address)
        self._listener.listen(_BACKLOG)
        self.background.start()

    def _run(self) -> None:
        while True:
            # The client has disconnected, or no descriptor is free. Neither prevents the next answer.
            with suppress(OSError):
                self._answer()
            greenlets.sleep(_PAUSE_SECS)

    def _answer(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            # The send buffer of a new connection has room for the line, so a slow client cannot block this loop.
            connection.setblocking(False)
            report = self._report()
            line = report.agent_answer() if report else "down #starting"
            connection.send(f"{line}\n".encode())
