"""The account of the viewer: password, second factors, log-ins. The same page stands outside the administration."""

from typing import Any

from netstacks.web.admin.api import api
from netstacks.web.admin.layout import blueprint, render_page


@blueprint.get("/account")
def account() -> str:
    return render_page("account.html", **account_facts())


def account_facts() -> dict[str, Any]:
    """What the page of the account shows."""
    return {**api().get("/api/v1/account"), "held": held_factors()}


def held_factors() -> dict[str, Any]:
    """The second factors of the viewer."""
    held = api().get("/api/v1/account/second-factors")
    return {**held, "is_empty": not (held["totp"] or held["passkeys"])}
