"""The clients that this instance serves: a drain, and a withdrawal of access, close those without a session."""

from typing import Protocol

from netstacks.instance.withdrawals import Withdrawal


class Client(Protocol):
    def hang_up(self) -> None:
        """Closes the connection soon unless it has a session. Never waits."""

    def close_withdrawn(self, withdrawal: Withdrawal) -> None:
        """Closes the connection soon if it has no session and `withdrawal` takes its access. Never waits."""


# One per process, which is one instance: handlers run outside of the request, without the application's context.
_clients: set[Client] = set()


def add(client: Client) -> None:
    """Registers a client until `discard`."""
    _clients.add(client)


def discard(client: Client) -> None:
    _clients.discard(client)


def hang_up() -> None:
    """Closes the connections without a session, at the beginning of a drain. The others end with their sessions.

    Returns at once.
    """
    # No yield in the loop: a client that comes or goes would change the set during the iteration.
    for client in _clients:
        client.hang_up()


def close_withdrawn(withdrawal: Withdrawal) -> None:
    """Closes the connections without a session of a user, or of a log-in, that has lost access. Returns at once."""
    # No yield in the loop: a client that comes or goes would change the set during the iteration.
    for client in _clients:
        client.close_withdrawn(withdrawal)
