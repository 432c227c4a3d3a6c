"""Sessions and their recordings."""

from uuid import UUID

from flask import Response, url_for
from pydantic import BaseModel

from netstacks.store import session_lists
from netstacks.store.setting_definitions import REPLAY_DOWNLOAD
from netstacks.web.admin.replay import replay_facts, with_player
from netstacks.web.auth import guard
from netstacks.web.auth.seeing import sight
from netstacks.web.context import services
from netstacks.web.http.declarations import takes_query
from netstacks.web.http.fields import Moment
from netstacks.web.pages.layout import blueprint, render_page

_PAGE_ROWS = 50


class SessionsQuery(BaseModel):
    state: str | None = None
    before: Moment | None = None


@blueprint.get("/sessions")
@takes_query(SessionsQuery)
def session_list(query: SessionsQuery) -> str:
    with services().database.transaction() as tx:
        page = session_lists.page(
            tx,
            seen_by=sight(),
            live={"live": True, "ended": False}.get(query.state or ""),
            before=query.before,
            limit=_PAGE_ROWS,
        )
    older = page.next and url_for("pages.session_list", state=query.state, before=page.next.isoformat())
    return render_page(
        "sessions.html",
        sessions=page.rows,
        state=query.state or "",
        before=query.before,
        older=older,
        may_download=services().system_settings.get(REPLAY_DOWNLOAD).may_use(guard.identity().role),
    )


@blueprint.get("/sessions/<uuid:session_id>/replay")
@guard.requires("recordings.view")
def replay(session_id: UUID) -> Response:
    page = render_page("replay.html", **replay_facts(session_id), sessions_url=url_for("pages.session_list"))
    return with_player(page)
