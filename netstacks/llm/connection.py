"""The HTTP connection to a provider, kept from one call to the next, which another greenlet can end."""

import functools
import socket
import ssl
import time
from typing import Any

import httpx2

from netstacks import __version__, greenlets
from netstacks.llm.failures import NotSent

# The HTTP client parses what it reads at once without a yield, and other greenlets wait meanwhile.
_READ_BYTES = 4096
# Shorter than the 5 s after which some servers close an idle connection: a request must not meet that close.
IDLE_SECS = 4.0
_HEADERS = {
    "user-agent": f"netstacks-controller/{__version__}",
    "content-type": "application/json",
    "accept": "text/event-stream",
    # A small compressed body may decompress to a huge one.
    "accept-encoding": "identity",
}


class ProviderConnection:
    """An HTTP client with at most one connection, which is kept for the next call.

    A client with several connections does not say which one a call uses, and only its socket can end a call.
    """

    def __init__(self) -> None:
        """Raises NotSent when the proxies or the CA file that the environment names are invalid."""
        self.kept_at = 0.0
        """Since when it is idle, by the monotonic clock."""
        self.rest_until = 0.0
        """No read waits for data before then, by the monotonic clock: what comes meanwhile is read at once."""
        self._socket: socket.socket | None = None
        self._has_hung_up = False
        try:
            self.http = httpx2.Client(
                verify=_tls(),
                headers=_HEADERS,
                limits=httpx2.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=IDLE_SECS),
            )
        except (ImportError, OSError, ValueError, httpx2.InvalidURL) as error:
            # The error may quote a proxy's password.
            raise NotSent(
                "was not called: the proxy or the CA file in this instance's environment is invalid"
            ) from error

    def connected(self, stream: Any) -> None:
        """Takes the network stream that the HTTP client uses from now on."""
        connection: socket.socket = stream.get_extra_info("socket")
        self._socket = connection
        self._has_hung_up = False
        read, get_extra_info = stream.read, stream.get_extra_info

        def read_fairly(max_bytes: int, timeout: float | None = None) -> Any:
            # The HTTP client reads in a loop while 1xx responses come, and a read of available data does not yield.
            greenlets.give_way()
            rest_secs = self.rest_until - time.monotonic()
            if rest_secs > 0 and not greenlets.is_readable(connection.fileno()):
                greenlets.sleep(rest_secs)
            # After a shutdown the peer's data can still be read, without end if the peer does not stop.
            return b"" if self._has_hung_up else read(min(max_bytes, _READ_BYTES), timeout)

        def get_info(name: str) -> Any:
            # The HTTP client asks before and after each call.
            return greenlets.is_readable(connection.fileno()) if name == "is_readable" else get_extra_info(name)

        stream.read, stream.get_extra_info = read_fairly, get_info

    def hang_up(self) -> None:
        """Ends the current call, from any greenlet. The greenlet that runs the call then closes the connection."""
        self._has_hung_up = True
        if self._socket is not None:
            greenlets.shut_down(self._socket.fileno())


@functools.cache
def _tls() -> ssl.SSLContext:
    """The CAs of SSL_CERT_FILE or SSL_CERT_DIR, else of the system. Read once, because reading takes 20 ms."""
    return httpx2.create_ssl_context()
