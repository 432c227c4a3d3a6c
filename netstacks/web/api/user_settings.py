"""Settings that clients store per user; the body is the JSON value itself (docs/protocol.md, 9)."""

from typing import Annotated, Any

from flask import Blueprint, Response
from pydantic import WithJsonSchema

from netstacks.errors import NotFound
from netstacks.store import user_settings
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.declarations import answers, takes_json
from netstacks.web.http.json_response import JsonResponse, json_response

blueprint = Blueprint("user_settings", __name__)

Stored = Annotated[Any, WithJsonSchema({"description": "The JSON value that a client has stored; null for none."})]


@blueprint.get("/api/user-settings/<key>")
@guard.requires()
def get_setting(key: str) -> JsonResponse[Stored]:
    """`null` when the user has not set it: clients then use their default, and browsers log no failed request."""
    try:
        with services().database.transaction() as tx:
            return json_response(user_settings.get(tx, guard.identity().user_id, key))
    except NotFound:
        return json_response(None)


@blueprint.put("/api/user-settings/<key>")
@guard.requires()
@takes_json
@answers(204)
def put_setting(value: Any, key: str) -> Response:
    with guard.transaction() as tx:
        user_settings.put(tx, guard.identity().user_id, key, value)
    return Response(status=204)


@blueprint.delete("/api/user-settings/<key>")
@guard.requires()
@answers(204)
def delete_setting(key: str) -> Response:
    """Deletes a setting; also succeeds when it was not set."""
    with guard.transaction() as tx:
        user_settings.delete(tx, guard.identity().user_id, key)
    return Response(status=204)
