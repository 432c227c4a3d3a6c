"""Requests to an identity provider: limited in time and size, without redirects, over https except to this host."""

import functools
import json
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, cast

import httpx2

from netstacks import __version__, greenlets, urls
from netstacks.errors import InvalidInput
from netstacks.web.auth.oidc_errors import ProviderUnavailable

TOTAL_SECS = 5.0
MAX_BYTES = 512 * 1024


@dataclass(frozen=True)
class Answer:
    """A JSON object, and its HTTP status, which is neither a redirect nor an error of the server."""

    status: int
    members: dict[str, Any]


def check_url(text: str, *, of_issuer: str | None = None) -> str:
    """The URL, which must be https. http is accepted for a loopback address, if that of the issuer is one too.

    Raises InvalidInput.
    """
    urls.check_text(text)
    # The endpoints of some providers have a query.
    url = urls.parse(text.partition("?")[0], ("https", "http"), "https://login.example.net", ())
    [(host, _), *others] = url.hosts
    if others or not host or url.username is not None:
        raise InvalidInput("must be a URL of one host without a user, such as https://login.example.net")
    if url.scheme == "http" and not (is_loopback(host) and (of_issuer is None or of_issuer.startswith("http:"))):
        raise InvalidInput("must begin with https: over http anyone on the way could log in as any user")
    return text


def is_loopback(host: str) -> bool:
    """Whether it is an address of this host."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def get(url: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Raises ProviderUnavailable."""
    return _Exchange("GET", url, headers or {}, None).result()


def post(url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
    """Raises ProviderUnavailable."""
    return _Exchange("POST", url, headers, form).result()


class _Exchange:
    """One request in a greenlet of its own: its caller waits for TOTAL_SECS, whatever the provider sends."""

    def __init__(self, method: str, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None) -> None:
        self._method, self._url, self._form = method, url, form
        # A small compressed body may decompress to a huge one.
        self._headers = {"accept": "application/json", "accept-encoding": "identity", **headers}
        self._socket: socket.socket | None = None
        self._end_at = time.monotonic() + TOTAL_SECS
        self._answer: greenlets.AsyncResult[Answer] = greenlets.AsyncResult()

    def result(self) -> Answer:
        greenlets.spawn("oidc-request", self._run)
        self._answer.wait(TOTAL_SECS)
        if not self._answer.ready():
            raise ProviderUnavailable(_LATE)
        answer: Answer = self._answer.get()
        return answer

    def _run(self) -> None:
        try:
            with greenlets.Timer(TOTAL_SECS, self._hang_up):
                self._answer.set(self._ask())
        except ProviderUnavailable as error:
            self._answer.set_exception(error)
        except httpx2.TimeoutException:
            self._answer.set_exception(ProviderUnavailable(_LATE))
        except (httpx2.TransportError, httpx2.InvalidURL, ImportError, OSError, ValueError) as error:
            is_late = time.monotonic() >= self._end_at
            self._answer.set_exception(ProviderUnavailable(_LATE if is_late else _cause(error)))

    def _ask(self) -> Answer:
        with (
            httpx2.Client(
                verify=_tls(), timeout=TOTAL_SECS, headers={"user-agent": f"netstacks-controller/{__version__}"}
            ) as client,
            client.stream(
                self._method,
                self._url,
                data=self._form,
                headers=dict(self._headers),
                follow_redirects=False,
                extensions={"trace": self._trace},
            ) as response,
        ):
            status = response.status_code
            if 300 <= status < 400:
                raise ProviderUnavailable(f"It answered with a redirect ({status}), which is not followed.")
            if status >= 500:
                raise ProviderUnavailable(f"It answered {status}.")
            return Answer(status, _object(status, response.headers.get("content-type", ""), self._body(response)))

    def _body(self, response: httpx2.Response) -> bytes:
        body = bytearray()
        # Without a size: a provider that sends a byte at a time must not hold up the checks below.
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > MAX_BYTES:
                raise ProviderUnavailable(f"Its answer is larger than {MAX_BYTES // 1024} KiB.")
            if time.monotonic() >= self._end_at:
                raise ProviderUnavailable(_LATE)
            greenlets.give_way()
        return bytes(body)

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        """The HTTP client's trace hook."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._socket = info["return_value"].get_extra_info("socket")

    def _hang_up(self) -> None:
        if self._socket is not None and self._socket.fileno() >= 0:
            greenlets.shut_down(self._socket.fileno())


_LATE = f"It did not answer within {TOTAL_SECS:.0f} seconds."


def _cause(error: BaseException | None) -> str:
    """Why a provider could not be reached. Never the text of the error: that of a proxy may contain a password."""
    while error is not None:
        match error:
            case ssl.SSLCertVerificationError():
                return f"Its certificate is not accepted: {error.verify_message}."
            case socket.gaierror():
                return "The name servers of this controller do not know its name."
            case ConnectionRefusedError():
                return "It refuses connections."
        error = error.__cause__ or error.__context__
    return "It cannot be reached."


def _object(status: int, media_type: str, body: bytes) -> dict[str, Any]:
    try:
        members = json.loads(body)
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        kind = media_type.partition(";")[0].strip().lower()[:60]
        named = kind if kind.isascii() and kind.isprintable() and kind else "an unnamed type"
        raise ProviderUnavailable(f"It answered {status} with {named} in place of a JSON object.")
    return cast(dict[str, Any], members)


@functools.cache
def _tls() -> ssl.SSLContext:
    """The CAs of SSL_CERT_FILE or SSL_CERT_DIR, else of the system. Read once, because reading takes 20 ms."""
    return httpx2.create_ssl_context()
