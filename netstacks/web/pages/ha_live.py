"""The facts of the page HA status as this instance has them, rendered once for all viewers with equal rights."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from flask import current_app
from flask.blueprints import BlueprintSetupState

from netstacks.errors import RegistryUnavailable, StoreUnavailable
from netstacks.instance.shared_query import SharedQuery
from netstacks.store.sight import Sight
from netstacks.web.admin import ha_source
from netstacks.web.admin.ha_sections import HaSections
from netstacks.web.admin.ha_source import SESSION_ROWS, Facts, with_ages
from netstacks.web.api import ha
from netstacks.web.auth import guard
from netstacks.web.auth.seeing import sight
from netstacks.web.context import Services
from netstacks.web.http.outputs import as_sentence
from netstacks.web.pages.layout import blueprint

_FRESH_SECS = 5.0
_PATIENCE_SECS = 1.5


class LocalSource:
    """What the API of this instance answers, without a request; with `seen_by` only what is in sight."""

    def __init__(self, parts: Services, seen_by: Sight | None = None) -> None:
        self._parts = parts
        self._seen_by = seen_by

    def status(self) -> Facts:
        return ha.as_json(self._parts, self._parts.observer.look(), self._seen_by)

    def history(self) -> Facts:
        return ha.history(self._parts)

    def events(self, *, kind: str | None, instance: str | None, limit: int) -> Sequence[Facts] | None:
        query = ha.EventQuery.model_validate({"kind": kind or (), "instance": instance, "limit": limit})
        try:
            return ha.events(self._parts, query, self._seen_by)
        except RegistryUnavailable:
            return None

    def live_sessions(self, *, owner: str | None, before: datetime | None) -> Callable[[], Facts]:
        return LiveSessions(self._parts, owner=owner, before=before, seen_by=self._seen_by).current


class LiveSessions:
    """The newest live sessions, or those of one owner, or an older page of them; listed less often than rendered."""

    def __init__(
        self, parts: Services, *, owner: str | None, before: datetime | None, seen_by: Sight | None = None
    ) -> None:
        self._parts = parts
        self._seen_by = seen_by
        self._query = ha.SessionQuery(instance=owner, before=before, limit=SESSION_ROWS)
        self._look = SharedQuery("ha-sessions", self._read)
        self._listed: Facts = {"error": "PostgreSQL has not answered yet."}

    def current(self) -> Facts:
        """Waits at most _PATIENCE_SECS."""
        self._look.refresh(_FRESH_SECS, _PATIENCE_SECS)
        return self._listed

    def _read(self) -> None:
        try:
            self._listed = with_ages(ha.sessions(self._parts, self._query, self._seen_by), datetime.now(UTC))
        except StoreUnavailable as error:
            self._listed = {"error": as_sentence(str(error))}


@dataclass(frozen=True)
class _Watch:
    parts: Services
    sections: HaSections
    user_id: UUID
    may_look: Callable[[], bool]

    def taken(self) -> AbstractContextManager[None]:
        return self.parts.ha_streams.taken(self.user_id)

    def goes_on(self) -> bool:
        return not self.parts.agent.is_draining and self.may_look()

    def close(self) -> None: ...


class LocalViews:
    """The page is rendered from the facts in this process, without a call of the API for each viewer.

    Viewers without a scope of devices share the sections; each of the others has sections of its own.
    """

    def __init__(self, parts: Services, sections: HaSections) -> None:
        self._parts = parts
        self._sections = sections

    @guard.requires("ha.view")
    def sections(self) -> HaSections:
        seen_by = sight("ha.view")
        if not seen_by.is_limited:
            return self._sections
        return HaSections(LocalSource(self._parts, seen_by), current_app.jinja_env)

    @guard.requires("ha.view")
    def watch(self) -> _Watch:
        user_id = guard.identity().user_id
        self._parts.ha_streams.check(user_id)
        return _Watch(self._parts, self.sections(), user_id, ha.lasting_rights())


@blueprint.record_once
def _install(state: BlueprintSetupState) -> None:
    app, parts = state.app, state.app.extensions["netstacks"]
    ha_source.install(app, LocalViews(parts, HaSections(LocalSource(parts), app.jinja_env)))  # type: ignore[arg-type]
