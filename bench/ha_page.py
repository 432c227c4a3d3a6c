"""The page HA status with its real templates, and without requests: only its live updates are of interest here."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime

from flask import Flask

from bench.registry import Populated
from netstacks.instance.session_survey import LiveFigures, SurveyedSession
from netstacks.store.live_sessions import LiveSession
from netstacks.web import admin, pages
from netstacks.web.admin import ha_source
from netstacks.web.admin.ha_facts import Filters
from netstacks.web.admin.ha_markup import Markup
from netstacks.web.admin.ha_sections import Rights
from netstacks.web.context import Services
from tests.controller import ROOT

# As many as the page lists.
_SESSIONS = 50


class Survey:
    """Live sessions of the instances, as they are listed on the page."""

    def __init__(self, full: Populated) -> None:
        owners = [full.instances[number % len(full.instances)].id for number in range(_SESSIONS)]
        self._sessions = [SurveyedSession(_session(owner), LiveFigures(0, 4096)) for owner in owners]

    def page(self, **_: object) -> list[SurveyedSession]:
        return self._sessions


def _session(owner: str) -> LiveSession:
    return LiveSession(
        id=uuid.uuid4(),
        username="lee",
        device_name="core-1",
        owner=owner,
        owner_address=None,
        epoch=1,
        state="active",
        started_at=datetime.now(UTC),
        recording_bytes=0,
    )


def sections(parts: Services) -> Callable[[], dict[str, Markup]]:
    """The sections that an administrator sees; all viewers of one result share the renderings."""
    app = Flask("netstacks", template_folder=str(ROOT / "templates"))
    app.extensions["netstacks"] = parts
    app.register_blueprint(admin.blueprint)
    app.register_blueprint(pages.blueprint)
    found = app.extensions[ha_source._EXTENSION]._sections
    return lambda: found.current(Rights(ha=True, sessions=True, llm=True), Filters())
