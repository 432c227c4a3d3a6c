"""The replay of a recording. The same page stands outside the administration, for the users of the sessions."""

from typing import Any
from uuid import UUID

from flask import Response, make_response, url_for

from netstacks.web.admin.api import api
from netstacks.web.admin.layout import blueprint, render_page
from netstacks.web.http import csp


@blueprint.get("/sessions/<uuid:session_id>/replay")
def replay(session_id: UUID) -> Response:
    return with_player(render_page("replay.html", **replay_facts(session_id), sessions_url=url_for("admin.sessions")))


def replay_facts(session_id: UUID) -> dict[str, Any]:
    """What the page of a replay shows."""
    return {"recording": api().get(f"/api/v1/recordings/{session_id}")}


def with_player(page: str) -> Response:
    """The page, with a policy that lets the player run."""
    response = make_response(page)
    response.headers["Content-Security-Policy"] = csp.WITH_WASM
    return response
