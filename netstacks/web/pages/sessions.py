"""Sessions and their recordings."""

from uuid import UUID

from flask import Response, make_response, url_for
from pydantic import BaseModel

from netstacks.errors import NotFound
from netstacks.recording import storage
from netstacks.store import session_summaries, sessions
from netstacks.web.api import summaries
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http import csp
from netstacks.web.http.fields import Moment
from netstacks.web.http.inputs import parse_query
from netstacks.web.pages.layout import blueprint, render_page

_PAGE_ROWS = 50


class SessionsQuery(BaseModel):
    state: str | None = None
    before: Moment | None = None


@blueprint.get("/sessions")
def session_list() -> str:
    me = guard.identity()
    query = parse_query(SessionsQuery)
    with services().database.transaction() as tx:
        rows = sessions.list_page(
            tx,
            user_id=None if me.may("sessions.manage") else me.user_id,
            live={"live": True, "ended": False}.get(query.state or ""),
            before=query.before,
            limit=_PAGE_ROWS,
        )
    older = len(rows) == _PAGE_ROWS and url_for(
        "pages.session_list", state=query.state, before=rows[-1]["started_at"].isoformat()
    )
    return render_page("sessions.html", sessions=rows, state=query.state or "", before=query.before, older=older)


@blueprint.get("/sessions/<uuid:session_id>/replay")
@guard.requires("recordings.view")
def replay(session_id: UUID) -> Response:
    me = guard.identity()
    with services().database.transaction() as tx:
        found = storage.list_page(
            tx, session_id=session_id, user_id=None if me.may("sessions.manage") else me.user_id, limit=1
        )
        summary = session_summaries.get(tx, session_id)
    if not found:
        raise NotFound("There is no such recording, or it belongs to another user.")
    page = render_page(
        "replay.html",
        recording=found[0],
        summary=summary and summaries.as_json(summary, found[0]),
        can_summarise=bool(services().llm.assistant.providers(me.role)),
    )
    response = make_response(page)
    response.headers["Content-Security-Policy"] = csp.WITH_WASM
    return response
