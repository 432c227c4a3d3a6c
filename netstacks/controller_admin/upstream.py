"""The connections to the API: one pool for all requests."""

import ssl
from collections.abc import Iterable, Iterator

import httpx2

from netstacks.controller_admin.headers import Pair
from netstacks.errors import NetstacksError
from netstacks.urls import Origin

_IDEMPOTENT = ("GET", "HEAD")
_CONNECT_SECS = 5.0
CALL_SECS = 10.0
# Actions and answers of language models; the load balancer in front of the API ends what takes longer.
PROXY_SECS = 130.0
_LIMITS = httpx2.Limits(max_connections=2000, max_keepalive_connections=50, keepalive_expiry=4.0)


class ApiUnreachable(NetstacksError):
    """No controller answers."""

    def __init__(self) -> None:
        super().__init__("The controller’s API cannot be reached. It may be starting, or the network is interrupted.")


class Upstream:
    """Requests to the API, without cookies, redirects or headers of its own: nothing is shared between users."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self._transport = httpx2.HTTPTransport(verify=_tls(origin), trust_env=False, limits=_LIMITS)

    def send(
        self,
        method: str,
        target: str,
        headers: Iterable[Pair],
        body: Iterator[bytes] | None = None,
        *,
        timeout_secs: float = CALL_SECS,
    ) -> httpx2.Response:
        """The response, its body unread; the caller closes it. Raises ApiUnreachable.

        A request that only reads is repeated once when its connection broke before the answer: the load balancer
        chooses another instance.
        """
        for is_last in (False, True) if method in _IDEMPOTENT else (True,):
            try:
                return self._transport.handle_request(self._request(method, target, headers, body, timeout_secs))
            except httpx2.TimeoutException as error:
                raise ApiUnreachable from error
            except httpx2.TransportError as error:
                if is_last:
                    raise ApiUnreachable from error
        raise AssertionError("unreachable")

    def _request(
        self, method: str, target: str, headers: Iterable[Pair], body: Iterator[bytes] | None, timeout_secs: float
    ) -> httpx2.Request:
        url = httpx2.URL(
            scheme=self.origin.scheme, host=self.origin.host, port=self.origin.port, raw_path=target.encode("ascii")
        )
        timeouts = httpx2.Timeout(timeout_secs, connect=_CONNECT_SECS).as_dict()
        # In Latin-1, as WSGI has decoded them.
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return httpx2.Request(method, url, headers=raw, content=body, extensions={"timeout": timeouts})


def _tls(origin: Origin) -> ssl.SSLContext | bool:
    return httpx2.create_ssl_context() if origin.scheme == "https" else False
