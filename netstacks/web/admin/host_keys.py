"""The approved host keys, those that a device contradicts, and the prompts of connections that wait for an approval."""

from urllib.parse import urlencode

from flask import request

from netstacks.web.admin.api import api, require, viewer
from netstacks.web.admin.layout import blueprint, render_page


@blueprint.get("/host-keys")
def host_keys() -> str:
    require("devices.access")
    search = request.args.get("q", "").strip()
    place = {"after_host": request.args.get("after_host") or None, "after_port": request.args.get("after_port") or None}
    page = api().get("/api/v1/host-keys", {"search": search or None, **place})
    prompts = api().get("/api/v1/host-keys/prompts")["items"] if viewer().may("hostkeys.manage") else []
    following = page["next"] and f"?{urlencode({'q': search, **page['next']})}"
    return render_page("admin/host_keys.html", keys=page["items"], prompts=prompts, query=search, more_url=following)
