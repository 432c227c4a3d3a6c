"""Administration of the licence (docs/protocol.md, 13)."""

from flask import Blueprint, Response, jsonify
from pydantic import BaseModel

from netstacks.crypto.license import TIER_NAMES
from netstacks.errors import InvalidInput
from netstacks.store import audit
from netstacks.web.auth import guard
from netstacks.web.auth.licensing import LicenseFacts, LicenseStatus
from netstacks.web.context import services
from netstacks.web.http.declarations import takes_body
from netstacks.web.http.outputs import as_sentence, timestamp

blueprint = Blueprint("license", __name__)


class ActivationInput(BaseModel):
    license_key: str


@blueprint.get("/api/admin/license/status")
@guard.requires("license.manage")
def status() -> LicenseStatus:
    """The licence as the NetStacks Terminal client shows it."""
    with services().database.transaction() as tx:
        return services().licensing.status(tx)


@blueprint.get("/api/v1/license")
@guard.requires("license.manage")
def facts() -> LicenseFacts:
    """The licence as the page of the administration shows it."""
    with services().database.transaction() as tx:
        return services().licensing.facts(tx)


@blueprint.post("/api/admin/license/activate")
@guard.requires("license.manage")
@takes_body(ActivationInput)
def activate(body: ActivationInput) -> Response | LicenseStatus:
    """Activates a licence, and returns its status. An invalid key is a 400 here (docs/protocol.md, 13)."""
    key = body.license_key
    try:
        with guard.transaction() as tx:
            license = services().licensing.activate(tx, key)
            details = {"customer": license.customer, "tier": license.tier, "seats": license.seats}
            expires_at = timestamp(license.expires_at)
            audit.append(tx, guard.actor(), "license.activated", "license", **details, expires_at=expires_at)
            answer = services().licensing.status(tx)
    except InvalidInput as error:
        response = jsonify(error=as_sentence(str(error)))
        response.status_code = 400
        return response
    agent = services().agent
    change = f"{TIER_NAMES[license.tier]}, {license.seats} seats, until {license.expires_at:%Y-%m-%d}"
    services().licensing.current()
    agent.record_event("licence", agent.me.id, change=change, by=guard.identity().username)
    return answer
