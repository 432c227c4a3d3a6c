"""The shared credentials: where they are used, when they were last used, and the rotation of their secrets."""

from flask import request

from netstacks.web.admin.api import api, viewer
from netstacks.web.admin.layout import blueprint, render_page

TYPE_NAMES = {
    "ssh_password": "SSH password",
    "ssh_key": "SSH key",
    "api_token": "API token",
    "snmp_community": "SNMP community",
    "generic_secret": "Other secret",
}
# The choices of the filter: value, label, and the query of the API.
_USES: tuple[tuple[str, str, dict[str, int]], ...] = (
    ("", "All", {}),
    ("30", "Not used for 30 days", {"unused_days": 30}),
    ("90", "Not used for 90 days", {"unused_days": 90}),
    ("never", "Never used", {"never": 1}),
)


@blueprint.get("/credentials")
def credentials() -> str:
    search, use = request.args.get("q", "").strip(), request.args.get("use", "")
    filters = next((query for value, _, query in _USES if value == use), {})
    found = api().get("/api/v1/credentials", {"search": search or None, **filters})["items"]
    return render_page(
        "admin/credentials.html",
        credentials=found,
        query=search,
        use=use,
        uses=[(value, label) for value, label, _ in _USES],
        may_test=viewer().may("devices.access"),
        type_names=TYPE_NAMES,
        ssh_types=("ssh_password", "ssh_key"),
    )


@blueprint.get("/credentials/<uuid:credential_id>")
def credential_uses(credential_id: object) -> str:
    uses = api().get(f"/api/v1/credentials/{credential_id}/uses")
    return render_page("admin/credential_uses.html", uses=uses)
