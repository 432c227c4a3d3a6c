"""Settings that clients store per user; the body is the JSON value itself (docs/protocol.md, 9)."""

from flask import Blueprint, Response, jsonify

from netstacks.store import user_settings
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.inputs import json_body

blueprint = Blueprint("user_settings", __name__)


@blueprint.get("/api/user-settings/<key>")
@guard.requires()
def get_setting(key: str) -> Response:
    """404 when the user has not set it; clients then use their default."""
    with services().database.transaction() as tx:
        return jsonify(user_settings.get(tx, guard.identity().user_id, key))


@blueprint.put("/api/user-settings/<key>")
@guard.requires()
def put_setting(key: str) -> Response:
    value = json_body()
    with guard.transaction() as tx:
        user_settings.put(tx, guard.identity().user_id, key, value)
    return Response(status=204)


@blueprint.delete("/api/user-settings/<key>")
@guard.requires()
def delete_setting(key: str) -> Response:
    """Deletes a setting; also succeeds when it was not set."""
    with guard.transaction() as tx:
        user_settings.delete(tx, guard.identity().user_id, key)
    return Response(status=204)
