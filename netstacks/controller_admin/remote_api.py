"""The JSON API of a controller over HTTP, with the log-in of the user of the current request."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx2
from flask import Response, g, request
from werkzeug.exceptions import BadGateway, HTTPException, ServiceUnavailable, Unauthorized, default_exceptions

from netstacks.controller_admin import headers
from netstacks.controller_admin.upstream import CALL_SECS, ApiUnreachable, Upstream
from netstacks.errors import SecondFactorMissing

# Answers of a load balancer that has no instance left.
_NO_INSTANCE = (502, 504)


@dataclass(frozen=True)
class Caller:
    """Calls the API as one user; usable after the request of that user."""

    upstream: Upstream
    headers: Sequence[headers.Pair]

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """The decoded answer. Raises HTTPException with the API's sentence, ApiUnreachable without an answer."""
        return self.ask(path, query)[0]

    def ask(self, path: str, query: Mapping[str, Any] | None = None) -> tuple[Any, Sequence[str]]:
        """The same, with the cookies that the answer sets."""
        response = self.open(path, query)
        try:
            return json.loads(response.read()), response.headers.get_list("set-cookie")
        except httpx2.TransportError as error:
            raise ApiUnreachable from error
        except ValueError as error:
            raise BadGateway("The API answered with something else than JSON. Check CONTROLLER_API_URL.") from error
        finally:
            response.close()

    def open(
        self, path: str, query: Mapping[str, Any] | None = None, *, timeout_secs: float = CALL_SECS
    ) -> httpx2.Response:
        """A successful answer, its body unread; the caller closes it. `timeout_secs` is that of each read."""
        given = {name: value for name, value in (query or {}).items() if value is not None}
        target = f"{path}?{urlencode(given, doseq=True)}" if given else path
        response = self.upstream.send("GET", target, self.headers, timeout_secs=timeout_secs)
        if response.status_code == 200:
            return response
        try:
            response.read()
        except httpx2.TransportError as error:
            raise ApiUnreachable from error
        finally:
            response.close()
        raise _refusal(response)


class RemoteApi:
    """What pages read. A cookie that an answer sets, such as a renewed log-in, is passed on to the browser."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        answer, cookies = self.caller().ask(path, query)
        g.setdefault("api_cookies", []).extend(cookies)
        return answer

    def caller(self) -> Caller:
        """The API as the user of this request calls it."""
        return Caller(self._upstream, headers.of_call(request.environ))


def put_cookies(response: Response) -> Response:
    """After each request: the last answer of the API decides, as it does in a browser."""
    for cookie in dict.fromkeys(g.get("api_cookies", ())):
        response.headers.add("Set-Cookie", cookie)
    return response


def _refusal(response: httpx2.Response) -> Exception:
    """The error that says what the API has said."""
    try:
        answer = response.json()
        sentence, code = str(answer["error"]), answer.get("code")
    except (ValueError, KeyError, TypeError, AttributeError):
        sentence, code = "", None
    status = response.status_code
    if code == SecondFactorMissing.api_code:
        return SecondFactorMissing(sentence)
    if status in _NO_INSTANCE or (status == 503 and not sentence):
        return ApiUnreachable()
    if status == 503:
        return ServiceUnavailable(sentence)
    if status == 401:
        return Unauthorized(sentence)
    error: type[HTTPException] = default_exceptions.get(status, BadGateway)
    return error(sentence or f"The API answered {status}. Check CONTROLLER_API_URL.")
