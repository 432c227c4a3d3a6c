"""The page HA status from the API: one stream of the API for each open page, with the log-in of its user.

Pages share nothing here: what one user may see is never in the page of another.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import UTC, datetime
from typing import Any

import httpx2
import jinja2
from flask import current_app
from werkzeug.exceptions import HTTPException

from netstacks import greenlets
from netstacks.controller_admin.remote_api import Caller, RemoteApi
from netstacks.controller_admin.upstream import ApiUnreachable
from netstacks.web.admin.ha_sections import HaSections
from netstacks.web.admin.ha_source import SESSION_ROWS, Facts, with_ages

_STREAM = "/api/v1/ha/stream"
# The API sends something every five seconds.
_SILENCE_SECS = 9.0
_FIRST_SECS = 10.0
_HISTORY_SECS = 20.0
_SESSIONS_SECS = 5.0
_NO_ANSWER = (ApiUnreachable, HTTPException)


class RemoteSource:
    """Answers of the API to one user, read again when they are old; the last answer stays while there is no other."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self.latest: Facts | None = None
        """The status that a stream has sent last."""
        self._history: Facts = {"instances": {}}
        self._history_at = float("-inf")

    def status(self) -> Facts:
        if self.latest is None:
            self.latest = self._caller.get("/api/v1/ha/status")
        assert self.latest is not None
        return self.latest

    def history(self) -> Facts:
        if time.monotonic() - self._history_at > _HISTORY_SECS:
            # The state is worth more than its history: without an answer the page has the last one, or none.
            with suppress(*_NO_ANSWER):
                self._history = self._caller.get("/api/v1/ha/history")
            self._history_at = time.monotonic()
        return self._history

    def events(self, *, kind: str | None, instance: str | None, limit: int) -> Sequence[Facts] | None:
        query = {"kind": kind, "instance": instance, "limit": limit}
        try:
            found: Sequence[Facts] = self._caller.get("/api/v1/ha/events", query)["items"]
        except _NO_ANSWER:
            return None
        return found

    def live_sessions(self, *, owner: str | None, before: datetime | None) -> Callable[[], Facts]:
        query = {"instance": owner, "before": before and before.isoformat(), "limit": SESSION_ROWS}
        listed: Facts = {}
        listed_at = float("-inf")

        def current() -> Facts:
            nonlocal listed, listed_at
            if time.monotonic() - listed_at > _SESSIONS_SECS:
                listed, listed_at = self._sessions(query), time.monotonic()
            return listed

        return current

    def _sessions(self, query: Mapping[str, Any]) -> Facts:
        try:
            return with_ages(self._caller.get("/api/v1/ha/sessions", query), datetime.now(UTC))
        except ApiUnreachable as error:
            return {"error": str(error)}
        except HTTPException as error:
            return {"error": error.description}


class RemoteWatch:
    """The live updates of one page, for as long as the API sends them."""

    def __init__(self, caller: Caller, environment: jinja2.Environment) -> None:
        """Raises what the API answers instead of a stream."""
        self._source = RemoteSource(caller)
        self.sections = HaSections(self._source, environment)
        self._answer = caller.open(_STREAM, timeout_secs=_SILENCE_SECS)
        self._socket = self._answer.extensions["network_stream"].get_extra_info("socket")
        self._has_begun = greenlets.Event()
        self._reader = greenlets.spawn("ha-stream", self._read)
        self._has_begun.wait(_FIRST_SECS)
        if self._source.latest is None:
            self.close()
            raise ApiUnreachable

    def taken(self) -> AbstractContextManager[None]:
        return nullcontext()

    def goes_on(self) -> bool:
        return not self._reader.ready()

    def close(self) -> None:
        """Ends the reader, which alone closes the connection that it waits for."""
        if not self._reader.ready():
            greenlets.shut_down(self._socket.fileno())

    def _read(self) -> None:
        try:
            for data in _events(self._answer):
                self._source.latest = json.loads(data)
                self._has_begun.set()
        except httpx2.TransportError:
            pass  # The page opens the next stream, at another instance.
        finally:
            self._answer.close()
            self._has_begun.set()


class RemoteViews:
    """What the page is rendered from, for the user of the current request."""

    def __init__(self, api: RemoteApi) -> None:
        self._api = api

    def sections(self) -> HaSections:
        return HaSections(RemoteSource(self._api.caller()), current_app.jinja_env)

    def watch(self) -> RemoteWatch:
        return RemoteWatch(self._api.caller(), current_app.jinja_env)


def _events(answer: httpx2.Response) -> Iterator[str]:
    """The data of the events of a stream. The API writes each on one line."""
    for line in answer.iter_lines():
        if line.startswith("data: "):
            yield line.removeprefix("data: ")
