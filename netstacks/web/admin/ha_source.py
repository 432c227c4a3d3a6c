"""Where the page HA status has its facts from: the controller that serves it, or the API of a controller over HTTP."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, cast

from flask import Flask, current_app

if TYPE_CHECKING:
    from netstacks.web.admin.ha_sections import HaSections

Facts = Mapping[str, Any]

# The sessions on the page.
SESSION_ROWS = 50
_EXTENSION = "netstacks.ha"


class Source(Protocol):
    """Answers of the API, readable for longer than the request of the page. They are shared: do not change them."""

    def status(self) -> Facts:
        """The answer to GET /api/v1/ha/status."""

    def history(self) -> Facts:
        """The answer to GET /api/v1/ha/history."""

    def events(self, *, kind: str | None, instance: str | None, limit: int) -> Sequence[Facts] | None:
        """The newest events that match; None when they cannot be read."""

    def live_sessions(self, *, owner: str | None, before: datetime | None) -> Callable[[], Facts]:
        """A function that lists SESSION_ROWS live sessions: `items`, each with its `age`, and `next`; or `error`."""


class Watch(Protocol):
    """A stream of live updates to one page."""

    sections: "HaSections"

    def taken(self) -> AbstractContextManager[None]:
        """Around the life of the stream."""

    def goes_on(self) -> bool:
        """False when the page is to open the next stream: at a drain, and when its user's rights have changed."""

    def close(self) -> None:
        """Called at the end of the response, also of one whose body was not sent."""


class Views(Protocol):
    """What the application renders the page from, for the user of the current request."""

    def sections(self) -> "HaSections": ...

    def watch(self) -> Watch:
        """Raises an error that the application renders when the user may not look, or no stream can be opened."""


def install(app: Flask, views: Views) -> None:
    """Makes `views` what the page of `app` is rendered from."""
    app.extensions[_EXTENSION] = views


def views() -> Views:
    return cast(Views, current_app.extensions[_EXTENSION])


def with_ages(found: Facts, now: datetime) -> Facts:
    """A page of sessions of the API, each with its age."""
    items = [{**each, "age": coarse(now - datetime.fromisoformat(each["started_at"]))} for each in found["items"]]
    return {**found, "items": items}


def coarse(span: timedelta) -> str:
    """A duration in its largest unit, rounded down, so that it changes rarely: the row is sent again when it does."""
    minutes = int(span.total_seconds() // 60)
    if minutes < 1:
        return "< 1 min"
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h" if hours < 48 else f"{hours // 24} d"
