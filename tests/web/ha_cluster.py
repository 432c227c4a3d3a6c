"""A made-up cluster behind the page HA status: tests change what the API would answer."""

from typing import Any

import pytest

from netstacks.web.admin import ha_sections
from netstacks.web.api import ha
from netstacks.web.context import Services
from tests.web import ha_example as example


class Cluster:
    """The status that the API would answer; tests change it."""

    def __init__(self) -> None:
        self.status = example.status(providers=example.providers())
        self.sessions: dict[str, Any] = example.sessions()
        self.renderings = 0

    def as_json(self, *_: object) -> dict[str, Any]:
        self.renderings += 1
        return self.status

    def history(self, *_: object) -> dict[str, Any]:
        return example.history(*(each["id"] for each in [*self.status["instances"], *self.status["lost"]]))

    def list_sessions(self, _: object, query: ha.SessionQuery, __: object) -> dict[str, Any]:
        items = [each for each in self.sessions["items"] if query.instance in (None, each["owner"])]
        return {**self.sessions, "items": items}

    def events(self, _: object, query: ha.EventQuery, __: object) -> list[dict[str, Any]]:
        return [each for each in self.status["events"] if each["kind"] in query.kind]


class _Agent:
    is_draining = False


class _Observer:
    def look(self) -> None: ...


def made_up(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A cluster that the page shows instead of a real one; no rendering is reused."""
    cluster = Cluster()
    monkeypatch.setattr(ha, "as_json", cluster.as_json)
    monkeypatch.setattr(ha, "history", cluster.history)
    monkeypatch.setattr(ha, "events", cluster.events)
    monkeypatch.setattr(ha, "sessions", cluster.list_sessions)
    monkeypatch.setattr(ha_sections, "FRESH_SECS", 0)
    return cluster


def with_no_agent(services: Services) -> Services:
    """The same, with the parts of an instance that the page's views ask."""
    services.agent = _Agent()  # type: ignore[assignment]
    services.observer = _Observer()  # type: ignore[assignment]
    return services
