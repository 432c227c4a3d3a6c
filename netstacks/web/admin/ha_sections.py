"""The sections of the page HA status, rendered once for all viewers who have the same rights and filters."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import jinja2
from cachetools import TTLCache

from netstacks import greenlets
from netstacks.web.admin.api import Viewer
from netstacks.web.admin.ha_facts import Filters, facts_of, without_volatile
from netstacks.web.admin.ha_markup import Markup
from netstacks.web.admin.ha_source import Facts, Source

# How long a rendering is reused.
FRESH_SECS = 1.0
# A section in which only ages and the like have changed is rendered at most this often.
_VOLATILE_SECS = 5.0
_EVENTS = 20
# Pages that are kept, by rights and filters. Viewers choose the filters: such a page has the filtered sections alone.
_MAX_PAGES = 50
_FILTERED = ("ha-sessions", "ha-events")
_PAGE_SECS = 60


@dataclass(frozen=True)
class Rights:
    """The actions that a viewer is offered: on instances, on sessions of others, on AI providers."""

    ha: bool
    sessions: bool
    llm: bool

    @classmethod
    def of(cls, viewer: Viewer) -> "Rights":
        return cls(viewer.may("ha.manage"), viewer.may("sessions.manage"), viewer.may("llm.manage"))


class HaSections:
    """The open pages on one source, by rights and filters."""

    def __init__(self, source: Source, environment: jinja2.Environment) -> None:
        self._source = source
        self._environment = environment
        self._pages: TTLCache[tuple[Rights, Filters], _Page] = TTLCache(maxsize=_MAX_PAGES, ttl=_PAGE_SECS)

    def current(self, rights: Rights, filters: Filters) -> dict[str, Markup]:
        """Each section by its element's id, in the order of the page; at most FRESH_SECS old."""
        everything = self._page(rights, Filters()).current()
        return everything if filters == Filters() else {**everything, **self._page(rights, filters).current()}

    def event_kinds(self) -> Sequence[str]:
        """The kinds of events that there are."""
        kinds: Sequence[str] = self._source.status()["event_kinds"]
        return kinds

    def _page(self, rights: Rights, filters: Filters) -> "_Page":
        page = self._pages.get((rights, filters)) or _Page(self._source, self._environment, rights, filters)
        self._pages[rights, filters] = page
        return page


class _Page:
    """The sections for one combination of rights and filters. One is rendered again when its facts have changed."""

    def __init__(self, source: Source, environment: jinja2.Environment, rights: Rights, filters: Filters) -> None:
        self._source = source
        self._environment = environment
        self._rights = rights
        self._filters = filters
        self._sessions = source.live_sessions(owner=filters.owner, before=filters.before)
        self._sections: dict[str, _Section] = {}
        self._shown: dict[str, Markup] = {}
        self._rendered_at = float("-inf")
        self._rendering = greenlets.SingleFlight("ha-page", self._render)

    def current(self) -> dict[str, Markup]:
        if time.monotonic() - self._rendered_at > FRESH_SECS:
            self._rendering()
        return self._shown

    def _render(self) -> None:
        shown = {}
        for name, facts in self._facts().items():
            if self._filters != Filters() and name not in _FILTERED:
                continue
            section = self._sections.get(name)
            if section is None or section.is_outdated(facts):
                section = self._sections[name] = _Section(self._markup_of(name, facts), facts, time.monotonic())
            shown[name] = section.markup
            greenlets.give_way()
        # Replaced, never changed: streams compare it with what they have sent.
        self._shown = shown
        self._rendered_at = time.monotonic()

    def _facts(self) -> dict[str, Facts]:
        status = self._source.status()
        events = self._events(status["events"])
        return facts_of(status, self._source.history(), self._sessions(), events, self._filters, datetime.now(UTC))

    def _events(self, newest: Sequence[Facts]) -> Sequence[Facts] | None:
        """The events that are shown; None when they cannot be read."""
        kind, instance = self._filters.kind, self._filters.instance
        if kind is None and instance is None:
            return newest[:_EVENTS]
        return self._source.events(kind=kind, instance=instance, limit=_EVENTS)

    def _markup_of(self, name: str, facts: Facts) -> Markup:
        template = self._environment.get_template(f"admin/ha/{name.removeprefix('ha-')}.html")
        lines = template.render(facts, rights=self._rights, filters=self._filters).split("\n")
        return Markup.of("\n".join(line.strip() for line in lines if line.strip()))


@dataclass(frozen=True)
class _Section:
    """A rendered section, and what it was rendered from."""

    markup: Markup
    facts: Facts
    rendered_at: float
    """By the monotonic clock."""

    def is_outdated(self, facts: Facts) -> bool:
        if facts == self.facts:
            return False
        return time.monotonic() - self.rendered_at > _VOLATILE_SECS or without_volatile(facts) != without_volatile(
            self.facts
        )
