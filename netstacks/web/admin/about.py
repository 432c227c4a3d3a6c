"""The versions of the controller and of the components in it."""

from netstacks.web.admin.api import api
from netstacks.web.admin.layout import blueprint, render_page


@blueprint.get("/about")
def about() -> str:
    return render_page("admin/about.html", about=api().get("/api/v1/about"))
