"""The licence: what it gives, how long it lasts, and its activation."""

from netstacks.web.admin.api import api
from netstacks.web.admin.layout import blueprint, render_page


@blueprint.get("/license")
def license() -> str:
    return render_page("admin/license.html", license=api().get("/api/v1/license"))
