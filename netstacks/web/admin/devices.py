"""The devices: filtered, changed one by one or many at once, checked, imported and exported."""

from netstacks.web.admin.api import require
from netstacks.web.admin.device_lists import device_list
from netstacks.web.admin.layout import blueprint, render_page


@blueprint.get("/devices")
def devices() -> str:
    require("devices.manage")
    return render_page("admin/devices.html", list=device_list())


@blueprint.get("/devices/import")
def device_import() -> str:
    require("devices.manage")
    return render_page("admin/device_import.html")
