"""Single sign-on: the identity providers, the roles of their groups, and the users who are linked to them."""

from typing import Any

from netstacks.web.admin.api import api
from netstacks.web.admin.layout import blueprint, render_page
from netstacks.web.admin.orders import orders

_PATH = "/api/v1/identity-providers"
_CHANGEABLE = (
    "name",
    "issuer",
    "client_id",
    "scopes",
    "username_claim",
    "email_claim",
    "groups_claim",
    "origins",
    "default_role",
    "enabled",
    "version",
)


@blueprint.get("/sso")
def sso() -> str:
    found = api().get(_PATH)
    providers = found["items"]
    return render_page(
        "admin/sso.html",
        providers=[_with_forms(each, moves) for each, moves in zip(providers, orders(providers), strict=True)],
        roles=found["roles"],
    )


def _with_forms(provider: dict[str, Any], moves: dict[str, Any]) -> dict[str, Any]:
    """A provider with the values of its form, its links, and the orders that move it and its mappings."""
    mappings = provider["mappings"]
    return {
        **provider,
        **moves,
        "path": f"{_PATH}/{provider['id']}",
        "values": {name: provider[name] for name in _CHANGEABLE},
        "mappings": [each | move for each, move in zip(mappings, orders(mappings), strict=True)],
        "links": api().get(f"{_PATH}/{provider['id']}/links")["items"],
    }
