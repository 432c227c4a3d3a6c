"""The HTTP connection to a provider, kept from one call to the next, which another greenlet can end."""

import functools
import socket
import ssl
from typing import Any

import httpx2

from netstacks import __version__, greenlets
from netstacks.llm.failures import NotSent

# The HTTP client parses what it reads at once without a yield, and other greenlets wait meanwhile.
_READ_BYTES = 4096
# Shorter than the 5 s after which some servers close an idle connection: a request must not meet that close.
IDLE_SECS = 4.0


class ProviderConnection:
    """An HTTP client with at most one connection, which is kept for the next call.

    A client with several connections does not say which one a call uses, and only its socket can end a call.
    """

    def __init__(self) -> None:
        """Raises NotSent when the proxies or the CA file that the environment names are invalid."""
        self.kept_at = 0.0
        """Since when it is idle, by the monotonic clock."""
        self._socket: socket.socket | None = None
        self._has_hung_up = False
        try:
            self.http = httpx2.Client(
                verify=_tls(),
                headers={"user-agent": f"netstacks-controller/{__version__}"},
                limits=httpx2.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=IDLE_SECS),
            )
        except (ImportError, OSError, ValueError, httpx2.InvalidURL) as error:
            # The error may quote a proxy's password.
            raise NotSent(
                "was not called: the proxy or the CA file in this instance's environment is invalid"
            ) from error

    def connected(self, stream: Any) -> None:
        """Takes the network stream that the HTTP client uses from now on."""
        self._socket = stream.get_extra_info("socket")
        self._has_hung_up = False
        read = stream.read

        def read_fairly(max_bytes: int, timeout: float | None = None) -> Any:
            # The HTTP client reads in a loop while 1xx responses come, and a read of available data does not yield.
            greenlets.give_way()
            # After a shutdown the peer's data can still be read, without end if the peer does not stop.
            return b"" if self._has_hung_up else read(min(max_bytes, _READ_BYTES), timeout)

        stream.read = read_fairly

    def hang_up(self) -> None:
        """Ends the current call, from any greenlet. The greenlet that runs the call then closes the connection."""
        self._has_hung_up = True
        if self._socket is not None:
            greenlets.shut_down(self._socket.fileno())


@functools.cache
def _tls() -> ssl.SSLContext:
    """The CAs of SSL_CERT_FILE or SSL_CERT_DIR, else of the system. Read once, because reading takes 20 ms."""
    return httpx2.create_ssl_context()
