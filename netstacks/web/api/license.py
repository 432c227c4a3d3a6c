"""Administration of the licence (docs/protocol.md, 13)."""

from typing import Any

from flask import Blueprint, Response, jsonify
from pydantic import BaseModel

from netstacks.errors import InvalidInput
from netstacks.store import audit
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.inputs import parse
from netstacks.web.http.outputs import as_sentence, timestamp

blueprint = Blueprint("license", __name__)


class ActivationInput(BaseModel):
    license_key: str


@blueprint.get("/api/admin/license/status")
@guard.requires("license.manage")
def status() -> dict[str, Any]:
    with services().database.transaction() as tx:
        return services().licensing.status(tx)


@blueprint.post("/api/admin/license/activate")
@guard.requires("license.manage")
def activate() -> Response | dict[str, Any]:
    """Activates a licence, and returns its status. An invalid key is a 400 here (docs/protocol.md, 13)."""
    key = parse(ActivationInput).license_key
    try:
        with guard.transaction() as tx:
            license = services().licensing.activate(tx, key)
            details = {"customer": license.customer, "tier": license.tier, "seats": license.seats}
            expires_at = timestamp(license.expires_at)
            audit.append(tx, guard.actor(), "license.activated", "license", **details, expires_at=expires_at)
            return services().licensing.status(tx)
    except InvalidInput as error:
        response = jsonify(error=as_sentence(str(error)))
        response.status_code = 400
        return response
